using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Formats;
using ParVts.Engine.Tests.Generation;

namespace ParVts.Engine.Tests.Models;

/// <summary>The demo checkpoint under every naming in the wild, and with something wrong: each fault is named.</summary>
public class CheckpointTests
{
    private const string Text = "language_model.model.";
    private const string Vision = "vision_tower.vision_model.";

    [TestCase("vision_tower.", Text, "language_model.lm_head.", "multi_modal_projector.", TestName = "As transformers 5 saves it")]
    [TestCase("model.vision_tower.vision_model.", "model.language_model.", "lm_head.", "model.multi_modal_projector.", TestName = "New names")]
    [TestCase("model.vision_tower.", "model.language_model.", "lm_head.", "model.multi_modal_projector.", TestName = "New names, without vision_model")]
    public void All_namings_give_the_same_answer(string vision, string text, string head, string projector)
    {
        using TempFolder folder = Copy(tensor => tensor with
        {
            Name = tensor.Name
                .Replace(Vision, vision, StringComparison.Ordinal)
                .Replace(Text, text, StringComparison.Ordinal)
                .Replace("language_model.lm_head.", head, StringComparison.Ordinal)
                .Replace("multi_modal_projector.", projector, StringComparison.Ordinal),
        });
        using VlmEngine engine = VlmEngine.Open(folder.Path);
        Assert.That(Answer(engine), Is.EqualTo(Answer(DemoModel.Engine)));
    }

    [Test]
    public void A_missing_tensor_is_named_with_what_was_expected() => Refused(
        tensor => tensor.Name == Text + "layers.3.self_attn.k_proj.weight" ? null : tensor,
        "layers.3.self_attn.k_proj.weight': is missing; expected was [192, 192]");

    [Test]
    public void A_part_under_no_known_name_is_named() => Refused(
        tensor => tensor with { Name = tensor.Name.Replace("multi_modal_projector", "projector", StringComparison.Ordinal) },
        "multi_modal_projector.linear_1.weight");

    [Test]
    public void An_extra_tensor_is_named() => Refused(
        tensor => tensor.Name == Text + "norm.weight" ? [tensor, tensor with { Name = Text + "layers.0.self_attn.q_norm.weight" }] : [tensor],
        "layers.0.self_attn.q_norm.weight': (BF16 [192]) is no part");

    [Test]
    public void A_wrong_shape_is_named() => Refused(
        tensor => tensor.Name == Text + "layers.1.mlp.up_proj.weight" ? tensor with { Shape = [192, 512] } : tensor,
        "layers.1.mlp.up_proj.weight': has shape [192, 512]; expected was [512, 192]");

    [Test]
    public void A_wrong_type_is_named() => Refused(
        tensor => tensor.Name == Text + "norm.weight" ? tensor with { Type = TensorType.I16 } : tensor,
        "norm.weight': is of type I16; expected was [192] of type F32, BF16 or F16");

    [Test]
    public void Buffers_of_old_versions_are_passed_over()
    {
        using TempFolder folder = Copy(tensor => tensor.Name == Text + "norm.weight"
            ? [tensor, TensorToWrite.Of(Text + "layers.0.self_attn.rotary_emb.inv_freq", new float[32]), TensorToWrite.Of(Vision + "embeddings.position_ids", new long[145])]
            : [tensor]);
        using VlmEngine engine = VlmEngine.Open(folder.Path);
        Assert.That(Answer(engine), Is.EqualTo(Answer(DemoModel.Engine)));
    }

    [Test]
    public void NaN_weights_are_said_once_and_end_in_a_typed_error()
    {
        // Every other row of the head: half the logits are NaN, and are said to be once; the rest still answers.
        using TempFolder half = Copy(tensor => tensor.Name == "language_model.lm_head.weight" ? WithNaN(tensor, every: 2) : tensor);
        var warnings = new List<string>();
        using (VlmEngine engine = VlmEngine.Open(half.Path, new EngineOptions { Warning = warnings.Add }))
        {
            Assert.That(Answer(engine), Has.Count.EqualTo(12));
            Assert.That(Answer(engine), Has.Count.EqualTo(12));
        }

        Assert.That(warnings, Has.Count.EqualTo(1));
        Assert.That(warnings[0], Does.Contain("NaN"));

        using TempFolder all = Copy(tensor => tensor.Name == "language_model.lm_head.weight" ? WithNaN(tensor, every: 1) : tensor);
        using VlmEngine broken = VlmEngine.Open(all.Path);
        Assert.That(() => Answer(broken), Throws.InstanceOf<ModelFormatException>().With.Message.Contains("every logit is NaN"));
    }

    [Test]
    public void A_folder_without_a_tokenizer_serves_token_ids_only()
    {
        using TempFolder folder = Copy(tensor => tensor);
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        using VlmEngine engine = VlmEngine.Open(folder.Path);
        using Session session = engine.CreateSession();
        Assert.That(session.Generate(engine.CreatePrompt([1, 300, 301], [])).Tokens, Is.Not.Empty);
        Assert.That(() => engine.CreateRawPrompt("hello", []), Throws.InstanceOf<ModelFormatException>().With.Message.Contains("has no tokenizer.json"));
    }

    [Test]
    public void A_preprocessor_for_another_size_is_refused()
    {
        using TempFolder folder = Copy(tensor => tensor);
        string file = Path.Combine(folder.Path, "preprocessor_config.json");
        File.WriteAllText(file, File.ReadAllText(file).Replace("168", "224", StringComparison.Ordinal));
        Assert.That(() => VlmEngine.Open(folder.Path), Throws.InstanceOf<ModelFormatException>().With.Message.Contains("224×224"));
    }

    private static IReadOnlyList<int> Answer(VlmEngine engine)
    {
        using Session session = engine.CreateSession();
        return session.Generate(
            DemoModel.Ask(engine, "how many objects are there?", DemoModel.Picture(0)),
            new GenerationOptions { MaxTokens = 12, IgnoreEndOfSequence = true }).Tokens;
    }

    private static TensorToWrite WithNaN(TensorToWrite tensor, int every)
    {
        byte[] bytes = tensor.Data.ToArray();
        int row = (int)(tensor.Shape[1] * sizeof(ushort));
        for (int i = 0; i < bytes.Length; i += every * row)
            bytes.AsSpan(i, 2).Fill(0xFF);
        return tensor with { Data = bytes };
    }

    private static void Refused(Func<TensorToWrite, TensorToWrite?> change, string message) =>
        Refused(tensor => change(tensor) is TensorToWrite changed ? [changed] : [], message);

    private static void Refused(Func<TensorToWrite, TensorToWrite[]> change, string message)
    {
        using TempFolder folder = Copy(change);
        Assert.That(() => VlmEngine.Open(folder.Path), Throws.InstanceOf<ModelFormatException>().With.Message.Contains(message));
    }

    private static TempFolder Copy(Func<TensorToWrite, TensorToWrite> change) => Copy(tensor => (TensorToWrite[])[change(tensor)]);

    private static unsafe TempFolder Copy(Func<TensorToWrite, TensorToWrite[]> change)
    {
        var folder = new TempFolder();
        foreach (string file in Directory.GetFiles(DemoModel.Folder, "*.json"))
            File.Copy(file, Path.Combine(folder.Path, Path.GetFileName(file)));
        using SafetensorsFile source = SafetensorsFile.Open(Path.Combine(DemoModel.Folder, "model.safetensors"));
        SafetensorsWriter.Write(
            Path.Combine(folder.Path, "model.safetensors"),
            source.Tensors.Values.SelectMany(tensor => change(new TensorToWrite(
                tensor.Name, tensor.Type, tensor.Shape, new ReadOnlySpan<byte>((void*)tensor.Address, (int)tensor.ByteLength).ToArray()))));
        return folder;
    }
}

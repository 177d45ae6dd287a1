using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Formats;

/// <summary>The config of every golden model, held against the weights beside it: sizes that are wrong do not fit them.</summary>
public class ModelConfigGoldenTests
{
    private static IEnumerable<TestCaseData> Llava() => Folders(llava: true);

    private static IEnumerable<TestCaseData> Others() => Folders(llava: false);

    private static IEnumerable<TestCaseData> Folders(bool llava)
    {
        bool any = false;
        foreach (string group in (string[])["backbones", "schedules"])
        {
            if (TestData.FindGolden(group) is not string root)
                continue;
            foreach (string config in Directory.EnumerateFiles(root, "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            {
                using var document = JsonDocument.Parse(File.ReadAllBytes(config));
                if (document.RootElement.GetProperty("model_type").ValueEquals("llava") != llava)
                    continue;
                any = true;
                string folder = Path.GetDirectoryName(config)!;
                yield return new TestCaseData(folder).SetArgDisplayNames(group + "/" + Path.GetRelativePath(root, folder));
            }
        }

        if (!any)
            yield return new TestCaseData("").SetArgDisplayNames("golden models");
    }

    [TestCaseSource(nameof(Llava))]
    public void Sizes_agree_with_the_weights(string folder)
    {
        string directory = Present(folder);
        ModelConfig config = ModelConfigReader.Read(directory);
        using WeightFiles weights = WeightFiles.Open(directory);
        TextConfig text = config.Text;
        VisionConfig vision = config.Vision;

        Assert.That(Shape(weights, "embed_tokens.weight"), Is.EqualTo([text.VocabularySize, text.HiddenSize]));
        Assert.That(Shape(weights, $"layers.{text.Layers - 1}.mlp.gate_proj.weight"), Is.EqualTo([text.IntermediateSize, text.HiddenSize]));
        Assert.That(Shape(weights, "layers.0.self_attn.k_proj.weight", "language_model"), Is.EqualTo([text.KeyValueHeads * text.HeadDim, text.HiddenSize]));
        Assert.That(Shape(weights, "layers.0.self_attn.o_proj.weight", "language_model"), Is.EqualTo([text.HiddenSize, text.Heads * text.HeadDim]));
        Assert.That(Contains(weights, "language_model", $".layers.{text.Layers}."), Is.False);
        Assert.That(Contains(weights, "language_model", "q_proj.bias"), Is.EqualTo(text.QkvBias));
        Assert.That(Contains(weights, "lm_head", ".weight"), Is.EqualTo(!config.TieWordEmbeddings));
        Assert.That(Shape(weights, "patch_embedding.weight"), Is.EqualTo([vision.HiddenSize, vision.Channels, vision.PatchSize, vision.PatchSize]));
        Assert.That(Shape(weights, "position_embedding.weight"), Is.EqualTo([(vision.PatchesPerSide * vision.PatchesPerSide) + 1, vision.HiddenSize]));
        Assert.That(Shape(weights, $"layers.{vision.Layers - 1}.mlp.fc1.weight"), Is.EqualTo([vision.IntermediateSize, vision.HiddenSize]));
        Assert.That(Contains(weights, "linear_1", ".bias"), Is.EqualTo(config.ProjectorBias));

        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(directory, "config.json")));
        int layer = document.RootElement.GetProperty("vision_feature_layer").GetInt32();
        Assert.That(config.VisionFeatureLayer, Is.EqualTo(layer < 0 ? vision.Layers + 1 + layer : layer));
    }

    [TestCaseSource(nameof(Others))]
    public void Other_families_are_refused_with_a_list_of_those_supported(string folder)
    {
        string directory = Present(folder);
        Assert.That(() => ModelConfigReader.Read(directory), Throws.TypeOf<ModelFormatException>().With.Message.Contains("LlavaForConditionalGeneration"));
    }

    [TestCaseSource(nameof(Llava))]
    [TestCaseSource(nameof(Others))]
    public void The_weights_open_with_every_indexed_tensor(string folder)
    {
        string directory = Present(folder);
        using WeightFiles weights = WeightFiles.Open(directory);
        Assert.That(weights.ByteLength, Is.EqualTo(Directory.EnumerateFiles(directory, "model*.safetensors").Sum(file => new FileInfo(file).Length)));
        string index = Path.Combine(directory, WeightFiles.IndexName);
        if (!File.Exists(index))
            return;
        using var document = JsonDocument.Parse(File.ReadAllBytes(index));
        JsonElement map = document.RootElement.GetProperty("weight_map");
        Assert.That(weights.Files, Has.Count.EqualTo(map.EnumerateObject().Select(entry => entry.Value.GetString()).Distinct().Count()));
        Assert.That(weights.Names, Is.EquivalentTo(map.EnumerateObject().Select(entry => entry.Name)));
    }

    /// <summary>The folder, or the test is skipped where the golden data has none of its kind.</summary>
    private static string Present(string folder)
    {
        if (folder.Length == 0)
        {
            TestData.Golden("backbones");
            Assert.Ignore("the golden data holds no model of this kind");
        }

        return folder;
    }

    private static long[] Shape(WeightFiles weights, string end, string part = "") =>
        weights.All.Single(tensor => tensor.Name.EndsWith(end, StringComparison.Ordinal) && tensor.Name.Contains(part, StringComparison.Ordinal)).Shape;

    private static bool Contains(WeightFiles weights, string part, string other) =>
        weights.Names.Any(name => name.Contains(part, StringComparison.Ordinal) && name.Contains(other, StringComparison.Ordinal));
}

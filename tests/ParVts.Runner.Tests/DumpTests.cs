using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Runner.Tests;

public sealed class DumpTests
{
    [Test]
    public void HoldsEveryStageInItsShape()
    {
        DemoQuestion question = DemoModel.Question("presence");
        string path = Path.Combine(DemoModel.Scratch, "all.safetensors");
        JsonElement json = Dump(question, path, "--max-tokens", "5", "--ignore-eos").Json;
        ModelConfig config = ModelConfigReader.Read(DemoModel.Model);
        int n = json.GetProperty("prompt_tokens").GetInt32();
        int visual = config.VisualTokensPerImage;
        int layers = config.Text.Layers;
        int hidden = config.Text.HiddenSize;
        int size = config.Vision.ImageSize;
        using SafetensorsFile file = SafetensorsFile.Open(path);
        var expected = new Dictionary<string, (TensorType, long[])>
        {
            ["pixel_values"] = (TensorType.F32, [1, 3, size, size]),
            ["vision_features"] = (TensorType.F32, [1, visual, config.Vision.HiddenSize]),
            ["projected"] = (TensorType.F32, [visual, hidden]),
            ["inputs_embeds"] = (TensorType.F32, [n, hidden]),
            ["input_ids"] = (TensorType.I64, [n]),
            ["rope"] = (TensorType.I64, [n, 3]),
            ["logits"] = (TensorType.F32, [5, config.Text.VocabularySize]),
            ["tokens"] = (TensorType.I64, [5]),
            ["kv_lengths"] = (TensorType.I64, [layers]),
        };
        for (int layer = 0; layer <= layers; layer++)
        {
            expected[$"hidden.{layer}"] = (TensorType.F32, [n, hidden]);
            expected[$"rows.{layer}"] = (TensorType.I64, [n]);
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That(file.Tensors.Keys, Is.EquivalentTo(expected.Keys));
            foreach ((string name, (TensorType type, long[] shape)) in expected)
            {
                Assert.That(file.Tensors[name].Type, Is.EqualTo(type), name);
                Assert.That(file.Tensors[name].Shape, Is.EqualTo(shape), name);
            }
        }

        AssertConsistent(file, config, json, n);
    }

    [Test]
    public void HoldsOnlyTheStagesThatAreAskedFor()
    {
        string path = Path.Combine(DemoModel.Scratch, "some.safetensors");
        Dump(DemoModel.Question("presence"), path, "--stages", "tokens,rope", "--stages", "hidden.2");
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.That(file.Tensors.Keys, Is.EquivalentTo(["tokens", "rope", "hidden.2"]));
    }

    [Test]
    public void StacksSeveralPictures()
    {
        DemoQuestion question = DemoModel.Question("presence");
        string path = Path.Combine(DemoModel.Scratch, "two.safetensors");
        string other = DemoModel.AllQuestions().First(q => q.Image != question.Image).Image;
        Dump(question, path, "--image", other, "--stages", "pixel_values,vision_features,projected", "--max-tokens", "1");
        ModelConfig config = ModelConfigReader.Read(DemoModel.Model);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        float[][] pixels = [.. file.Tensors["pixel_values"].ToFloats().Chunk(3 * config.Vision.ImageSize * config.Vision.ImageSize)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(file.Tensors["pixel_values"].Shape[0], Is.EqualTo(2));
            Assert.That(file.Tensors["vision_features"].Shape[0], Is.EqualTo(2));
            Assert.That(file.Tensors["projected"].Shape[0], Is.EqualTo(2 * config.VisualTokensPerImage));
            Assert.That(pixels[0].SequenceEqual(pixels[1]), Is.False, "each has its own pixels");
        }
    }

    // What the tensors say of each other, and of the run's own report.
    private static void AssertConsistent(SafetensorsFile file, ModelConfig config, JsonElement json, int n)
    {
        int hidden = config.Text.HiddenSize;
        long[] ids = file.Tensors["input_ids"].ToIntegers();
        float[] embeds = file.Tensors["inputs_embeds"].ToFloats();
        float[] projected = file.Tensors["projected"].ToFloats();
        float[] logits = file.Tensors["logits"].ToFloats();
        long[] tokens = file.Tensors["tokens"].ToIntegers();
        int first = Array.IndexOf(ids, config.ImageTokenId);
        int vocabulary = config.Text.VocabularySize;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ids.Count(id => id == config.ImageTokenId), Is.EqualTo(config.VisualTokensPerImage));
            Assert.That(embeds.AsSpan(first * hidden, projected.Length).SequenceEqual(projected), Is.True, "projected rows enter the decoder");
            Assert.That(file.Tensors["hidden.0"].ToFloats().SequenceEqual(embeds), Is.True, "hidden.0 is inputs_embeds");
            Assert.That(tokens.Select(token => (int)token), Is.EqualTo(json.GetProperty("tokens").Numbers()));
            for (int step = 0; step < tokens.Length; step++)
            {
                float[] row = logits[(step * vocabulary)..((step + 1) * vocabulary)];
                Assert.That(tokens[step], Is.EqualTo(Array.IndexOf(row, row.Max())), $"step {step}");
            }

            Assert.That(file.Tensors["kv_lengths"].ToIntegers(), Is.All.EqualTo(n));
            Assert.That(file.Tensors["rows.0"].ToIntegers(), Is.EqualTo(Enumerable.Range(0, n).Select(row => (long)row)));
            Assert.That(
                file.Tensors["rope"].ToIntegers(), Is.EqualTo(Enumerable.Range(0, n).SelectMany(row => Enumerable.Repeat((long)row, 3))));
        }
    }

    private static Outcome Dump(DemoQuestion question, string path, params string[] more)
    {
        Outcome outcome = Parvts.Run(
            ["dump", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--out", path, "--json", .. more]);
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        return outcome;
    }
}

using System.Text.Json;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Models;

namespace ParVts.Engine.Tests.Models;

/// <summary>
/// Whole checkpoints against Hugging Face transformers in float32: every stage within the case's tolerance, every
/// greedy token equal. All folders of goldens/backbones are looked at; families that are not supported yet are skipped
/// by name.
/// </summary>
[TestFixture]
public class BackboneGoldenTests
{
    private static readonly Dictionary<string, VlmEngine> s_engines = [];

    [OneTimeTearDown]
    public void CloseEngines()
    {
        foreach (VlmEngine engine in s_engines.Values)
            engine.Dispose();
        s_engines.Clear();
    }

    [TestCaseSource(nameof(Cases))]
    public void Every_stage_and_token_equals_transformers(string model, string caseFile)
    {
        VlmEngine engine = Open(model);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(caseFile));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(caseFile, ".safetensors"));

        Prompt prompt = engine.CreateRawPrompt(about.GetProperty("prompt").GetString()!, Images(engine, about));
        Assert.That(prompt.Ids.ToArray(), Is.EqualTo(golden.Integers("input_ids")), "input_ids");

        using Session session = engine.CreateSession();
        var stages = new Recorder();
        session.Sink = stages.Record;
        int[] expected = golden.Integers("new_tokens");
        GenerationResult result = session.Generate(
            prompt, new GenerationOptions { MaxTokens = expected.Length, IgnoreEndOfSequence = true });

        Assert.Multiple(() =>
        {
            CompareVision(about, golden, stages);
            CompareHidden(engine, about, golden, stages);
            Compare(about, "logits", golden.Floats("logits"), stages.Join("logits"));
            CompareCache(about, golden, session, prompt.Length);
            Assert.That(result.Tokens, Is.EqualTo(expected), "greedy tokens");
            Assert.That(result.Text, Is.EqualTo(about.GetProperty("text").GetString()), "text");
            Assert.That(result.PromptTokens, Is.EqualTo(about.GetProperty("input_length").GetInt32()));
            Assert.That(result.VisualTokens, Is.EqualTo(about.GetProperty("image_tokens").GetInt32()));
        });
    }

    private static IEnumerable<TestCaseData> Cases()
    {
        string? root = TestData.FindGolden("backbones");
        foreach (string folder in root is null ? [] : Directory.GetDirectories(root).Order().ToArray())
        {
            string name = Path.GetFileName(folder);
            string source = folder;
            string sameAs = Path.Combine(folder, "same-as.json");
            if (File.Exists(sameAs))
            {
                using JsonDocument json = JsonDocument.Parse(File.ReadAllText(sameAs));
                source = Path.Combine(root!, json.RootElement.GetProperty("cases_of").GetString()!);
            }

            foreach (string file in Directory.GetFiles(source, "case-*.json").Order())
            {
                var data = new TestCaseData(folder, file) { TestName = $"Backbone {name} {Path.GetFileNameWithoutExtension(file)}" };
                yield return IsSupported(folder) ? data : data.Ignore($"family of '{name}' is not supported yet");
            }
        }
    }

    private static bool IsSupported(string folder)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "config.json")));
        return json.RootElement.GetProperty("model_type").GetString() == "llava";
    }

    private static VlmEngine Open(string folder)
    {
        if (!s_engines.TryGetValue(folder, out VlmEngine? engine))
            s_engines[folder] = engine = VlmEngine.Open(folder);
        return engine;
    }

    private static List<PromptImage> Images(VlmEngine engine, JsonElement about)
    {
        var images = new List<PromptImage>();
        foreach (JsonElement name in about.GetProperty("images").EnumerateArray())
        {
            // The library was given opened pictures: no EXIF rotation, transparency over white.
            RgbImage image = ImageDecoder.Load(
                TestData.Golden(Path.Combine("images", name.GetString()!)), new ImageDecodeOptions { ApplyOrientation = false });
            images.Add(engine.PrepareImage(image));
        }

        return images;
    }

    private static void CompareVision(JsonElement about, GoldenFile golden, Recorder stages)
    {
        JsonElement strides = about.GetProperty("stored_strides");
        if (golden.Has("pixel_values"))
            Compare(about, "pixel_values", golden.Floats("pixel_values"), stages.Join("pixel_values"));
        if (golden.Has("pixel_values_every_31st"))
        {
            float[] all = stages.Join("pixel_values");
            float[] some = [.. all.Where((_, i) => i % 31 == 0)];
            Compare(about, "pixel_values", golden.Floats("pixel_values_every_31st"), some);
        }

        foreach (string stage in new[] { "vision_features", "projected" })
        {
            if (!golden.Has(stage))
                continue;
            int stride = strides.GetProperty(stage + "_rows").GetInt32();
            int columns = (int)golden.Shape(stage)[^1];
            int[] rows = [.. Enumerable.Range(0, stages.Join(stage).Length / columns).Where(row => row % stride == 0)];
            Compare(about, stage, golden.Floats(stage), Rows(stages.Join(stage), columns, rows));
        }
    }

    private static void CompareHidden(VlmEngine engine, JsonElement about, GoldenFile golden, Recorder stages)
    {
        int columns = engine.Config.Text.HiddenSize;
        int[] rows = golden.Integers("rows");
        foreach (string name in golden.Names.Where(name => name.StartsWith("hidden.", StringComparison.Ordinal)))
            Compare(about, name, golden.Floats(name), Rows(stages.Join(name), columns, rows));

        // The final norm in float64, on our own last rows.
        float[] last = stages.Join($"hidden.{engine.Config.Text.Layers}");
        float[] weight = new float[columns];
        engine.Device.Download(engine.Model.Decoder.Norm, weight.AsSpan());
        float[] normed = new float[8 * columns];
        for (int row = 0; row < 8; row++)
        {
            ReadOnlySpan<float> x = last.AsSpan(last.Length - (8 - row) * columns, columns);
            double square = 0;
            foreach (float value in x)
                square += (double)value * value;
            double scale = 1 / Math.Sqrt(square / columns + engine.Config.Text.NormEpsilon);
            for (int i = 0; i < columns; i++)
                normed[row * columns + i] = (float)(x[i] * scale * weight[i]);
        }

        Compare(about, "final_norm", golden.Floats("final_norm"), normed);
    }

    private static unsafe void CompareCache(JsonElement about, GoldenFile golden, Session session, int promptLength)
    {
        int layer = about.GetProperty("kv_layer").GetInt32();
        KvLayer kv = session.Kv.Layer(layer);
        int[] positions = golden.Integers("kv.positions");
        Assert.That(session.CachedTokens, Is.EqualTo(promptLength + golden.Integers("new_tokens").Length - 1));
        var keys = new List<float>();
        var values = new List<float>();
        for (int head = 0; head < kv.Heads; head++)
        {
            foreach (int position in positions)
            {
                int offset = position % KvStore.PageRows * kv.PaddedHeadDim;
                keys.AddRange(new ReadOnlySpan<float>(kv.Keys(position / KvStore.PageRows, head) + offset, kv.HeadDim));
                values.AddRange(new ReadOnlySpan<float>(kv.Values(position / KvStore.PageRows, head) + offset, kv.HeadDim));
            }
        }

        Compare(about, $"kv.{layer}.k", golden.Floats($"kv.{layer}.k"), [.. keys]);
        Compare(about, $"kv.{layer}.v", golden.Floats($"kv.{layer}.v"), [.. values]);
    }

    private static void Compare(JsonElement about, string name, float[] expected, float[] actual)
    {
        JsonElement tolerances = about.GetProperty("recommended_atol");
        string key = tolerances.TryGetProperty(name, out _) ? name
            : name.StartsWith("kv.", StringComparison.Ordinal) ? "kv"
            : "inputs_embeds (hidden.0), projected";
        double tolerance = tolerances.GetProperty(key).GetDouble();
        Assert.That(GoldenFile.Distance(expected, actual), Is.LessThanOrEqualTo(tolerance), name);
    }

    private static float[] Rows(float[] matrix, int columns, int[] rows)
    {
        float[] result = new float[rows.Length * columns];
        for (int i = 0; i < rows.Length; i++)
            matrix.AsSpan(rows[i] * columns, columns).CopyTo(result.AsSpan(i * columns));
        return result;
    }

    /// <summary>Keeps what each stage put out; calls of one stage follow each other.</summary>
    private sealed class Recorder
    {
        private readonly Dictionary<string, List<float>> _stages = [];

        public float[] Join(string stage) => [.. _stages[stage]];

        public unsafe void Record(string stage, Tensor tensor)
        {
            if (!_stages.TryGetValue(stage, out List<float>? values))
                _stages[stage] = values = [];
            for (int row = 0; row < tensor.Rows; row++)
                values.AddRange(new ReadOnlySpan<float>((float*)tensor.Address + (long)row * tensor.Stride, tensor.Columns));
        }
    }
}

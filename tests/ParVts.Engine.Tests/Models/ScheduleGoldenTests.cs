using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Models;

/// <summary>
/// Schedules on the golden model, every case of goldens/schedules whose policy there is; the others are skipped by name.
/// </summary>
public class ScheduleGoldenTests
{
    private const double Tolerance = 1e-3;

    [TestCaseSource(nameof(Cases))]
    public void Rows_flops_logits_and_tokens_equal_the_reference(string file)
    {
        string folder = Path.GetDirectoryName(file)!;
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(file, ".safetensors"));
        using VlmEngine engine = VlmEngine.Open(Path.Combine(folder, about.GetProperty("model").GetString()!));
        PromptImage image = engine.PrepareImage(ImageDecoder.Load(Path.Combine(folder, about.GetProperty("image").GetString()!)));
        Prompt prompt = engine.CreatePrompt(Integers(about, "input_ids"), [image]);
        int[] expected = Integers(about, "tokens");

        using Session session = engine.CreateSession(about.GetProperty("policy").GetString()!);
        var logits = new List<float>();
        session.Sink = (stage, tensor) =>
        {
            if (stage != "logits")
                return;
            float[] row = new float[tensor.Columns];
            engine.Device.Download(tensor, row.AsSpan());
            logits.AddRange(row);
        };
        GenerationResult result = session.Generate(
            prompt, new GenerationOptions { MaxTokens = expected.Length, IgnoreEndOfSequence = true });

        ScheduleTrace trace = result.Trace;
        Assert.Multiple(() =>
        {
            Assert.That(result.Tokens, Is.EqualTo(expected), "tokens");
            Assert.That(GoldenFile.Distance(golden.Floats("logits"), [.. logits]), Is.LessThanOrEqualTo(Tolerance), "logits");
            Assert.That(trace.Prefix, Is.EqualTo(about.GetProperty("prefix").GetInt32()), "prefix");
            Assert.That(trace.Visual, Is.EqualTo(about.GetProperty("patches").GetInt32()), "patches");
            Assert.That(trace.Text, Is.EqualTo(about.GetProperty("text").GetInt32()), "text");
            Assert.That(trace.KvRowsByLayer, Is.EqualTo(Integers(about, "kv_length")), "kv_length");
            Assert.That(trace.Flops, Is.EqualTo(about.GetProperty("flops").GetInt64()), "flops");
        });
    }

    private static int[] Integers(JsonElement about, string name) =>
        [.. about.GetProperty(name).EnumerateArray().Select(value => value.GetInt32())];

    private static IEnumerable<TestCaseData> Cases()
    {
        string? root = TestData.FindGolden("schedules");
        foreach (string file in root is null ? [] : Directory.GetFiles(root, "*-*.json").Order().ToArray())
        {
            string name = Path.GetFileNameWithoutExtension(file);
            if (!File.Exists(Path.ChangeExtension(file, ".safetensors")))
                continue;
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
            JsonElement method = json.RootElement.GetProperty("method");
            var data = new TestCaseData(file) { TestName = "Schedule " + name };
            yield return PolicyRegistry.All.Any(info => info.Name == method.GetString())
                ? data
                : data.Ignore($"policy '{method}' is not there yet");
        }
    }
}

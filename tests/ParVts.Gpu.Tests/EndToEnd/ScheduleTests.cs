using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>
/// Schedules by contract C5's rule for the GPU: which tokens stay by overlap, lengths exactly, logits along the golden tokens
/// at most twice as far from the truth as the bfloat16 run that is recorded with the case.
/// </summary>
internal class ScheduleTests
{
    private const double LeastOverlap = 0.9;

    private readonly Dictionary<string, DeviceModel> _models = [];

    [OneTimeTearDown]
    public void Close()
    {
        foreach (DeviceModel model in _models.Values)
            model.Dispose();
    }

    [TestCaseSource(nameof(Cases))]
    public void Choices_lengths_and_logits_follow_the_reference(string file)
    {
        string folder = Path.GetDirectoryName(file)!;
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement about = json.RootElement;
        using var golden = new GoldenFile(Path.ChangeExtension(file, ".safetensors"));
        string checkpoint = Path.GetFullPath(Path.Combine(folder, about.GetProperty("model").GetString()!));
        if (!_models.TryGetValue(checkpoint, out DeviceModel? model))
            _models[checkpoint] = model = new DeviceModel(checkpoint);
        PromptImage image = model.Engine.PrepareImage(ImageDecoder.Load(Path.Combine(folder, about.GetProperty("image").GetString()!)));
        Prompt prompt = model.Engine.CreatePrompt(Integers(about, "input_ids"), [image]);

        using Session session = model.Engine.CreateSession(
            about.GetProperty("policy").GetString()!.Replace("heads=yopo", "heads=" + Path.Combine(folder, "yopo"), StringComparison.Ordinal));
        double overlap = 0;
        var watch = System.Diagnostics.Stopwatch.StartNew(); var cpu = System.Diagnostics.Process.GetCurrentProcess().TotalProcessorTime;
        float[] logits = TeacherForcing.Logits(model.Engine, session, prompt, Integers(about, "tokens"), first =>
        {
            Assert.That(first.Trace.KvRowsByLayer, Is.EqualTo(Integers(about, "kv_length")), "kv_length");
            Assert.That(first.Trace.FlopsByLayer.Sum(), Is.EqualTo(about.GetProperty("flops").GetInt64()), "flops");
            overlap = Overlap(about, first.Trace);
            TestContext.Out.WriteLine($"TIMING first {watch.Elapsed.TotalSeconds:0.0} s cpu {(System.Diagnostics.Process.GetCurrentProcess().TotalProcessorTime - cpu).TotalSeconds:0.0}");
        });

        TestContext.Out.WriteLine($"TIMING all {watch.Elapsed.TotalSeconds:0.0} s cpu {(System.Diagnostics.Process.GetCurrentProcess().TotalProcessorTime - cpu).TotalSeconds:0.0}");
        double distance = GoldenFile.Distance(golden.Floats("logits"), logits);
        TestContext.Out.WriteLine($"{overlap:0.###} of the kept tokens are the reference's; logits {distance:0.####} from the truth");
        Assert.That(overlap, Is.GreaterThanOrEqualTo(LeastOverlap));
        if (!about.TryGetProperty("bfloat16_run", out JsonElement run))
            Assert.Ignore("choices and lengths hold; the case records no bfloat16 run, which logits could be held to");
        double bfloat16 = run.GetProperty("largest_logit_difference").GetDouble();
        TestContext.Out.WriteLine($"the bfloat16 run: {bfloat16:0.####}");
        Assert.That(distance, Is.LessThanOrEqualTo(2 * bfloat16), "logits");
    }

    // The share of the tokens that stay which stay in the reference, on average over the decisions; their number must be equal. Of rows
    // that were merged no token is known: how many there are must be equal, and no more is said.
    private static double Overlap(JsonElement about, ScheduleTrace trace)
    {
        var shares = new List<double>();
        foreach (JsonElement kept in about.GetProperty("kept").EnumerateArray())
        {
            IReadOnlyList<int> actual = trace.KeptAt(Math.Max(0, kept.GetProperty("layer").GetInt32()));
            JsonElement visual = kept.GetProperty("visual");
            int[] expected = visual.ValueKind == JsonValueKind.String ? [.. Enumerable.Range(0, trace.Visual)] : Integers(kept, "visual");
            Assert.That(actual, Has.Count.EqualTo(expected.Length), "how many stay");
            int[] known = [.. expected.Where(label => label != ScheduleState.MergedLabel)];
            Assert.That(actual.Count(label => label == ScheduleState.MergedLabel), Is.EqualTo(expected.Length - known.Length), "merged rows");
            if (known.Length > 0)
                shares.Add(actual.Intersect(known).Count() / (double)known.Length);
        }

        return shares.DefaultIfEmpty(1).Average();
    }

    private static int[] Integers(JsonElement about, string name) =>
        [.. about.GetProperty(name).EnumerateArray().Select(value => value.GetInt32())];

    // The project's own cases; those of the larger set, where it is there, with --full and on a real GPU.
    private static IEnumerable<TestCaseData> Cases()
    {
        string own = TestData.Own("goldens/schedules");
        string? larger = TestData.FindGolden("schedules");
        foreach (string folder in larger is null || Path.GetFullPath(larger) == Path.GetFullPath(own) ? [own] : new[] { own, larger })
        {
            foreach (string file in Directory.GetFiles(folder, "*-*.json").Order())
            {
                string name = Path.GetFileNameWithoutExtension(file);
                if (!File.Exists(Path.ChangeExtension(file, ".safetensors")))
                    continue;
                using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
                JsonElement method = json.RootElement.GetProperty("method");
                var data = new TestCaseData(file) { TestName = folder == own ? $"Device_own_schedule_{name.Replace('-', '_')}" : $"Device schedule {name}" };
                if (PolicyRegistry.All.All(info => info.Name != method.GetString()))
                    data.Ignore($"policy '{method}' is not there yet");
                else if (folder != own && !TestData.Full && !TestGpu.IsReal)
                    data.Ignore("only with --full");
                yield return data;
            }
        }
    }
}

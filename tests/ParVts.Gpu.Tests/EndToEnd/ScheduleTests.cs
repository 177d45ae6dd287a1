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

    // A prefill and a decode step, where a case records nothing that its logits could be held to.
    private const int UnheldTokens = 2;

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
        int[] tokens = Integers(about, "tokens");
        bool isHeld = about.TryGetProperty("bfloat16_run", out JsonElement run);
        if (!isHeld && !TestData.Full && !TestGpu.IsReal)
            tokens = tokens[..UnheldTokens];
        float[] logits = TeacherForcing.Logits(model.Engine, session, prompt, tokens, first =>
        {
            Assert.That(first.Trace.KvRowsByLayer, Is.EqualTo(Integers(about, "kv_length")), "kv_length");
            Assert.That(first.Trace.FlopsByLayer.Sum(), Is.EqualTo(about.GetProperty("flops").GetInt64()), "flops");
            overlap = Overlap(about, first.Trace);
        });

        double distance = GoldenFile.Distance([.. golden.Floats("logits").Take(logits.Length)], logits);
        TestContext.Out.WriteLine($"{overlap:0.###} of the kept tokens are the reference's; logits {distance:0.####} from the truth");
        Assert.That(overlap, Is.GreaterThanOrEqualTo(LeastOverlap));
        if (!isHeld)
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

    // The project's own cases; of the larger set, where it is there, the smallest case of each other method. The rest with --full and on a real GPU.
    private static IEnumerable<TestCaseData> Cases()
    {
        string own = TestData.Own("goldens/schedules");
        Golden[] small = [.. Read(own)];
        foreach (Golden one in small)
            yield return one.As($"Device_own_schedule_{one.Name.Replace('-', '_')}", onlyFull: false);
        string? larger = TestData.FindGolden("schedules");
        if (larger is null || Path.GetFullPath(larger) == Path.GetFullPath(own))
            yield break;
        Golden[] large = [.. Read(larger)];
        HashSet<Golden> smallest = [.. large.GroupBy(one => one.Method).Where(cases => small.All(one => one.Method != cases.Key)).Select(cases => cases.MinBy(one => one.KvRows)!)];
        foreach (Golden one in large)
            yield return one.As($"Device schedule {one.Name}", onlyFull: !smallest.Contains(one));
    }

    private static IEnumerable<Golden> Read(string folder)
    {
        foreach (string file in Directory.GetFiles(folder, "*-*.json").Order())
        {
            if (!File.Exists(Path.ChangeExtension(file, ".safetensors")))
                continue;
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
            yield return new Golden(file, json.RootElement.GetProperty("method").GetString()!, Integers(json.RootElement, "kv_length").Sum());
        }
    }

    private sealed record Golden(string File, string Method, int KvRows)
    {
        public string Name => Path.GetFileNameWithoutExtension(File);

        public TestCaseData As(string name, bool onlyFull)
        {
            var data = new TestCaseData(File) { TestName = name };
            if (PolicyRegistry.All.All(info => info.Name != Method))
                data.Ignore($"policy '{Method}' is not there yet");
            else if (onlyFull && !TestData.Full && !TestGpu.IsReal)
                data.Ignore("only with --full");
            return data;
        }
    }
}

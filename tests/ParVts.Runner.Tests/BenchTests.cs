using System.Text.Json;
using ParVts.Engine.Compute.Cuda;
using ParVts.Runner.Benchmarking;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Tests;

/// <summary><c>parvts bench</c>: figures that no repeat changes are exact, those that repeats change are said with their spread.</summary>
public sealed class BenchTests
{
    private static readonly string[] s_measures = ["vision_ms", "prefill_ms", "first_token_ms", "decode_ms"];

    [Test]
    public void AConfigAloneIsMeasured()
    {
        JsonElement root = Parvts.Run(
            "bench", "--config", BenchSample.Config(), "--policy", "vtw:layer=2,dense", "--policy", "parvts:keep=16,migrate=2", "--images", "0,2", "--threads", "1,2",
            "--new-tokens", "3", "--repeats", "3", "--warm-up", "0", "--json").Json;
        JsonElement[] results = [.. root.GetProperty("results").EnumerateArray()];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(root.GetProperty("format").GetString(), Is.EqualTo("parvts-bench"));
            Assert.That(root.GetProperty("complete").GetBoolean(), Is.True);
            Assert.That(root.GetProperty("machine").GetProperty("logical_processors").GetInt32(), Is.EqualTo(Environment.ProcessorCount));
            Assert.That(results.Select(Key), Is.EqualTo(
                from threads in new[] { 1, 2 }
                from images in new[] { 0, 2 }
                from policy in new[] { "dense", "vtw:layer=2", "parvts:keep=16,migrate=2" }
                select (threads, images, policy)));
            foreach (JsonElement result in results)
                CheckRounds(result, rounds: 3);
            foreach (JsonElement result in results.Where(result => result.GetProperty("images").GetInt32() == 2))
                CheckTwoPictures(result);
        }
    }

    private static (int Threads, int Images, string? Policy) Key(JsonElement result) =>
        (result.GetProperty("threads").GetInt32(), result.GetProperty("images").GetInt32(), result.GetProperty("policy").GetString());

    private static void CheckRounds(JsonElement result, int rounds)
    {
        bool dense = result.GetProperty("policy").GetString() == "dense";
        foreach (string measure in s_measures)
        {
            double[] times = [.. result.GetProperty("rounds").GetProperty(measure).EnumerateArray().Select(time => time.GetDouble())];
            Assert.That(times, Has.Length.EqualTo(rounds), measure);
            if (measure == "vision_ms" && result.GetProperty("images").GetInt32() == 0)
            {
                Assert.That(times, Is.All.Zero, "no picture, no vision");
                Assert.That(result.GetProperty(measure).ValueKind, Is.EqualTo(JsonValueKind.Null));
                continue;
            }

            JsonElement summary = result.GetProperty(measure);
            Assert.That(times, Is.All.Positive, measure);
            Assert.That(summary.GetProperty("median").GetDouble(), Is.EqualTo(times.Order().ElementAt(rounds / 2)).Within(1e-6), measure);
            Assert.That(summary.GetProperty("smallest").GetDouble(), Is.EqualTo(times.Min()).Within(1e-6), measure);
            Assert.That(summary.GetProperty("largest").GetDouble(), Is.EqualTo(times.Max()).Within(1e-6), measure);
            double share = result.GetProperty("of_dense").GetProperty(measure).GetProperty("median").GetDouble();
            Assert.That(share, dense ? Is.EqualTo(1) : Is.Positive.And.Not.EqualTo(1));
        }

        double[] first = [.. result.GetProperty("rounds").GetProperty("first_token_ms").EnumerateArray().Select(time => time.GetDouble())];
        double[] prefill = [.. result.GetProperty("rounds").GetProperty("prefill_ms").EnumerateArray().Select(time => time.GetDouble())];
        Assert.That(first.Zip(prefill, (token, all) => token - all), Is.All.Not.Negative, "the first token comes after the prefill");
        Assert.That(
            result.GetProperty("tokens_per_s").GetProperty("median").GetDouble(),
            Is.EqualTo(1000 / result.GetProperty("decode_ms").GetProperty("median").GetDouble()).Within(1e-3).Percent);
    }

    // 35 rows, a picture of 64, 29 rows, a picture, 29 rows; FLOPs by the formula of SCHEDULES.md.
    private static void CheckTwoPictures(JsonElement result)
    {
        const int All = 35 + 2 * (BenchSample.VisualTokens + 29);
        int[] rows = result.GetProperty("rows_by_layer").Numbers();
        int[] kept = result.GetProperty("kv_rows_by_layer").Numbers();
        string policy = result.GetProperty("policy").GetString()!;
        Assert.That(result.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(All));
        Assert.That(result.GetProperty("visual_tokens").GetInt32(), Is.EqualTo(2 * BenchSample.VisualTokens));
        Assert.That(result.GetProperty("flops_dense").GetInt64(), Is.EqualTo(BenchSample.Layers * BenchSample.LayerFlops(All)));
        Assert.That(result.GetProperty("kv_bytes").GetInt64(), Is.EqualTo(kept.Sum() * 2L * BenchSample.KeyValueHeads * BenchSample.HeadDim * sizeof(float)));
        JsonElement memory = result.GetProperty("memory_bytes");
        Assert.That(memory.GetProperty("weights").GetInt64(), Is.Positive);
        Assert.That(memory.GetProperty("planned").GetInt64(), Is.GreaterThan(memory.GetProperty("kv").GetInt64() + memory.GetProperty("workspace").GetInt64()));
        if (OperatingSystem.IsLinux())
            Assert.That(memory.GetProperty("peak_process").GetInt64(), Is.InRange(10L << 20, 1L << 30));
        if (policy == "dense")
            Assert.That(rows, Is.EqualTo(Enumerable.Repeat(All, BenchSample.Layers)));
        if (policy != "vtw:layer=2")
            return;
        const int Text = 35 + 2 * 29;
        Assert.That(rows, Is.EqualTo(new[] { All, All, Text, Text, Text, Text }));
        Assert.That(kept, Is.EqualTo(rows));
        Assert.That(result.GetProperty("flops").GetInt64(), Is.EqualTo(2 * BenchSample.LayerFlops(All) + 4 * BenchSample.LayerFlops(Text)));
    }

    [TestCase("dense")]
    [TestCase("parvts:keep=36,migrate=2")]
    [TestCase("shortv+fastv:layer=3,keep=0.25")]
    public void FiguresOfAModelAreThosePlanned(string policy)
    {
        DemoQuestion question = DemoModel.Question("presence");
        string[] line = ["--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", policy, "--max-tokens", "2", "--json"];
        JsonElement trace = Parvts.Run(["run", .. line]).Json.GetProperty("trace");
        JsonElement plan = Parvts.Run(["plan", .. line]).Json;
        string shape = $"{trace.GetProperty("prefix").GetInt32()}+{trace.GetProperty("text").GetInt32()}";
        JsonElement bench = Parvts.Run("bench", "--model", DemoModel.Model, "--prompt-tokens", shape, "--policy", policy, "--new-tokens", "2", "--repeats", "1", "--warm-up", "0", "--json").Json;
        JsonElement result = bench.GetProperty("results").EnumerateArray().Last();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(result.GetProperty("policy").GetString(), Is.EqualTo(policy));
            Assert.That(result.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(plan.GetProperty("prompt_tokens").GetInt32()));
            Assert.That(result.GetProperty("flops").GetInt64(), Is.EqualTo(plan.GetProperty("flops").GetInt64()));
            Assert.That(result.GetProperty("flops_dense").GetInt64(), Is.EqualTo(plan.GetProperty("flops_dense").GetInt64()));
            Assert.That(result.GetProperty("rows_by_layer").Numbers(), Is.EqualTo(plan.GetProperty("rows_by_layer").Numbers()));
            Assert.That(result.GetProperty("kv_rows_by_layer").Numbers(), Is.EqualTo(plan.GetProperty("kv_rows_by_layer").Numbers()));
            Assert.That(result.GetProperty("memory_bytes").GetProperty("kv").GetInt64(), Is.EqualTo(plan.GetProperty("memory_bytes").GetProperty("kv").GetInt64()));
        }
    }

    [Test]
    public void EveryRoundRunsEveryPolicyAndEachIsFirstInItsTurn()
    {
        const int Repeats = 3;
        var settings = new BenchmarkSettings
        {
            Model = new BenchmarkModel(BenchSample.Config(), IsRandom: true, Seed: 1),
            Cases = [new BenchmarkCase(PromptShape.Parse("8"), Images: 1, NewTokens: 1)],
            Policies = ["dense", "vtw", "grid:keep=4"],
            Devices = ["cpu"],
            Threads = [1],
            WarmUp = 0,
            Repeats = Repeats,
            Cuda = new CudaOptions(),
        };
        var ran = new List<string>();
        new Benchmarker(settings) { Progress = step => ran.Add(step.Policy) }.Run(CancellationToken.None);
        string[] rounds = [.. ran.Skip(settings.Policies.Count)];
        Assert.That(ran.Take(settings.Policies.Count), Is.EquivalentTo(settings.Policies), "first of all, memory");
        Assert.That(rounds, Is.EqualTo(Enumerable.Range(0, Repeats).SelectMany(round => Evaluator.Rotate(settings.Policies, round))));
    }

    [Test]
    public void FilesHoldTheRun()
    {
        string folder = Path.Combine(DemoModel.Scratch, "bench-files");
        Directory.CreateDirectory(folder);
        string File(string name) => Path.Combine(folder, name);
        Outcome outcome = Parvts.Run(
            "bench", "--config", BenchSample.Config(), "--images", "1,2", "--new-tokens", "1", "--repeats", "2", "--policy", "vtw:layer=2", "--device", "cpu", "--threads", "1",
            "--out", File("a.json"), "--csv", File("a.csv"), "--markdown", File("a.md"), "--plot", File("a.svg"));
        Assert.That(outcome.Code, Is.Zero, outcome.Errors);
        BenchmarkDocument document = BenchmarkReader.Read(File("a.json"));
        List<string[]> lines = Csv.Read(System.IO.File.ReadAllBytes(File("a.csv")), out _);
        string page = System.IO.File.ReadAllText(File("a.md"));
        int column = Array.IndexOf(lines[0], "prefill_ms");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Output, Does.Contain("vtw:layer=2").And.Contain("Median of 2 rounds"));
            Assert.That(document.Results.Select(result => (result.Policy, result.Group.Images)), Is.EqualTo(new[] { ("dense", 1), ("vtw:layer=2", 1), ("dense", 2), ("vtw:layer=2", 2) }));
            Assert.That(document.Results[0].Values(BenchmarkMeasure.Decode), Is.Empty, "one token has no decode step");
            Assert.That(lines.Skip(1).Select(line => double.Parse(line[column], System.Globalization.CultureInfo.InvariantCulture)),
                Is.EqualTo(document.Results.SelectMany(result => result.Values(BenchmarkMeasure.Prefill))).Within(1e-6));
            Assert.That(lines, Has.Count.EqualTo(1 + 4 * 2).And.All.Length.EqualTo(lines[0].Length));
            Assert.That(page, Does.Contain($"    parvts bench --config {BenchSample.Config()} --images 1,2"));
            Assert.That(page, Does.Contain(document.Machine.Processor).And.Contain(document.Day).And.Contain("| `vtw:layer=2` |").And.Contain("](a.svg)"));
            Assert.That(System.IO.File.ReadAllText(File("a.svg")).Split("<polyline"), Has.Length.EqualTo(1 + 2), "a line a policy");
        }
    }

    [Test]
    public void DevicesComputeTheSame()
    {
        Outcome outcome = Parvts.Run(
            "bench", "--config", BenchSample.Config(), "--device", "cpu,sim", "--threads", "1,2", "--prompt-tokens", "8", "--new-tokens", "2", "--repeats", "1", "--warm-up", "0",
            "--policy", "parvts:keep=16,migrate=2", "--json");
        if (outcome.Code == 4)
            Assert.Ignore(outcome.Errors);
        JsonElement[] results = [.. outcome.Json.GetProperty("results").EnumerateArray()];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(results.Select(result => (result.GetProperty("device").GetString(), result.GetProperty("threads").GetInt32())), Is.EqualTo(new[]
            {
                ("cpu", 1), ("cpu", 1), ("cpu", 2), ("cpu", 2), ("sim", 0), ("sim", 0),
            }));
            foreach (IGrouping<string?, JsonElement> policy in results.GroupBy(result => result.GetProperty("policy").GetString()))
                Assert.That(policy.Select(result => result.GetProperty("flops").GetInt64()).Distinct().Count(), Is.EqualTo(1), policy.Key);
            Assert.That(results.Select(result => result.GetProperty("vision_ms").GetProperty("median").GetDouble()), Is.All.Positive);
            Assert.That(results.Select(result => result.GetProperty("prefill_ms").GetProperty("median").GetDouble()), Is.All.Positive);
        }
    }

    // 800 GB a layer; refused before anything is allocated.
    [Test]
    public void WeightsThatFitNoMachineAre5()
    {
        Outcome outcome = Parvts.Run("bench", "--config", BenchSample.Config("float32", layers: 1024, hidden: 1 << 16, mlp: 1 << 20));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.EqualTo(5), outcome.Errors);
            Assert.That(outcome.Errors, Does.StartWith("error: random weights: "));
        }
    }
}

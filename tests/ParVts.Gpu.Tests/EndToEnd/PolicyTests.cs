using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>Contract P3 on the device, for random models: to the bit where the same kernels do the same arithmetic, else by contract C5.</summary>
internal class PolicyTests
{
    private static readonly string[] s_keepAll =
        ["parvts:keep=N,migrate=K", "cls-prune:keep=N", "fastv:layer=K,keep=N", "random:keep=N", "cls-prune:keep=N+fastv:layer=K,keep=N"];

    private TestGpu _gpu = null!;

    [SetUp]
    public void Open() => _gpu = DeviceModel.OpenGpu();

    [TearDown]
    public void Close()
    {
        _gpu.RequireNoFaults();
        _gpu.Dispose();
    }

    [Test]
    public void Keeping_all_equals_dense_to_the_bit([Range(1, 3)] int seed)
    {
        using TinyModel model = Model(seed);
        Prompt prompt = model.Prompt();
        float[][] dense = Unwatched(model, prompt, "dense");
        foreach (string policy in s_keepAll)
            Assert.That(Unwatched(model, prompt, DevicePolicies.Fill(policy, model)), Is.EqualTo(dense), policy);
        Assert.That(Unwatched(model, prompt, DevicePolicies.Fill("cls-prune:keep=k", model)), Is.Not.EqualTo(dense));
    }

    [Test]
    public void Path_A_is_the_run_without_path_B_to_the_bit([Range(1, 3)] int seed)
    {
        using TinyModel model = Model(seed);
        Prompt prompt = model.Prompt();
        string share = DevicePolicies.Fill("keep=k", model);
        int migrate = Math.Max(1, model.Layers / 2);
        Run packed = model.Run(prompt, $"parvts:{share},migrate={migrate},fuse=w:1", 2);
        Run alone = model.Run(prompt, $"cls-prune:{share}", 2);
        for (int layer = 0; layer < migrate; layer++)
        {
            LayerRows rows = packed.Hidden[layer];
            float[][] ofA = [.. rows.Values.Where((_, i) => rows.Paths[i] != RowPath.Rest)];
            Assert.That(ofA, Has.Length.LessThan(rows.Values.Length));
            Assert.That(ofA, Is.EqualTo(alone.Hidden[layer].Values), $"layer {layer}");
        }

        Assert.That(packed.Logits, Is.EqualTo(alone.Logits));
        Assert.That(model.Run(prompt, $"parvts:{share},migrate={migrate},fuse=w:0.5", 2).Logits, Is.Not.EqualTo(alone.Logits), "path B acts");
    }

    [Test]
    public void The_cache_is_what_the_trace_says_whether_choices_are_read_back_or_not(
        [ValueSource(typeof(DevicePolicies), nameof(DevicePolicies.All))] string policy)
    {
        using TinyModel model = Model(4);
        Prompt prompt = model.Prompt(images: 2);
        using Session session = model.Engine.CreateSession(DevicePolicies.Fill(policy, model));
        float[][] logits = Unwatched(session, prompt);
        ScheduleTrace trace = session.Trace;
        int[] stored = [.. trace.KvRowsByLayer];
        int[] kept = [.. trace.KeptAt(model.Layers)];
        for (int layer = 0; layer < model.Layers; layer++)
        {
            // What a fusion drops, it drops from the layers behind it as well.
            int alive = trace.Events.LastOrDefault(e => e.Kind == ScheduleEventKind.Fuse && e.Layer > layer)?.Kept.Count ?? trace.KeptAt(layer).Count;
            Assert.That(stored[layer], Is.EqualTo(trace.Prefix + alive + trace.Text), $"the trace at {layer}");
            Assert.That(session.Kv.Length(layer), Is.EqualTo(stored[layer] + 2), $"two decode steps at {layer}");
        }

        // Whoever watches has every choice read back at once: nothing else may differ.
        session.Reset();
        Run watched = model.Run(session, prompt, 3);
        Assert.That(watched.Logits, Is.EqualTo(logits));
        Assert.That(watched.Result.Trace.KvRowsByLayer, Is.EqualTo(stored));
        Assert.That(watched.Result.Trace.KeptAt(model.Layers), Is.EqualTo(kept));
    }

    [Test]
    public void Decoding_is_as_near_to_the_truth_as_a_replay_of_the_trace(
        [ValueSource(typeof(DevicePolicies), nameof(DevicePolicies.All))] string policy)
    {
        const int steps = 5;
        using TinyModel model = Model(6);
        Prompt prompt = model.Prompt();
        Run run = model.Run(prompt, DevicePolicies.Fill(policy, model), steps);
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        Assert.That(tokens, Has.Length.GreaterThan(2));
        ScheduleEvent[] events = [.. run.Result.Trace.Events];
        int text = run.Result.Trace.Text;
        using VlmEngine cpu = VlmEngine.Open(model.Folder);
        double decoded = 0;
        double replayed = 0;
        double largest = 0;
        for (int step = 1; step < Math.Min(steps, tokens.Length); step++)
        {
            Prompt longer = model.Continue(prompt, tokens.Take(step));
            float[] replay = model.Run(longer, new FrozenPolicy(events, text)).Logits[0];
            using Session session = cpu.CreateSession(new FrozenPolicy(events, text));
            float[] truth = [.. session.Generate(longer, new GenerationOptions { MaxTokens = 1, KeepLogits = true }).PromptLogits!];
            decoded = Math.Max(decoded, GoldenFile.Distance(truth, run.Logits[step]));
            replayed = Math.Max(replayed, GoldenFile.Distance(truth, replay));
            largest = Math.Max(largest, truth.Max(Math.Abs));
        }

        // One unit in the last place of bfloat16 beside.
        TestContext.Out.WriteLine($"decoded {decoded:0.####}, replayed {replayed:0.####} from float32, of {largest:0.##}");
        Assert.That(decoded, Is.LessThanOrEqualTo(2 * replayed + largest / 256));
    }

    [Test]
    public void A_further_turn_is_as_near_to_the_truth_as_one_from_scratch(
        [Values("dense", "parvts:keep=k,migrate=K,fuse=mean", "fastv:layer=K,keep=k")] string policy, [Values(3, 40)] int more)
    {
        using TinyModel model = Model(7);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(DevicePolicies.Fill(policy, model));
        Run one = model.Run(session, prompt, 3);
        ScheduleEvent[] events = [.. one.Result.Trace.Events];
        int text = one.Result.Trace.Text;

        // A generated image token would ask for a picture when it is read again.
        int image = model.Engine.Config.ImageTokenId;
        Prompt second = model.Continue(prompt, [.. one.Result.Tokens.TakeWhile(token => token != image), .. Enumerable.Range(1, more)]);
        Run continued = model.Run(session, second, 1);
        Assert.That(continued.Result.CachedTokens, Is.GreaterThanOrEqualTo(prompt.Length));

        float[] fresh = model.Run(second, new FrozenPolicy(events, text)).Logits[0];
        using VlmEngine cpu = VlmEngine.Open(model.Folder);
        using Session exact = cpu.CreateSession(new FrozenPolicy(events, text));
        float[] truth = [.. exact.Generate(second, new GenerationOptions { MaxTokens = 1, KeepLogits = true }).PromptLogits!];
        Assert.That(
            GoldenFile.Distance(truth, continued.Logits[0]),
            Is.LessThanOrEqualTo(2 * GoldenFile.Distance(truth, fresh) + truth.Max(Math.Abs) / 256));
    }

    [Test]
    public void Two_sessions_at_once_answer_as_alone()
    {
        using TinyModel model = Model(8);
        Prompt prompt = model.Prompt();
        string[] policies = ["dense", DevicePolicies.Fill("parvts:keep=k,migrate=K", model)];
        float[][][] alone = [.. policies.Select(policy => Unwatched(model, prompt, policy))];
        float[][][] together = new float[policies.Length][][];
        Thread[] threads = [.. policies.Select((policy, i) => new Thread(() => together[i] = Unwatched(model, prompt, policy)))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        Assert.That(together, Is.EqualTo(alone));
    }

    private TinyModel Model(int seed) => new(seed, openDevice: () => _gpu.Device);

    private static float[][] Unwatched(TinyModel model, Prompt prompt, string policy)
    {
        using Session session = model.Engine.CreateSession(policy);
        return Unwatched(session, prompt);
    }

    // Logits of three steps. Nobody watches the prefill: the device runs ahead.
    private static float[][] Unwatched(Session session, Prompt prompt)
    {
        var logits = new List<float[]>();
        session.OnStep = _ => session.Sink = (stage, tensor) =>
        {
            if (stage != "logits")
                return;
            float[] row = new float[tensor.Columns];
            session.Device.Download<float>(tensor, row);
            logits.Add(row);
        };
        GenerationResult result = session.Generate(prompt, new GenerationOptions { MaxTokens = 3, IgnoreEndOfSequence = true, KeepLogits = true });
        (session.OnStep, session.Sink) = (null, null);
        return [[.. result.PromptLogits!], .. logits];
    }
}

using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Scheduling;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>Contract P2: what the host does while the device works. The simulated GPU counts calls, copies and waits.</summary>
internal class PrefillTests
{
    private TestGpu _gpu = null!;
    private TinyModel _model = null!;

    [SetUp]
    public void Open()
    {
        _gpu = DeviceModel.OpenGpu();
        _model = new TinyModel(11, openDevice: () => _gpu.Device);
    }

    [TearDown]
    public void Close()
    {
        _model?.Dispose();
        _gpu?.RequireNoFaults();
        _gpu?.Dispose();
    }

    [Test]
    public void A_prefill_neither_waits_nor_reads_back([ValueSource(typeof(DevicePolicies), nameof(DevicePolicies.All))] string policy)
    {
        SimDriver sim = DeviceModel.RequireSim(_gpu);
        using Session session = _model.Engine.CreateSession(DevicePolicies.Fill(policy, _model));

        // From the moment that the picture is on its way to the one when the last layer is: text, policy, every layer.
        IReadOnlyDictionary<string, long> before = sim.CallsByName;
        Dictionary<string, long>? during = null;
        session.Progress = progress =>
        {
            if (progress.Phase == "vision")
                before = sim.CallsByName;
            else if (progress.Done == progress.Total)
                during = Since(before, sim.CallsByName);
        };
        GenerationResult result = session.Generate(_model.Prompt(), new GenerationOptions { MaxTokens = 1 });

        Assert.That(during, Is.Not.Null);
        Assert.That(during!.Where(call => Waits(call.Key) || ReadsBack(call.Key)), Is.Empty);
        Assert.That(during!.GetValueOrDefault("cuLaunchKernel"), Is.GreaterThan(8 * _model.Layers));
        if (policy != "dense")
            Assert.That(result.Trace.Events, Is.Not.Empty, "what was chosen is known in the end");
    }

    [Test]
    public void A_decision_is_read_back_while_the_layers_mlp_is_still_queued()
    {
        SimDriver sim = DeviceModel.RequireSim(_gpu);
        Assert.That(_model.Layers, Is.GreaterThanOrEqualTo(4));

        // No cosine is that low: every layer but the first and the last is looked into, and nobody leaves.
        using Session session = _model.Engine.CreateSession("visipruner:shallow=0,tcos=0");
        IReadOnlyDictionary<string, long> before = sim.CallsByName;
        Dictionary<string, long>? during = null;
        long queued = 0;
        var behind = new List<long>();
        session.Progress = progress =>
        {
            if (progress.Phase == "vision")
            {
                before = sim.CallsByName;
                return;
            }

            // What was queued with the layer before, and had not run when its decision was there.
            during = Since(before, sim.CallsByName);
            bool looked = progress.Done >= 2 && progress.Done < progress.Total;
            long underWay = during.Where(call => ReadsBack(call.Key)).Sum(call => call.Value) - during.GetValueOrDefault("cuEventSynchronize");
            Assert.That(underWay, Is.EqualTo(looked ? 1 : 0), $"copies under way behind layer {progress.Done - 1}");
            if (progress.Done > 2)
                behind.Add(queued - sim.Counters.AllLaunches);
            queued = sim.CallsByName["cuLaunchKernel"];
        };
        session.Generate(_model.Prompt(), new GenerationOptions { MaxTokens = 1 });

        Assert.That(during!.Where(call => Waits(call.Key)).Select(call => call.Key), Is.EqualTo(["cuEventSynchronize"]), "what the host waits for");
        Assert.That(during!["cuEventSynchronize"], Is.EqualTo(_model.Layers - 2), "once for each layer that is looked into");

        // The projection, the norm, and the MLP's three products and its activation, at least.
        Assert.That(behind, Has.Count.EqualTo(_model.Layers - 2).And.All.GreaterThanOrEqualTo(6), "launches that were still queued");
    }

    [Test]
    public void A_warm_session_takes_no_memory([ValueSource(typeof(DevicePolicies), nameof(DevicePolicies.All))] string policy)
    {
        SimDriver sim = DeviceModel.RequireSim(_gpu);
        using Session session = _model.Engine.CreateSession(DevicePolicies.Fill(policy, _model));
        Prompt prompt = _model.Prompt();
        var options = new GenerationOptions { MaxTokens = 10, IgnoreEndOfSequence = true };
        session.Generate(prompt, options);
        session.Reset();
        IReadOnlyDictionary<string, long> before = sim.CallsByName;
        long last = 0;
        var managed = new List<long>(options.MaxTokens);
        session.OnStep = _ =>
        {
            // What the simulation allocates to serve the calls is not the engine's.
            long now = GC.GetAllocatedBytesForCurrentThread() - sim.ManagedBytes;
            managed.Add(now - last);
            last = now;
        };
        session.Generate(prompt, options);

        // The first steps make the recording. The runtime's own (a lock that had to wait) may fall into some step; what the engine
        // allocates falls into each.
        Assert.That(managed, Has.Count.EqualTo(options.MaxTokens));
        Assert.That(managed.Skip(3).Order().Take(4), Is.All.Zero, "bytes of the managed heap in a step");
        Assert.That(
            Since(before, sim.CallsByName).Keys.Where(name => name.Contains("Alloc", StringComparison.Ordinal) || name.Contains("Free", StringComparison.Ordinal)
                || name.Contains("Module", StringComparison.Ordinal)),
            Is.Empty);
    }

    private static bool Waits(string call) => call.Contains("Synchronize", StringComparison.Ordinal) || call.Contains("Query", StringComparison.Ordinal);

    private static bool ReadsBack(string call) => call.Contains("DtoH", StringComparison.Ordinal);

    private static Dictionary<string, long> Since(IReadOnlyDictionary<string, long> before, IReadOnlyDictionary<string, long> now) =>
        now.Where(call => call.Value > before.GetValueOrDefault(call.Key)).ToDictionary(call => call.Key, call => call.Value - before.GetValueOrDefault(call.Key));
}

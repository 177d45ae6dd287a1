using System.Diagnostics;
using ParVts.Cuda;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests;

namespace ParVts.Gpu.Tests.Faults;

/// <summary>
/// Every call of the driver is made to fail once: while the driver starts, the model is loaded, a session opened, in prefill and in
/// decode, and while it is all let go. Each time: a typed error that names the call, nothing left over, and whoever comes next gets the right tokens.
/// </summary>
/// <param name="cublas">Matrix products by cuBLAS: its calls alone are made to fail then.</param>
[NonParallelizable]
[TestFixture(false)]
[TestFixture(true)]
internal sealed class CallFailureTests(bool cublas)
{
    private const int OutOfMemory = 2;

    // Calls whose failure costs no answer: what they let go is let go later.
    private static readonly HashSet<string> s_quiet =
    [
        "cuCtxPopCurrent_v2", "cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuEventDestroy_v2", "cuModuleUnload", "cuGraphDestroy",
        "cuGraphExecDestroy", "cuDevicePrimaryCtxRelease_v2", "cublasDestroy_v2",
    ];

    private readonly List<(Phase Phase, Dictionary<string, long> Calls)> _phases = [];
    private Machine _machine = null!;
    private int[] _answer = null!;

    internal enum Phase
    {
        Start,
        Session,
        Prefill,
        Decode,
        CloseSession,
        CloseEngine,
    }

    [OneTimeSetUp]
    public void CountCalls()
    {
        _machine = new Machine(cublas);
        using (VlmEngine engine = _machine.Open())
            _answer = Machine.Answer(engine);

        // What a run calls, phase by phase.
        Dictionary<string, long> before = Calls();
        VlmEngine counted = _machine.Start();
        End(Phase.Start);
        _ = Machine.Answer(counted);
        before = Calls();
        Session session = counted.CreateSession(Machine.Policy);
        End(Phase.Session);
        session.OnStep = _ => { if (_phases[^1].Phase == Phase.Session) End(Phase.Prefill); };
        Assert.That(Machine.Answer(session, Machine.Question(counted)), Is.EqualTo(_answer));
        End(Phase.Decode);
        session.Dispose();
        End(Phase.CloseSession);
        counted.Dispose();
        End(Phase.CloseEngine);

        void End(Phase phase)
        {
            Dictionary<string, long> now = Calls();
            _phases.Add((phase, now.ToDictionary(pair => pair.Key, pair => pair.Value - before.GetValueOrDefault(pair.Key))));
            before = now;
        }
    }

    [OneTimeTearDown]
    public void Dispose() => _machine?.Dispose();

    [Test]
    public void Each_call_fails_once(
        [Values(Phase.Start, Phase.Session, Phase.Prefill, Phase.Decode, Phase.CloseSession, Phase.CloseEngine)] Phase phase,
        [Values(1, OutOfMemory, 700, 719, 999)] int code)
    {
        var watch = Stopwatch.StartNew();
        int failures = 0;
        VlmEngine? engine = null;
        try
        {
            foreach ((string name, int call) in Cases(phase, code))
            {
                failures++;
                if (phase == Phase.Start)
                    FailStart(name, call, code);
                else if (phase == Phase.CloseEngine)
                    FailEnd(name, call, code);
                else
                    FailRun(ref engine, phase, name, call, code);
            }
        }
        finally
        {
            engine?.Dispose();
        }

        TestContext.Out.WriteLine($"{failures} failures in {watch.Elapsed.TotalSeconds:0.0} s");
        Assert.That(failures, Is.Positive.Or.EqualTo(cublas ? 0 : 1));
        RequireNothingLeft();
    }

    // All of them in the full run; else of each function the first, one in the middle and the last, or, of codes that are taken alike, one.
    // What half an allocation leaves behind differs from place to place: they fail everywhere.
    private IEnumerable<(string Name, int Call)> Cases(Phase phase, int code)
    {
        foreach ((string name, long calls) in _phases.Single(one => one.Phase == phase).Calls.OrderBy(pair => pair.Key))
        {
            int count = (int)calls;
            if (count == 0 || name.StartsWith("cublas", StringComparison.Ordinal) != cublas)
                continue;
            bool all = TestData.Full || (name.StartsWith("cuMemAlloc", StringComparison.Ordinal) && code == 1);
            IEnumerable<int> numbers = all ? Enumerable.Range(1, count) : code is 1 or 700 ? [1, (count + 1) / 2, count] : [1 + count * 2 / 3];
            foreach (int number in numbers.Distinct())
                yield return (name, Math.Min(number, count));
        }
    }

    // Calls of the run before the phase.
    private int Before(Phase phase, string name, Phase from) =>
        (int)_phases.Where(one => one.Phase >= from && one.Phase < phase).Sum(one => one.Calls.GetValueOrDefault(name));

    private void FailStart(string name, int call, int code)
    {
        string what = $"{name} number {call} gives {code}";
        _machine.Sim.FailCall(call, code, name);
        Exception? error = Catch(() => _machine.Start().Dispose());
        Require(what, name, code, error, answer: null);
        using VlmEngine next = _machine.Open();
        Assert.That(Machine.Answer(next), Is.EqualTo(_answer), what);
        next.Dispose();
        RequireNothingLeft(what);
    }

    private void FailEnd(string name, int call, int code)
    {
        string what = $"{name} number {call} at the end gives {code}";
        VlmEngine engine = _machine.Open();
        _ = Machine.Answer(engine);
        _machine.Sim.FailCall(call, code, name);
        Assert.That(Catch(engine.Dispose), Is.Null, what);
        _machine.Sim.FailNothing();
        using VlmEngine next = _machine.Open();
        Assert.That(Machine.Answer(next), Is.EqualTo(_answer), what);
        next.Dispose();
        RequireNothingLeft(what);
    }

    private void FailRun(ref VlmEngine? engine, Phase phase, string name, int call, int code)
    {
        string what = $"{name} number {call} in {phase} gives {code}";
        if (engine is null)
        {
            engine = _machine.Open();
            Assert.That(Machine.Answer(engine), Is.EqualTo(_answer), $"before {what}");
        }

        HashSet<ulong> held = Held();
        _machine.Sim.FailCall(Before(phase, name, Phase.Session) + call, code, name);
        Session? session = null;
        int[]? answer = null;
        VlmEngine used = engine;
        Exception? error = Catch(() =>
        {
            session = used.CreateSession(Machine.Policy);
            answer = Machine.Answer(session, Machine.Question(used));
            session.Dispose();
        });
        Require(what, name, code, error, answer, closing: phase == Phase.CloseSession);
        if (code is 700 or 719)
        {
            // The context is gone for all who are in it: they say so, and let go in silence.
            Assert.That(Catch(() => Machine.Answer(used)), Is.TypeOf<CudaContextLostException>().Or.TypeOf<CudaException>(), what);
            Assert.That(Catch(() => session?.Dispose()), Is.Null, what);
            Assert.That(Catch(used.Dispose), Is.Null, what);
            engine = null;
            RequireNothingLeft(what);
            return;
        }

        // The session itself goes on; so does another.
        if (session is not null && error is not null)
            Assert.That(Machine.Answer(session, Machine.Question(used)), Is.EqualTo(_answer), $"the same session after {what}");
        session?.Dispose();
        Assert.That(Machine.Answer(used), Is.EqualTo(_answer), $"the next session after {what}");
        Assert.That(Held().Except(held), Is.Empty, $"left over after {what}");
        Assert.That(_machine.Sim.Faults.Select(fault => fault.Message), Is.Empty, what);
    }

    private void Require(string what, string name, int code, Exception? error, int[]? answer, bool closing = false)
    {
        _machine.Sim.FailNothing();
        if (error is null)
        {
            // Whoever lets go is told of nothing.
            Assert.That(closing || s_quiet.Contains(name), $"{what}: nobody said so");
            Assert.That(answer, Is.Null.Or.EqualTo(_answer), what);
            return;
        }

        TestContext.Out.WriteLine($"{what}: {error.Message}");
        if (error is InsufficientMemoryException)
            Assert.That(code, Is.EqualTo(OutOfMemory), what);
        else
            Assert.That(error, Is.InstanceOf<CudaErrorException>(), $"{what}: {error}");
        if (error is CudaException failed)
        {
            // cuBLAS has numbers of its own.
            Assert.That(failed.Code, failed.Call.StartsWith("cublas", StringComparison.Ordinal) ? Is.Positive : Is.EqualTo(code), what);
            Assert.That(s_quiet.Contains(name) || failed.Call.Contains(name.Split('_')[0], StringComparison.Ordinal), $"{what}: {error.Message}");
            Assert.That(failed.Hint, Is.Not.Null, $"{what}: what is to be done? {error.Message}");
        }
    }

    private void RequireNothingLeft(string what = "")
    {
        Assert.That(_machine.Sim.Leaks(), Is.Empty, what);
        Assert.That(_machine.Sim.Faults.Select(fault => fault.Message), Is.Empty, what);
    }

    private HashSet<ulong> Held() => [.. _machine.Sim.Leaks().Select(leak => leak.Handle)];

    private Dictionary<string, long> Calls() => new(_machine.Sim.CallsByName);

    private static Exception? Catch(Action action)
    {
        try
        {
            action();
            return null;
        }
#pragma warning disable CA1031 // Which error it is is what is looked at.
        catch (Exception error)
#pragma warning restore CA1031
        {
            return error;
        }
    }
}

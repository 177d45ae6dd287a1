using System.Diagnostics;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;

namespace ParVts.Runner.Benchmarking;

/// <summary>
/// Times answers phase by phase. A device that runs ahead of the host has only been told its work when a phase returns: there the host waits
/// once, at the end of the vision tower's work, and the prefill ends with the first token. It owns its session.
/// </summary>
internal sealed class PhaseClock : IDisposable
{
    private readonly DeviceBuffer? _buffer;
    private readonly Stopwatch _watch = new();
    private readonly float[] _value = [0];
    private double _visionEnd;

    public PhaseClock(Session session)
    {
        Session = session;
        if (!session.Device.RunsAhead)
            return;
        _buffer = session.Device.Allocate(sizeof(float));
        session.Device.Upload<float>(_value, Probe);
        session.Progress = Note;
    }

    /// <summary>Whose answers are timed.</summary>
    public Session Session { get; }

    private Tensor Probe => _buffer!.View(TensorType.F32, 1, 1);

    /// <summary>Answers with an empty cache.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public (GenerationResult Result, BenchmarkRound Round) Run(Prompt prompt, int newTokens, CancellationToken stop)
    {
        Session.Reset();
        _visionEnd = 0;
        _watch.Restart();
        GenerationResult result = Session.Generate(
            prompt, new GenerationOptions { MaxTokens = newTokens, IgnoreEndOfSequence = true }, onText: null, stop);
        if (result.Finish == FinishReason.Cancelled)
            throw new OperationCanceledException(stop);
        GenerationTimes times = result.Times;
        BenchmarkRound round = _buffer is null
            ? new(prompt.Images.Count > 0 ? times.Vision : 0, times.Prefill, times.FirstToken, times.DecodePerToken)
            : new(_visionEnd, times.FirstToken - _visionEnd, times.FirstToken, times.DecodePerToken);
        return (result, round);
    }

    public void Dispose()
    {
        _buffer?.Dispose();
        Session.Dispose();
    }

    private void Note(GenerationProgress step)
    {
        if (step.Phase != "vision" || step.Done != step.Total)
            return;
        Session.Device.Download<float>(Probe, _value);
        _visionEnd = _watch.Elapsed.TotalMilliseconds;
    }
}

using ParVts.Engine.Compute;

namespace ParVts.Engine.Models;

/// <summary>
/// A decode step that is done again and again: run once as it is, recorded where the device can, replayed from then on.
/// One caller at a time.
/// </summary>
internal sealed class StepRecording(ComputeDevice device) : IDisposable
{
    private (DecoderWorkspace? Workspace, int Layout, bool Compact) _seen;
    private DeviceRecording? _recording;

    /// <summary>Does the step.</summary>
    public void Run(DecoderWorkspace workspace, KvStore kv, bool compact, Action<DecoderWorkspace, KvStore, bool> step)
    {
        (DecoderWorkspace? Workspace, int Layout, bool Compact) now = (workspace, kv.Layout, compact);
        if (_seen != now)
        {
            Forget();
            step(workspace, kv, compact);
            _seen = now;
        }
        else if (device.CanRecord)
        {
            // The first step has loaded every kernel; a recording must not.
            _recording ??= Record(workspace, kv, compact, step);
            device.Replay(_recording);
        }
        else
        {
            step(workspace, kv, compact);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Forget();

    // Apart, since the closure is made where its variables begin: a replay allocates nothing.
    private DeviceRecording Record(DecoderWorkspace workspace, KvStore kv, bool compact, Action<DecoderWorkspace, KvStore, bool> step) =>
        device.Record(() => step(workspace, kv, compact));

    private void Forget()
    {
        _recording?.Dispose();
        _recording = null;
        _seen = default;
    }
}

using ParVts.Engine.Compute;

namespace ParVts.Engine.Models;

/// <summary>
/// A decode step that is done again and again: run once as it is, recorded where the device can, replayed from then on.
/// One caller at a time.
/// </summary>
internal sealed class StepRecording(ComputeDevice device) : IDisposable
{
    private (DecoderWorkspace? Workspace, int Cache, bool Compact, DeviceSampler? Sampler, int? Sampling) _seen;
    private DeviceRecording? _recording;

    /// <summary>Does the step.</summary>
    /// <param name="workspace">The activations.</param>
    /// <param name="kv">The cache.</param>
    /// <param name="compact">Positions are the layers' own lengths.</param>
    /// <param name="sampler">Chooses the token at the end; null where the host does.</param>
    /// <param name="step">The operations, given all of these.</param>
    public void Run(
        DecoderWorkspace workspace, KvStore kv, bool compact, DeviceSampler? sampler, Action<DecoderWorkspace, KvStore, bool, DeviceSampler?> step)
    {
        (DecoderWorkspace? Workspace, int Cache, bool Compact, DeviceSampler? Sampler, int? Sampling) now =
            (workspace, kv.Layout, compact, sampler, sampler?.Layout);
        if (_seen != now)
        {
            Forget();
            step(workspace, kv, compact, sampler);
            _seen = now;
        }
        else if (device.CanRecord)
        {
            // The first step has loaded every kernel; a recording must not.
            _recording ??= Record(workspace, kv, compact, sampler, step);
            device.Replay(_recording);
        }
        else
        {
            step(workspace, kv, compact, sampler);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Forget();

    // Apart, since the closure is made where its variables begin: a replay allocates nothing.
    private DeviceRecording Record(
        DecoderWorkspace workspace, KvStore kv, bool compact, DeviceSampler? sampler, Action<DecoderWorkspace, KvStore, bool, DeviceSampler?> step) =>
        device.Record(() => step(workspace, kv, compact, sampler));

    private void Forget()
    {
        _recording?.Dispose();
        _recording = null;
        _seen = default;
    }
}

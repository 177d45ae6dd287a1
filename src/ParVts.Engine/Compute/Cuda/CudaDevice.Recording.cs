using System.Runtime.InteropServices;
using ParVts.Cuda;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Sequences of operations as CUDA graphs, and sampling (contract C3, S5).</content>
public sealed unsafe partial class CudaDevice
{
    private Dictionary<LoadedKernel, long>? _recorded;

    /// <inheritdoc/>
    public override bool CanRecord => _shared.Options.Graphs;

    /// <inheritdoc/>
    public override DeviceSampler CreateSampler(int vocabulary) => new CudaSampler(this, vocabulary);

    /// <inheritdoc/>
    public override DeviceRecording Record(Action body)
    {
        _recorded = [];
        try
        {
            using CudaCapture capture = _stream.BeginCapture();
            body();
            return new Recording(capture.End(), [.. _recorded]);
        }
        finally
        {
            _recorded = null;
        }
    }

    /// <inheritdoc/>
    public override void Replay(DeviceRecording recording)
    {
        if (recording is not Recording mine)
            throw new ArgumentException("the recording is another device's", nameof(recording));
        mine.Graph.Launch(_stream);
        foreach ((LoadedKernel kernel, long launches) in mine.Launches)
            CollectionsMarshal.GetValueRefOrAddDefault(_launches, kernel, out _) += launches;
    }

    private sealed class Recording(CudaGraph graph, KeyValuePair<LoadedKernel, long>[] launches) : DeviceRecording
    {
        public CudaGraph Graph => graph;

        public KeyValuePair<LoadedKernel, long>[] Launches => launches;

        public override void Dispose() => graph.Dispose();
    }
}

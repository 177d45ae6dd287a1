using ParVts.Cuda;

namespace ParVts.Bench.Gpu;

/// <summary>Times work on a stream by events, each repeat with caches that hold nothing of it.</summary>
internal sealed class GpuTimer : IDisposable
{
    // More than any GPU's second level of cache.
    private const long FlushBytes = 256L << 20;
    private const int WarmUps = 3;

    private readonly CudaStream _stream;
    private readonly DeviceMemory _flush;
    private readonly List<(CudaEvent Start, CudaEvent End)> _events = [];

    public GpuTimer(CudaContext context, CudaStream stream, int repeats)
    {
        _stream = stream;
        _flush = new DeviceMemory(context, FlushBytes);
        stream.Fill(_flush.Address, 0, FlushBytes);
        for (int i = 0; i < repeats; i++)
            _events.Add((new CudaEvent(context), new CudaEvent(context)));
    }

    /// <summary>Seconds of each repeat, ascending.</summary>
    public double[] Measure(Action run)
    {
        for (int i = 0; i < WarmUps; i++)
            run();

        // All is queued at once: while a cache is flushed the host gets ahead, and its own time does not show.
        foreach ((CudaEvent start, CudaEvent end) in _events)
        {
            _stream.Fill(_flush.Address, 0, FlushBytes);
            start.Record(_stream);
            run();
            end.Record(_stream);
        }

        _stream.Synchronize();
        return [.. _events.Select(pair => pair.End.MillisecondsSince(pair.Start) / 1e3).Order()];
    }

    /// <summary>Bytes read and written a second by a copy within the GPU's memory.</summary>
    public double CopyRate()
    {
        const long half = FlushBytes / 2;
        double[] seconds = Measure(() => _stream.Copy(_flush.Address, _flush.Address + (ulong)half, half));
        return 2 * half / Median(seconds);
    }

    public static double Median(double[] sorted) => (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;

    public void Dispose()
    {
        foreach ((CudaEvent start, CudaEvent end) in _events)
        {
            start.Dispose();
            end.Dispose();
        }

        _flush.Dispose();
    }
}

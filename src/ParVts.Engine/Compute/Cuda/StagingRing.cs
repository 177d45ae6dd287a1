using ParVts.Cuda;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>
/// Pinned host memory through which uploads go, so that the caller's span is free at once and the host does not wait: two
/// halves, each reused when the copies from it are done. One caller at a time.
/// </summary>
internal sealed class StagingRing(CudaContext context, int bytes) : IDisposable
{
    private const int Alignment = 64;

    private readonly PinnedMemory _memory = new(context, 2 * bytes);
    private readonly CudaEvent[] _done = [new(context), new(context)];
    private readonly bool[] _busy = new bool[2];
    private int _half;
    private int _offset;

    /// <summary>The most bytes that one piece may have.</summary>
    public int PieceBytes => bytes;

    /// <summary>Room for the next piece of an upload on this stream, which the caller fills and copies from.</summary>
    public Span<byte> Next(CudaStream stream, int count)
    {
        if (_offset + count > bytes)
        {
            _done[_half].Record(stream);
            _busy[_half] = true;
            _half ^= 1;
            _offset = 0;
            if (_busy[_half])
                _done[_half].Synchronize();
            _busy[_half] = false;
        }

        Span<byte> piece = _memory.Span.Slice(_half * bytes + _offset, count);
        _offset += (count + Alignment - 1) / Alignment * Alignment;
        return piece;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (CudaEvent done in _done)
            done.Dispose();
        _memory.Dispose();
    }
}

using ParVts.Cuda;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>
/// Pinned host memory through which uploads go, so that the caller's span is free at once and the host does not wait: two
/// halves, each reused when the copies from it are done. One caller at a time.
/// </summary>
internal sealed class StagingRing : IDisposable
{
    private const int Alignment = 64;

    private readonly PinnedMemory _memory;
    private readonly CudaEvent?[] _done = new CudaEvent?[2];
    private readonly bool[] _busy = new bool[2];
    private int _half;
    private int _offset;

    public StagingRing(CudaContext context, int bytes)
    {
        PieceBytes = bytes;
        _memory = new PinnedMemory(context, 2 * bytes);
        try
        {
            for (int half = 0; half < _done.Length; half++)
                _done[half] = new CudaEvent(context);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The most bytes that one piece may have.</summary>
    public int PieceBytes { get; }

    /// <summary>Room for the next piece of an upload on this stream, which the caller fills and copies from.</summary>
    public Span<byte> Next(CudaStream stream, int count)
    {
        if (_offset + count > PieceBytes)
        {
            _done[_half]!.Record(stream);
            _busy[_half] = true;

            // Where the wait fails, this half stays the one in use: full, so that whoever comes next waits again.
            int other = _half ^ 1;
            if (_busy[other])
                _done[other]!.Synchronize();
            _busy[other] = false;
            _half = other;
            _offset = 0;
        }

        Span<byte> piece = _memory.Span.Slice(_half * PieceBytes + _offset, count);
        _offset += (count + Alignment - 1) / Alignment * Alignment;
        return piece;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (CudaEvent? done in _done)
            done?.Dispose();
        _memory.Dispose();
    }
}

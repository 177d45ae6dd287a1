using System.Numerics;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Run;

/// <summary>
/// A lane's cp.async that was issued: <paramref name="Bytes"/> from global memory, then zeros up to <paramref name="Size"/>; <paramref name="Index"/> is
/// its instruction.
/// </summary>
internal readonly record struct AsyncCopy(int Lane, ulong From, ulong To, int Bytes, int Size, int Group, int Index);

/// <summary>
/// A warp's cp.async copies. The hardware may perform them at any time until they are waited for; here it is as late as possible, so that code
/// which forgets to wait reads what was there before.
/// </summary>
internal sealed unsafe class AsyncCopies
{
    private readonly int[] _committed = new int[32];
    private AsyncCopy[] _pending = new AsyncCopy[256];
    private AsyncCopy[] _due = new AsyncCopy[256];
    private int _count;

    public void Clear()
    {
        _count = 0;
        Array.Clear(_committed);
    }

    public void Add(int lane, ulong from, ulong to, int bytes, int size, int index)
    {
        if (_count == _pending.Length)
        {
            Array.Resize(ref _pending, 2 * _count);
            Array.Resize(ref _due, 2 * _count);
        }
        _pending[_count++] = new AsyncCopy(lane, from, to, bytes, size, _committed[lane], index);
    }

    public void Commit(uint lanes)
    {
        if (lanes == uint.MaxValue)
        {
            for (int lane = 0; lane < 32; lane += 8)
                (Vector256.LoadUnsafe(ref _committed[lane]) + Vector256<int>.One).StoreUnsafe(ref _committed[lane]);
            return;
        }
        for (uint mask = lanes; mask != 0; mask &= mask - 1)
            _committed[BitOperations.TrailingZeroCount(mask)]++;
    }

    /// <summary>Takes out what has to be done by now: all but the last <paramref name="keep"/> groups of each lane; -1: everything.</summary>
    public ReadOnlySpan<AsyncCopy> Wait(uint lanes, int keep)
    {
        int due = 0, left = 0;
        for (int i = 0; i < _count; i++)
        {
            ref AsyncCopy copy = ref _pending[i];
            if ((lanes >> copy.Lane & 1) != 0 && (keep < 0 || copy.Group < _committed[copy.Lane] - keep))
                _due[due++] = copy;
            else if (left++ < i)
                _pending[left - 1] = copy;
        }
        _count = left;
        return _due.AsSpan(0, due);
    }
}

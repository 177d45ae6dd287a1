using System.Runtime.InteropServices;

namespace ParVts.GpuSim;

/// <summary>Who made an access, and when in terms of barriers.</summary>
/// <param name="Block">Number of the block in the grid.</param>
/// <param name="Thread">Number of the thread in the block.</param>
/// <param name="BlockEpoch">Barriers of the block so far.</param>
/// <param name="WarpEpoch">Barriers of the warp so far.</param>
internal readonly record struct Accessor(uint Block, uint Thread, uint BlockEpoch, uint WarpEpoch);

/// <summary>
/// For each granule (the narrowest access of the kernel) the last write and the last reads. Two accesses are ordered if they are of one thread,
/// or of one block with a barrier between, or of one warp with a warp barrier between; all else is a race if one of them writes.
/// Bytes are atomic or not by the last write: atomics do not race with each other.
/// </summary>
internal sealed unsafe class RaceShadow(long bytes, int granuleLog) : IDisposable
{
    // Packed: launch-unique block 24 bits | block epoch 16 | warp epoch 10 | thread 11 | kind 3, 0: none. Epochs wrap, which can only
    // make an ordered pair look unordered if exactly 65,536 barriers lie between.
    private const uint Many = 1;
    private const uint ManyInWarp = 2;
    private const uint Atomic = 4;

    private readonly long _count = (bytes >> granuleLog) + 1;
    private ulong* _writes = (ulong*)NativeMemory.AllocZeroed((nuint)(((bytes >> granuleLog) + 1) * 16));

    public int GranuleLog => granuleLog;

    public void Clear() => NativeMemory.Clear(_writes, (nuint)(_count * 16));

    public void Dispose()
    {
        NativeMemory.Free(_writes);
        _writes = null;
    }

    /// <summary>Records an access; the other thread's number and block if it races with an earlier one.</summary>
    /// <param name="offset">Of the first byte.</param>
    /// <param name="count">Bytes.</param>
    /// <param name="who">The accessor.</param>
    /// <param name="write">Whether it writes.</param>
    /// <param name="atomic">Whether it is an atomic operation.</param>
    /// <param name="sameValue">Whether a write leaves the bytes as they are, which no order can make visible.</param>
    /// <param name="other">The other side of the race.</param>
    public bool Touch(long offset, int count, in Accessor who, bool write, bool atomic, bool sameValue, out (uint Block, uint Thread, bool Wrote) other)
    {
        ulong me = Pack(who) | (atomic ? Atomic : 0);
        other = default;
        for (long granule = offset >> granuleLog; granule <= (offset + count - 1) >> granuleLog; granule++)
        {
            ref ulong lastWrite = ref _writes[2 * granule];
            ref ulong lastRead = ref _writes[(2 * granule) + 1];
            ulong w = Volatile.Read(ref lastWrite);
            if (w != 0 && !(atomic && (w & Atomic) != 0) && !(write && sameValue) && Unordered(w, me))
            {
                other = ((uint)(w >> 40) - 1, (uint)(w >> 3) & 2047, true);
                return true;
            }
            ulong r = Volatile.Read(ref lastRead);
            if (write && !sameValue && r != 0 && Unordered(r, me))
            {
                other = ((uint)(r >> 40) - 1, (uint)(r >> 3) & 2047, false);
                return true;
            }
            if (write)
                Volatile.Write(ref lastWrite, me);
            else
                Volatile.Write(ref lastRead, Merge(r, me));
        }
        return false;
    }

    private static ulong Pack(in Accessor a) =>
        ((ulong)(a.Block + 1) << 40) | ((ulong)(a.BlockEpoch & 0xFFFF) << 24) | ((ulong)(a.WarpEpoch & 0x3FF) << 14) | (a.Thread << 3);

    private static bool Unordered(ulong before, ulong now)
    {
        if (before >> 40 != now >> 40)
            return true;
        if (((before ^ now) >> 24 & 0xFFFF) != 0)
            return false;
        if ((before & Many) != 0)
            return true;
        ulong threads = (before ^ now) >> 3 & 2047;
        if (threads >> 5 != 0)
            return true;
        // One warp: the same thread, or a warp barrier between.
        if (((before ^ now) >> 14 & 0x3FF) != 0)
            return false;
        return threads != 0 || (before & ManyInWarp) != 0;
    }

    /// <summary>Several readers share one record: as soon as two of them differ it stands for many.</summary>
    private static ulong Merge(ulong before, ulong now)
    {
        if (before == 0 || (before >> 40 == now >> 40 && ((before ^ now) >> 24 & 0xFFFF) != 0))
            return now;
        if (before >> 40 != now >> 40)
            return now | Many;
        if ((before & Many) != 0 || ((before ^ now) >> 8 & 63) != 0)
            return now | Many;
        bool sameThread = ((before ^ now) >> 3 & 31) == 0;
        bool sameTime = ((before ^ now) >> 14 & 0x3FF) == 0;
        return sameTime && (!sameThread || (before & ManyInWarp) != 0) ? now | ManyInWarp : now;
    }
}

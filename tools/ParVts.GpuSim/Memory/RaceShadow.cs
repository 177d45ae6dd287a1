using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim;

/// <summary>Who makes an access, and when in terms of barriers.</summary>
/// <param name="Block">Number of the block, which no other block of this or an earlier launch has.</param>
/// <param name="Thread">Number of the thread in the block.</param>
/// <param name="BlockEpoch">Barriers of the block so far.</param>
/// <param name="WarpEpoch">Barriers of the warp so far.</param>
internal readonly record struct Accessor(uint Block, uint Thread, uint BlockEpoch, uint WarpEpoch)
{
    // Packed: block 23 bits | block epoch 16 | warp epoch 10 | thread 11 | kind 3. Epochs wrap, which can only make a racing pair look
    // ordered if exactly 65,536 barriers lie between.
    public const int BlockShift = 40, EpochShift = 24, WarpEpochShift = 14, ThreadShift = 3;

    /// <summary>The accessor as one number, which is what shadows hold.</summary>
    public ulong Pack() =>
        ((ulong)Block << BlockShift) | ((ulong)(BlockEpoch & 0xFFFF) << EpochShift) | ((ulong)(WarpEpoch & 0x3FF) << WarpEpochShift) | (Thread << ThreadShift);
}

/// <summary>
/// For each granule (the narrowest access of the kernel) the last write and the last reads. Two accesses are ordered if they are of one thread,
/// or of one block with a barrier between, or of one warp with a warp barrier between; all else is a race if one of them writes.
/// Bytes are atomic or not by the last write: atomics do not race with each other. Records of blocks below a floor are of earlier launches,
/// so that nothing has to be cleared between launches.
/// </summary>
internal sealed unsafe class RaceShadow(long bytes, int granuleLog) : IDisposable
{
    private const ulong Many = 1;
    private const ulong ManyInWarp = 2;
    private const ulong Atomic = 4;

    // One granule more than there are, for a tail; vectors end at the last whole granule.
    private readonly long _count = (bytes >> granuleLog) + 1;
    private ulong* _writes = (ulong*)NativeMemory.AllocZeroed((nuint)(((bytes >> granuleLog) + 1) * 16));

    /// <summary>Logarithm of the bytes of a granule. Records of one size mean nothing to another: it changes only when all records are stale.</summary>
    public int GranuleLog => granuleLog;

    private ulong* Reads => _writes + _count;

    /// <summary>Forgets everything, when the numbers of blocks begin anew.</summary>
    public void Clear() => NativeMemory.Clear(_writes, (nuint)(_count * 16));

    public void Dispose()
    {
        NativeMemory.Free(_writes);
        _writes = null;
    }

    /// <summary>
    /// Records an access to granules that lie side by side, the threads side by side as well: <c>2^perThreadLog</c> granules each, all of one
    /// thread where that is -1.
    /// </summary>
    /// <param name="offset">Of the first byte.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="me">The first thread, packed.</param>
    /// <param name="floor">Records below are of earlier launches.</param>
    /// <param name="perThreadLog">Logarithm of the granules of a thread, or -1.</param>
    /// <param name="write">Whether it writes.</param>
    /// <param name="shared">Whether all threads of the warp read the same.</param>
    /// <returns>Whether all is in order; otherwise <see cref="Touch"/> tells more.</returns>
    public bool TouchRange(long offset, int size, ulong me, ulong floor, int perThreadLog, bool write, bool shared = false)
    {
        long first = offset >> granuleLog;
        int count = (int)(((offset + size - 1) >> granuleLog) - first) + 1;
        if (shared)
            me |= ManyInWarp;
        ulong* writes = _writes + first, reads = Reads + first;
        int n = 0;
        if (count >= 4)
        {
            Vector256<ulong> floors = Vector256.Create(floor), step = Vector256<ulong>.Zero, now = Vector256.Create(me);
            Vector256<ulong> lanes = Vector256.Create(0UL, 1, 2, 3);
            if (perThreadLog >= 0)
            {
                now += (lanes >> perThreadLog) << Accessor.ThreadShift;
                step = Vector256.Create((4UL << Accessor.ThreadShift) >> perThreadLog);
            }
            // With eight granules a thread two vectors are of one thread: their step is taken every other time.
            ulong period = perThreadLog <= 2 ? 1UL : 1UL << (perThreadLog - 2);
            if (perThreadLog > 2)
                step = Vector256.Create(1UL << Accessor.ThreadShift);
            ulong turn = 0;
            for (; n + 4 <= count; n += 4)
            {
                Vector256<ulong> w = Vector256.Load(writes + n), r = Vector256.Load(reads + n);
                // Most of the time nobody but this launch's readers has been here.
                if (Vector256.GreaterThanOrEqualAny(w.AsInt64(), floors.AsInt64()) && AnyUnordered(w, now, floors))
                    return false;
                if (write)
                {
                    if (Vector256.GreaterThanOrEqualAny(r.AsInt64(), floors.AsInt64()) && AnyUnordered(r, now, floors))
                        return false;
                    now.Store(writes + n);
                }
                else
                {
                    Vector256<ulong> merged = Vector256.LessThanAll(r.AsInt64(), floors.AsInt64()) ? now : Merge(r, now, floors);
                    merged.Store(reads + n);
                }
                if (++turn == period)
                {
                    now += step;
                    turn = 0;
                }
            }
        }
        for (; n < count; n++)
        {
            ulong mine = perThreadLog < 0 ? me : me + (((ulong)n >> perThreadLog) << Accessor.ThreadShift);
            ulong w = writes[n], r = reads[n];
            if (w >= floor && Unordered(w, mine))
                return false;
            if (write)
            {
                if (r >= floor && Unordered(r, mine))
                    return false;
                Volatile.Write(ref writes[n], mine);
            }
            else
            {
                Volatile.Write(ref reads[n], r < floor ? mine : Merge(r, mine));
            }
        }
        return true;
    }

    /// <summary>Records an access, granule by granule; the other side of the race if it races with an earlier one.</summary>
    /// <param name="offset">Of the first byte.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="who">The accessor, packed.</param>
    /// <param name="floor">Records below are of earlier launches.</param>
    /// <param name="write">Whether it writes.</param>
    /// <param name="atomic">Whether it is an atomic operation.</param>
    /// <param name="sameValue">Whether a write leaves the bytes as they are, which no order can make visible.</param>
    /// <param name="handedOver">Whether an earlier record of another block was handed over to this one.</param>
    /// <param name="other">The other side of the race.</param>
    public bool Touch(long offset, int size, ulong who, ulong floor, bool write, bool atomic, bool sameValue, Func<ulong, bool> handedOver,
        out (uint Block, uint Thread, bool Wrote) other)
    {
        ulong me = who | (atomic ? Atomic : 0);
        other = default;
        for (long granule = offset >> granuleLog; granule <= (offset + size - 1) >> granuleLog; granule++)
        {
            ref ulong lastWrite = ref _writes[granule];
            ref ulong lastRead = ref Reads[granule];
            ulong w = Volatile.Read(ref lastWrite);
            if (w >= floor && !(atomic && (w & Atomic) != 0) && !(write && sameValue) && Unordered(w, me) && !handedOver(w))
            {
                other = ((uint)(w >> Accessor.BlockShift), (uint)(w >> Accessor.ThreadShift) & 2047, true);
                return true;
            }
            ulong r = Volatile.Read(ref lastRead);
            if (write && !sameValue && r >= floor && Unordered(r, me) && ((r & Many) != 0 || !handedOver(r)))
            {
                other = ((uint)(r >> Accessor.BlockShift), (uint)(r >> Accessor.ThreadShift) & 2047, false);
                return true;
            }
            if (write)
                Volatile.Write(ref lastWrite, me);
            else
                Volatile.Write(ref lastRead, r < floor ? me : Merge(r, me));
        }
        return false;
    }

    private static bool Unordered(ulong before, ulong now)
    {
        ulong differ = before ^ now;
        if (differ >> Accessor.BlockShift != 0)
            return true;
        if ((differ >> Accessor.EpochShift & 0xFFFF) != 0)
            return false;
        if ((before & Many) != 0)
            return true;
        ulong threads = differ >> Accessor.ThreadShift & 2047;
        if (threads >> 5 != 0)
            return true;
        // One warp: the same thread, or a warp barrier between.
        if ((differ >> Accessor.WarpEpochShift & 0x3FF) != 0)
            return false;
        return threads != 0 || (before & ManyInWarp) != 0;
    }

    /// <summary>Several readers share one record: as soon as two of them differ it stands for many.</summary>
    private static ulong Merge(ulong before, ulong now)
    {
        ulong differ = before ^ now;
        bool otherBlock = differ >> Accessor.BlockShift != 0;
        if (!otherBlock && (differ >> Accessor.EpochShift & 0xFFFF) != 0)
            return now;
        if (otherBlock || (before & Many) != 0 || (differ >> (Accessor.ThreadShift + 5) & 63) != 0)
            return now | Many;
        bool sameThread = (differ >> Accessor.ThreadShift & 31) == 0;
        bool sameTime = (differ >> Accessor.WarpEpochShift & 0x3FF) == 0;
        return sameTime && (!sameThread || (before & ManyInWarp) != 0) ? now | ManyInWarp : now;
    }

    // The same, four records at a time.

    private static bool AnyUnordered(Vector256<ulong> before, Vector256<ulong> now, Vector256<ulong> floor)
    {
        Vector256<ulong> differ = before ^ now, zero = Vector256<ulong>.Zero;
        Vector256<ulong> sameBlock = Vector256.Equals(differ >> Accessor.BlockShift, zero);
        Vector256<ulong> sameEpoch = Vector256.Equals(differ & Vector256.Create(0xFFFFUL << Accessor.EpochShift), zero);
        Vector256<ulong> sameWarp = Vector256.Equals((differ & Vector256.Create(63UL << (Accessor.ThreadShift + 5))) | (before & Vector256.Create(Many)), zero);
        Vector256<ulong> sameTime = Vector256.Equals(differ & Vector256.Create(0x3FFUL << Accessor.WarpEpochShift), zero);
        Vector256<ulong> sameThread = Vector256.Equals((differ & Vector256.Create(31UL << Accessor.ThreadShift)) | (before & Vector256.Create(ManyInWarp)), zero);
        Vector256<ulong> ordered = sameBlock & (~sameEpoch | (sameWarp & (~sameTime | sameThread)));
        Vector256<ulong> stale = Vector256.LessThan(before.AsInt64(), floor.AsInt64()).AsUInt64();
        return (ordered | stale) != Vector256<ulong>.AllBitsSet;
    }

    private static Vector256<ulong> Merge(Vector256<ulong> before, Vector256<ulong> now, Vector256<ulong> floor)
    {
        Vector256<ulong> differ = before ^ now, zero = Vector256<ulong>.Zero;
        Vector256<ulong> sameBlock = Vector256.Equals(differ >> Accessor.BlockShift, zero);
        Vector256<ulong> sameEpoch = Vector256.Equals(differ & Vector256.Create(0xFFFFUL << Accessor.EpochShift), zero);
        Vector256<ulong> sameWarp = Vector256.Equals((differ & Vector256.Create(63UL << (Accessor.ThreadShift + 5))) | (before & Vector256.Create(Many)), zero);
        Vector256<ulong> sameTime = Vector256.Equals(differ & Vector256.Create(0x3FFUL << Accessor.WarpEpochShift), zero);
        Vector256<ulong> sameThread = Vector256.Equals((differ & Vector256.Create(31UL << Accessor.ThreadShift)) | (before & Vector256.Create(ManyInWarp)), zero);
        Vector256<ulong> fresh = Vector256.LessThan(before.AsInt64(), floor.AsInt64()).AsUInt64() | (sameBlock & ~sameEpoch);
        Vector256<ulong> many = ~sameBlock | ~sameWarp;
        Vector256<ulong> manyInWarp = ~many & sameTime & ~sameThread;
        return now | (~fresh & ((many & Vector256.Create(Many)) | (manyInWarp & Vector256.Create(ManyInWarp))));
    }
}

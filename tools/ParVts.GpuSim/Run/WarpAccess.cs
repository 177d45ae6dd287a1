using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Run;

/// <summary>How the addresses of a warp's lanes lie.</summary>
internal enum Pattern
{
    Scattered,

    /// <summary>One behind the other without gaps, from the first lane that takes part to the last.</summary>
    Contiguous,

    /// <summary>All the same.</summary>
    Uniform,
}

/// <summary>
/// An access of a whole warp, checked as one: all lanes in one allocation, one range of shared memory or the parameters. What does not fit, and what
/// may be a fault, is left to the way lane by lane (<see cref="MemoryAccess"/>), which knows what to say.
/// </summary>
internal unsafe ref struct WarpAccess
{
    private readonly ulong* _addresses;
    private readonly Warp _warp;
    private readonly ulong _low;
    private readonly long _offset;
    private readonly byte* _written;
    private readonly Allocation? _allocation;
    private readonly uint _mask;
    private readonly int _bytes;
    private readonly int _span;

    private WarpAccess(Warp warp, ulong* addresses, uint mask, int bytes, Window window, Allocation? allocation, Pattern pattern, ulong low, int span)
    {
        _warp = warp;
        _addresses = addresses;
        _mask = mask;
        _bytes = bytes;
        _low = low;
        _span = span;
        _allocation = allocation;
        _offset = window.Offset;
        _written = window.Written;
        Pattern = pattern;
        Races = window.Races;
        IsGlobal = window.Global;
        IsShared = window.Shared;
        Base = window.Data - low;
    }

    /// <summary>Bytes of memory by address: <c>Base + address</c>.</summary>
    public byte* Base { get; }

    public Pattern Pattern { get; }

    public RaceShadow? Races { get; }

    public bool IsGlobal { get; }

    public bool IsShared { get; }

    /// <summary>The memory of a lane.</summary>
    public readonly byte* Lane(int lane) => Base + _addresses[lane];

    /// <summary>The first byte of the range, for the two patterns that have one.</summary>
    public readonly byte* First => Base + _low;

    /// <summary>Finds the memory of the lanes of a mask.</summary>
    /// <param name="w">The warp.</param>
    /// <param name="i">The instruction; its space and number are looked at.</param>
    /// <param name="addresses">Room for 32 addresses.</param>
    /// <param name="mask">Lanes that take part.</param>
    /// <param name="from">The base address: its place in the register file, whether it is 32 bits wide, and what is added.</param>
    /// <param name="space">The state space.</param>
    /// <param name="bytes">Bytes of a lane.</param>
    /// <param name="write">Whether it writes.</param>
    /// <param name="access">What was found.</param>
    public static bool TryLocate(Warp w, Instr* i, ulong* addresses, uint mask, (int Place, bool Narrow, long Add) from, Space space, int bytes, bool write,
        out WarpAccess access)
    {
        int first = BitOperations.TrailingZeroCount(mask), last = 31 - BitOperations.LeadingZeroCount(mask);
        Collect(w.Registers + from.Place, from.Narrow, (ulong)from.Add, mask, first, addresses);
        ulong start = addresses[first];
        Vector256<ulong> begin = Vector256.Create(start), low = begin, high = begin, all = begin, uneven = Vector256<ulong>.Zero;
        Vector256<ulong> step = Vector256.Create((ulong)(4 * bytes)), expected = Vector256.Create(start - (ulong)(first * bytes)) + (Vector256.Create(0UL, 1, 2, 3) * (ulong)bytes);
        for (int lane = 0; lane < 32; lane += 4)
        {
            Vector256<ulong> a = Vector256.Load(addresses + lane);
            uneven |= (a ^ expected) & ~Vector256.Equals(a, begin);
            low = Vector256.Min(low.AsInt64(), a.AsInt64()).AsUInt64();
            high = Vector256.Max(high.AsInt64(), a.AsInt64()).AsUInt64();
            all |= a;
            expected += step;
        }
        ulong least = Least(low), most = Most(high);
        ulong bits = all[0] | all[1] | all[2] | all[3];
        access = default;
        ulong size = most - least + (ulong)bytes;
        if ((bits & (ulong)(bytes - 1)) != 0 || size > int.MaxValue)
            return false;
        Pattern pattern = Pattern.Scattered;
        if (least == most)
        {
            // One lane alone is a range, too.
            pattern = first == last ? Pattern.Contiguous : Pattern.Uniform;
        }
        else if (uneven == Vector256<ulong>.Zero && least == start && size == (ulong)((last - first + 1) * bytes) && (mask >> first) + 1 == 1UL << (last - first + 1))
        {
            pattern = Pattern.Contiguous;
        }
        if (space == Space.Generic)
        {
            ulong at = least;
            space = MemoryAccess.Specific(ref at);
            if (space != Space.Global)
                return false;
        }
        Allocation? allocation = null;
        Window window = default;
        switch (space)
        {
            case Space.Global or Space.Const:
                allocation = w.Block.Find(i->Index, least, size, write);
                if (allocation is null)
                    return false;
                long offset = (long)(least - allocation.Address);
                bool known = offset + (long)size <= allocation.WrittenBefore;
                window.Data = allocation.Data + offset;
                window.Written = known ? null : allocation.Written + offset;
                window.Races = allocation.RacesOf(w.Block.Launch, write);
                (window.Offset, window.Global) = (offset, true);
                break;
            case Space.Shared:
                ulong place = least - Block.SharedBase;
                if (place >= (ulong)w.Block.SharedBytes || place + size > (ulong)w.Block.SharedBytes)
                    return false;
                window.Data = w.Block.Shared + place;
                window.Written = w.Block.SharedWritten + place;
                window.Races = w.Block.SharedRaces;
                (window.Offset, window.Shared) = ((long)place, true);
                break;
            case Space.Param:
                if (write || least + size > (ulong)w.Block.Kernel.ParameterBytes)
                    return false;
                // Parameters live on the pinned heap (see SimGpu.Launch).
                window.Data = (byte*)Unsafe.AsPointer(ref w.Block.Launch.Parameters[least]);
                break;
            default:
                return false;
        }
        access = new WarpAccess(w, addresses, mask, bytes, window, allocation, pattern, least, (int)size);
        return true;
    }

    /// <summary>Whether all that is read was written.</summary>
    public readonly bool IsWritten()
    {
        if (_written == null || !_warp.Block.Launch.Options.DetectUnwritten)
            return true;
        if (Pattern != Pattern.Scattered)
            return AllOnes(_written, _span);
        byte* written = _written - _low;
        for (uint mask = _mask; mask != 0; mask &= mask - 1)
        {
            if (!AllOnes(written + _addresses[BitOperations.TrailingZeroCount(mask)], _bytes))
                return false;
        }
        return true;
    }

    /// <summary>Notes that all was written, or is about to be by a cp.async (2).</summary>
    public readonly void MarkWritten(byte state = 1)
    {
        if (_written == null)
            return;
        if (Pattern != Pattern.Scattered)
        {
            Unsafe.InitBlockUnaligned(_written, state, (uint)_span);
            return;
        }
        byte* written = _written - _low;
        ulong word = state * 0x0101_0101_0101_0101UL;
        for (uint mask = _mask; mask != 0; mask &= mask - 1)
        {
            byte* p = written + _addresses[BitOperations.TrailingZeroCount(mask)];
            switch (_bytes)
            {
                case 1:
                    *p = (byte)word;
                    break;
                case 2:
                    *(ushort*)p = (ushort)word;
                    break;
                case 4:
                    *(uint*)p = (uint)word;
                    break;
                default:
                    for (int n = 0; n < _bytes; n += 8)
                        *(ulong*)(p + n) = word;
                    break;
            }
        }
    }

    /// <summary>Records the access for the search for races; false if it may be one.</summary>
    public readonly bool Touch(bool write)
    {
        if (Races is null)
            return true;
        ulong me = _warp.Accessor, floor = _warp.Block.RaceFloor(Races);
        int first = BitOperations.TrailingZeroCount(_mask);
        if (Pattern == Pattern.Contiguous)
        {
            int perThread = int.Log2(_bytes) - Races.GranuleLog;
            return Races.TouchRange(_offset, _span, me + ((ulong)first << Accessor.ThreadShift), floor, perThread, write);
        }
        if (Pattern == Pattern.Uniform)
        {
            // Lanes that write one place are looked at one by one.
            return !write && Races.TouchRange(_offset, _bytes, me + ((ulong)first << Accessor.ThreadShift), floor, -1, write: false, shared: true);
        }
        long offset = _offset - (long)_low;
        for (uint mask = _mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            if (!Races.TouchRange(offset + (long)_addresses[lane], _bytes, me + ((ulong)lane << Accessor.ThreadShift), floor, -1, write))
                return false;
        }
        return true;
    }

    /// <summary>Counts sectors or passes.</summary>
    public readonly void Count(Instr* i, bool write)
    {
        if (!_warp.Block.Launch.Options.CountMemory)
            return;
        ref InstrCounts counts = ref _warp.Block.Counts[i->Index];
        if (IsShared)
        {
            if (Pattern == Pattern.Contiguous)
                counts.Passes += (_span + 127) / 128;
            else
                Traffic.CountShared(ref counts, _addresses, _mask, _bytes);
        }
        else if (IsGlobal)
        {
            counts.GlobalBytes += BitOperations.PopCount(_mask) * _bytes;
            if (Pattern != Pattern.Scattered)
                Traffic.CountRange(ref counts, _allocation!, _warp.Block.Launch.Number, _offset, _span, write);
            else
                Traffic.CountScattered(ref counts, _allocation!, _warp.Block.Launch.Number, _addresses, _mask, _bytes, write);
        }
    }

    /// <summary>The addresses of all lanes; those that take no part have the first one's.</summary>
    private static void Collect(byte* register, bool narrow, ulong add, uint mask, int first, ulong* addresses)
    {
        Vector256<ulong> added = Vector256.Create(add);
        for (int lane = 0; lane < 32; lane += 4)
        {
            Vector256<ulong> a = narrow
                ? Vector256.WidenLower(Vector128.Load((uint*)register + lane).ToVector256Unsafe())
                : Vector256.Load((ulong*)register + lane);
            (a + added).Store(addresses + lane);
        }
        if (mask == uint.MaxValue)
            return;
        for (uint rest = ~mask; rest != 0; rest &= rest - 1)
            addresses[BitOperations.TrailingZeroCount(rest)] = addresses[first];
    }

    private static ulong Least(Vector256<ulong> v)
    {
        Vector256<long> s = v.AsInt64();
        return (ulong)Math.Min(Math.Min(s[0], s[1]), Math.Min(s[2], s[3]));
    }

    private static ulong Most(Vector256<ulong> v)
    {
        Vector256<long> s = v.AsInt64();
        return (ulong)Math.Max(Math.Max(s[0], s[1]), Math.Max(s[2], s[3]));
    }

    private static bool AllOnes(byte* p, int count)
    {
        switch (count)
        {
            case 1:
                return *p == 1;
            case 2:
                return *(ushort*)p == 0x0101;
            case 4:
                return *(uint*)p == 0x0101_0101;
            case 8:
                return *(ulong*)p == 0x0101_0101_0101_0101;
            case 16:
                return Vector128.Load(p) == Vector128.Create((byte)1);
        }
        int n = 0;
        for (; n + 32 <= count; n += 32)
        {
            if (Vector256.Load(p + n) != Vector256.Create((byte)1))
                return false;
        }
        for (; n < count; n++)
        {
            if (p[n] != 1)
                return false;
        }
        return true;
    }

    /// <summary>The memory from the lowest address on.</summary>
    private struct Window
    {
        public byte* Data;
        public byte* Written;
        public long Offset;
        public RaceShadow? Races;
        public bool Global;
        public bool Shared;
    }
}

using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace ParVts.GpuSim.Run;

/// <summary>A checked place in memory: the bytes and their shadow.</summary>
internal unsafe ref struct Place
{
    public byte* Data;

    /// <summary>For each byte 0: nobody wrote it, 1: written, 2: a cp.async will write it. Null where no such thing is kept.</summary>
    public byte* Written;
    public RaceShadow? Races;
    public long Offset;

    /// <summary>Whether reads of what nobody wrote are looked for.</summary>
    public bool Checked;
}

/// <summary>Turns an address of a lane into a place, with all checks.</summary>
internal static unsafe class MemoryAccess
{
    /// <summary>Generic addresses of shared memory begin here; those of local memory at <see cref="LocalWindow"/>.</summary>
    public const ulong SharedWindow = 0x00A0_0000_0000_0000;
    public const ulong LocalWindow = 0x00B0_0000_0000_0000;

    private const ulong WindowSize = 1UL << 32;

    public static Place Locate(Warp warp, Instr* i, int lane, ulong address, int bytes, bool write)
    {
        if ((address & (ulong)(bytes - 1)) != 0)
            ThrowMisaligned(lane, address, bytes);
        Space space = i->Space;
        if (space == Space.Generic)
            space = Specific(ref address);
        return space switch
        {
            Space.Global or Space.Const => Global(warp, i, lane, address, bytes, write),
            Space.Shared => Shared(warp, lane, address, bytes),
            Space.Local => Local(warp, lane, address, bytes),
            _ => Parameter(warp, lane, address, bytes),
        };
    }

    /// <summary>Records an access for the search for races; <paramref name="sameValue"/> as in <see cref="RaceShadow.Touch"/>.</summary>
    public static void Touch(Warp warp, int lane, ulong address, in Place place, int bytes, bool write, bool atomic, bool sameValue)
    {
        if (place.Races is null)
            return;
        ulong who = warp.Accessor + ((ulong)lane << Accessor.ThreadShift);
        if (place.Races.Touch(place.Offset, bytes, who, warp.Block.RaceFloor(place.Races), write, atomic, sameValue, warp.WasHandedOver,
            out (uint Block, uint Thread, bool Wrote) other))
        {
            ThrowRace(warp, lane, address, write, other);
        }
    }

    public static void CheckWritten(int lane, ulong address, in Place place, int bytes)
    {
        if (place.Written == null || (bytes == 4 && *(uint*)place.Written == 0x0101_0101) || !place.Checked)
            return;
        for (int b = 0; b < bytes; b++)
        {
            if (place.Written[b] != 1)
                ThrowUnwritten(lane, address + (ulong)b, place.Written[b]);
        }
    }

    /// <summary>Counts an access that went lane by lane; local memory is not counted.</summary>
    public static void Count(Warp warp, Instr* i, ulong* addresses, uint mask, int bytes, bool write)
    {
        if (!warp.Block.Launch.Options.CountMemory)
            return;
        ref InstrCounts counts = ref warp.Block.Counts[i->Index];
        while (mask != 0)
        {
            ulong address = addresses[BitOperations.TrailingZeroCount(mask)];
            Space space = i->Space == Space.Generic ? Specific(ref address) : i->Space;
            uint same = 0;
            Allocation? allocation = space is Space.Global or Space.Const ? warp.Block.Launch.Memory.Find(address) : null;
            for (uint rest = mask; rest != 0; rest &= rest - 1)
            {
                int lane = BitOperations.TrailingZeroCount(rest);
                ulong other = addresses[lane];
                Space its = i->Space == Space.Generic ? Specific(ref other) : i->Space;
                if (its == space && (allocation is null || other - allocation.Address < (ulong)allocation.Bytes))
                    same |= 1u << lane;
            }
            if (allocation is not null)
            {
                counts.GlobalBytes += BitOperations.PopCount(same) * bytes;
                Traffic.CountScattered(ref counts, allocation, warp.Block.Launch.Number, addresses, same, bytes, write);
            }
            else if (space == Space.Shared)
            {
                Traffic.CountShared(ref counts, addresses, same, bytes);
            }
            mask &= ~same;
        }
    }

    public static Space Specific(ref ulong address)
    {
        if (address - SharedWindow < WindowSize)
        {
            address -= SharedWindow;
            return Space.Shared;
        }
        if (address - LocalWindow < WindowSize)
        {
            address -= LocalWindow;
            return Space.Local;
        }
        return Space.Global;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Place Global(Warp warp, Instr* i, int lane, ulong address, int bytes, bool write)
    {
        Allocation? a = warp.Block.Cache[i->Index];
        if (a is null || address - a.Address >= (ulong)a.Bytes)
            warp.Block.Cache[i->Index] = a = warp.Block.Launch.Memory.Find(address);
        if (a is null || address - a.Address + (ulong)bytes > (ulong)a.Bytes)
            ThrowOutOfBounds(lane, address, bytes, a);
        if (a.IsFreed)
            ThrowFreed(lane, address, bytes, a);
        if (write && a.ReadOnly)
            ThrowReadOnly(lane, address);
        long offset = (long)(address - a.Address);
        return new Place { Data = a.Data + offset, Written = a.Written + offset, Races = a.RacesOf(warp.Block.Launch, write), Offset = offset, Checked = warp.Block.Launch.Options.DetectUnwritten };
    }

    private static Place Shared(Warp warp, int lane, ulong address, int bytes)
    {
        ulong offset = address - Block.SharedBase;
        if (offset >= (ulong)warp.Block.SharedBytes || offset + (ulong)bytes > (ulong)warp.Block.SharedBytes)
            ThrowBeyond(lane, address, bytes, (long)offset, "shared", warp.Block.SharedBytes);
        return new Place
        {
            Data = warp.Block.Shared + offset,
            Written = warp.Block.SharedWritten + offset,
            Races = warp.Block.SharedRaces,
            Offset = (long)offset,
            Checked = warp.Block.Launch.Options.DetectUnwritten,
        };
    }

    private static Place Local(Warp warp, int lane, ulong address, int bytes)
    {
        int size = warp.Block.Kernel.LocalBytes;
        if (address >= (ulong)size || address + (ulong)bytes > (ulong)size)
            ThrowBeyond(lane, address, bytes, (long)address, "local", size);
        ulong offset = ((ulong)lane * (ulong)size) + address;
        return new Place { Data = warp.Local + offset, Written = warp.LocalWritten + offset, Checked = warp.Block.Launch.Options.DetectUnwritten };
    }

    private static Place Parameter(Warp warp, int lane, ulong address, int bytes)
    {
        byte[] parameters = warp.Block.Launch.Parameters;
        if (address + (ulong)bytes > (ulong)warp.Block.Kernel.ParameterBytes)
            ThrowBeyond(lane, address, bytes, (long)address, "parameter", warp.Block.Kernel.ParameterBytes);
        // Parameters live on the pinned heap (see SimGpu.Launch).
        return new Place { Data = (byte*)Unsafe.AsPointer(ref parameters[address]) };
    }

    [DoesNotReturn]
    private static void ThrowUnwritten(int lane, ulong address, byte state)
    {
        if (state == 2)
            throw new LaneFault(FaultKind.AsyncNotWaited, lane, address, $"a read of 0x{address:x}, which a cp.async fills that was not waited for");
        throw new LaneFault(FaultKind.UnwrittenRead, lane, address, $"a read of 0x{address:x}, which nobody wrote");
    }

    [DoesNotReturn]
    private static void ThrowOutOfBounds(int lane, ulong address, int bytes, Allocation? nearest) =>
        throw new LaneFault(FaultKind.OutOfBounds, lane, address, $"{bytes} bytes at 0x{address:x}"
            + (nearest is null ? "" : $", {address - nearest.Address} bytes into {SimMemory.Describe(nearest)}"));

    // Messages are put together apart from the checks, whose own code stays short.

    [DoesNotReturn]
    private static void ThrowMisaligned(int lane, ulong address, int bytes) =>
        throw new LaneFault(FaultKind.Misaligned, lane, address, $"{bytes} bytes at 0x{address:x}, which is no multiple of {bytes}");

    [DoesNotReturn]
    private static void ThrowReadOnly(int lane, ulong address) =>
        throw new LaneFault(FaultKind.ReadOnlyWrite, lane, address, $"a write to constant memory at 0x{address:x}");

    [DoesNotReturn]
    private static void ThrowFreed(int lane, ulong address, int bytes, Allocation a) =>
        throw new LaneFault(FaultKind.UseAfterFree, lane, address, $"{bytes} bytes at 0x{address:x} in {SimMemory.Describe(a)}, which was freed");

    [DoesNotReturn]
    private static void ThrowBeyond(int lane, ulong address, int bytes, long offset, string space, int size) =>
        throw new LaneFault(FaultKind.OutOfBounds, lane, address, $"{bytes} bytes at byte {offset} of {space} memory, of which there are {size}");

    [DoesNotReturn]
    private static void ThrowRace(Warp warp, int lane, ulong address, bool write, (uint Block, uint Thread, bool Wrote) other)
    {
        string block = other.Block == warp.Block.UniqueNumber ? "" : $" of block {other.Block - warp.Block.Launch.FirstBlock}";
        throw new LaneFault(FaultKind.Race, lane, address, $"this {(write ? "write to" : "read of")} 0x{address:x} and the "
            + $"{(other.Wrote ? "write" : "read")} by thread {warp.Block.ThreadPosition((int)other.Thread)}{block} have no barrier between them");
    }
}

using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>cp.async and its waits.</summary>
internal static unsafe class AsyncOps
{
    /// <summary>Global address B + F to shared address A + Imm, <see cref="Instr.Count"/> bytes; C, where not -1, how many are read (the rest is zeros).</summary>
    public static void Issue(Warp w, Instr* i)
    {
        if (IssueAll(w, i))
            return;
        ulong* from = (ulong*)(w.Registers + i->B), targets = w.Addresses, sources = w.Addresses + 32;
        uint reading = 0;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int bytes = i->C < 0 ? i->Count : (int)Math.Min(((uint*)(w.Registers + i->C))[lane], (uint)i->Count);
            ulong target = targets[lane] = LoadStore.Address(w, i, lane), source = sources[lane] = from[lane] + (ulong)i->F;
            Place to = Target(w, i, lane, target, i->Count);
            // The copy may write at once: it must not race with what others still do there.
            MemoryAccess.Touch(w, lane, target, to, i->Count, write: true, atomic: false, sameValue: false);
            new Span<byte>(to.Written, i->Count).Fill(2);
            if (bytes > 0)
                Source(w, i, lane, source, bytes, i->Count);
            reading |= (bytes > 0 ? 1u : 0u) << lane;
            w.Copies.Add(lane, source, target, bytes, i->Count, i->Index);
        }
        Instr side = *i;
        side.Space = Space.Shared;
        MemoryAccess.Count(w, &side, targets, w.Mask, i->Count, write: true);
        side.Space = Space.Global;
        MemoryAccess.Count(w, &side, sources, reading, i->Count, write: false);
    }

    public static void Commit(Warp w, Instr* i) => w.Copies.Commit(w.Mask);

    /// <summary>Performs the copies that must be done by now: all but the last Imm groups, or all where Imm is -1.</summary>
    public static void Wait(Warp w, Instr* i)
    {
        Instr* code = i - i->Index;
        ulong me = w.Accessor;
        RaceShadow? shared = w.Block.SharedRaces;
        foreach (ref readonly AsyncCopy copy in w.Copies.Wait(w.Mask, (int)i->Imm))
        {
            ulong place = copy.To - Block.SharedBase;
            // What was checked at issue is still there; only others may have come between.
            if (shared is not null)
            {
                ulong who = me + ((ulong)copy.Lane << Accessor.ThreadShift);
                if (!shared.TouchRange((long)place, copy.Size, who, w.Block.RaceFloor(shared), -1, write: true))
                {
                    Place to = Target(w, code + copy.Index, copy.Lane, copy.To, copy.Size);
                    MemoryAccess.Touch(w, copy.Lane, copy.To, to, copy.Size, write: true, atomic: false, sameValue: false);
                }
            }
            byte* data = w.Block.Shared + place;
            if (copy.Bytes > 0)
            {
                byte* from = Read(w, code + copy.Index, copy, me);
                if (copy.Bytes == 16)
                {
                    System.Runtime.Intrinsics.Vector128.Store(System.Runtime.Intrinsics.Vector128.Load(from), data);
                }
                else
                {
                    new Span<byte>(data, copy.Size).Clear();
                    Buffer.MemoryCopy(from, data, copy.Size, copy.Bytes);
                }
            }
            else
            {
                new Span<byte>(data, copy.Size).Clear();
            }
            new Span<byte>(w.Block.SharedWritten + place, copy.Size).Fill(1);
        }
    }

    /// <summary>All lanes at once, where none has anything to say.</summary>
    private static bool IssueAll(Warp w, Instr* i)
    {
        if (i->C >= 0)
        {
            uint* bytes = (uint*)(w.Registers + i->C);
            for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
            {
                if (bytes[BitOperations.TrailingZeroCount(mask)] < i->Count)
                    return false;
            }
        }
        ulong* targets = w.Addresses, sources = w.Addresses + 32;
        if (!WarpAccess.TryLocate(w, i, targets, w.Mask, (i->A, i->NarrowAddress, i->Imm), Space.Shared, i->Count, write: true, out WarpAccess to)
            || !WarpAccess.TryLocate(w, i, sources, w.Mask, (i->B, false, i->F), Space.Global, i->Count, write: false, out WarpAccess from)
            || !from.IsWritten() || !to.Touch(write: true) || !from.Touch(write: false))
        {
            return false;
        }
        to.MarkWritten(2);
        to.Count(i, write: true);
        from.Count(i, write: false);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            w.Copies.Add(lane, sources[lane], targets[lane], i->Count, i->Count, i->Index);
        }
        return true;
    }

    private static byte* Read(Warp w, Instr* issue, in AsyncCopy copy, ulong me)
    {
        if (w.Block.Find(issue->Index, copy.From, (ulong)copy.Bytes, write: false) is { } a)
        {
            long offset = (long)(copy.From - a.Address);
            RaceShadow? races = a.RacesOf(w.Block.Launch, write: false);
            if (races is null || races.TouchRange(offset, copy.Bytes, me + ((ulong)copy.Lane << Accessor.ThreadShift), w.Block.RaceFloor(races), -1, write: false))
                return a.Data + offset;
        }
        return Source(w, issue, copy.Lane, copy.From, copy.Bytes, copy.Size).Data;
    }

    private static Place Target(Warp w, Instr* i, int lane, ulong address, int size)
    {
        Instr shared = *i;
        shared.Space = Space.Shared;
        return MemoryAccess.Locate(w, &shared, lane, address, size, write: true);
    }

    private static Place Source(Warp w, Instr* i, int lane, ulong address, int bytes, int size)
    {
        if ((address & (ulong)(size - 1)) != 0)
            throw new LaneFault(FaultKind.Misaligned, lane, address, $"a copy of {size} bytes from 0x{address:x}, which is no multiple of {size}");
        Instr global = *i;
        global.Space = Space.Global;
        Place place = MemoryAccess.Locate(w, &global, lane, address, 1, write: false);
        if (bytes > 1)
            MemoryAccess.Locate(w, &global, lane, address + (ulong)bytes - 1, 1, write: false);
        MemoryAccess.CheckWritten(lane, address, place, bytes);
        MemoryAccess.Touch(w, lane, address, place, bytes, write: false, atomic: false, sameValue: false);
        return place;
    }
}

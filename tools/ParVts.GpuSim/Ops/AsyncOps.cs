using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>cp.async and its waits.</summary>
internal static unsafe class AsyncOps
{
    /// <summary>Global address B + F to shared address A + Imm, <see cref="Instr.Count"/> bytes; C, where not -1, how many are read (the rest is zeros).</summary>
    public static void Issue(Warp w, Instr* i)
    {
        ulong* from = (ulong*)(w.Registers + i->B);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int bytes = i->C < 0 ? i->Count : (int)Math.Min(((uint*)(w.Registers + i->C))[lane], (uint)i->Count);
            ulong target = LoadStore.Address(w, i, lane), source = from[lane] + (ulong)i->F;
            Place to = Target(w, i, lane, target, i->Count);
            // The copy may write at once: it must not race with what others still do there.
            MemoryAccess.Touch(w, lane, target, to, i->Count, write: true, atomic: false, sameValue: false);
            new Span<byte>(to.Written, i->Count).Fill(2);
            if (bytes > 0)
                Source(w, i, lane, source, bytes, i->Count);
            w.Copies.Add(lane, source, target, bytes, i->Count, i->Index);
        }
    }

    public static void Commit(Warp w, Instr* i) => w.Copies.Commit(w.Mask);

    /// <summary>Performs the copies that must be done by now: all but the last Imm groups, or all where Imm is -1.</summary>
    public static void Wait(Warp w, Instr* i)
    {
        fixed (Instr* code = w.Block.Kernel.Code)
        {
            foreach (AsyncCopy copy in w.Copies.Wait(w.Mask, (int)i->Imm))
            {
                Instr* issue = code + copy.Index;
                Place to = Target(w, issue, copy.Lane, copy.To, copy.Size);
                MemoryAccess.Touch(w, copy.Lane, copy.To, to, copy.Size, write: true, atomic: false, sameValue: false);
                new Span<byte>(to.Data, copy.Size).Clear();
                if (copy.Bytes > 0)
                    Buffer.MemoryCopy(Source(w, issue, copy.Lane, copy.From, copy.Bytes, copy.Size).Data, to.Data, copy.Size, copy.Bytes);
                new Span<byte>(to.Written, copy.Size).Fill(1);
            }
        }
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

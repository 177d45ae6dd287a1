using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>Operations across the lanes of a warp, and barriers.</summary>
internal static unsafe class WarpOps
{
    public const int Up = 0, Down = 1, Butterfly = 2, Indexed = 3;

    /// <summary>bar.sync: <see cref="Instr.Imm"/> is the barrier's name, <see cref="Instr.Count"/> the number of threads or 0 for all.</summary>
    public static void Barrier(Warp w, Instr* i)
    {
        if (w.Mask != w.Live)
            throw new LaneFault(FaultKind.DivergentBarrier, -1, 0, $"a barrier with lanes 0x{w.Mask:x8} of 0x{w.Live:x8}: the others took another way");
        w.WaitsAt = i->Index;
    }

    public static void WarpBarrier(Warp w, Instr* i)
    {
        CheckMembers(w, i->A);
        w.Epoch++;
    }

    /// <summary>shfl.sync: value A, lane or distance B, bounds C, members E; F is the predicate or -1.</summary>
    public static void Shuffle(Warp w, Instr* i)
    {
        CheckMembers(w, i->E);
        uint* d = (uint*)(w.Registers + i->D), a = (uint*)(w.Registers + i->A), b = (uint*)(w.Registers + i->B), c = (uint*)(w.Registers + i->C);
        uint* result = stackalloc uint[32];
        uint inRange = 0;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int distance = (int)(b[lane] & 31), bound = (int)(c[lane] & 31), segment = (int)(c[lane] >> 8 & 31);
            int last = (lane & segment) | (bound & ~segment), first = lane & segment;
            int from = i->Imm switch
            {
                Up => lane - distance,
                Down => lane + distance,
                Butterfly => lane ^ distance,
                _ => first | (distance & ~segment),
            };
            bool inside = i->Imm == Up ? from >= last : from <= last;
            from = inside ? from : lane;
            if ((w.Mask >> from & 1) == 0)
                throw new LaneFault(FaultKind.InactiveLane, lane, 0, $"lane {lane} takes a value from lane {from}, which does not take part");
            inRange |= (inside ? 1u : 0u) << lane;
            result[lane] = a[from];
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = result[lane];
        }
        if (i->F >= 0)
            Lanes.Set(w, i->F, inRange);
    }

    /// <summary>vote.sync: Imm 0 all, 1 any, 2 uni (into a predicate), 3 ballot; <see cref="Instr.F"/> flips the operand.</summary>
    public static void Vote(Warp w, Instr* i)
    {
        uint members = CheckMembers(w, i->E) & w.Mask;
        uint votes = (*(uint*)(w.Registers + i->A) ^ (uint)i->F) & members;
        if (i->Imm == 3)
        {
            Spread(w, i->D, votes);
            return;
        }
        bool outcome = i->Imm switch
        {
            0 => votes == members,
            1 => votes != 0,
            _ => votes == 0 || votes == members,
        };
        Lanes.Set(w, i->D, outcome ? uint.MaxValue : 0);
    }

    public static void ActiveMask(Warp w, Instr* i) => Spread(w, i->D, w.Mask);

    /// <summary>%clock: what it counts is not said to be time, and is not.</summary>
    public static void Clock(Warp w, Instr* i)
    {
        ulong now = (ulong)Environment.TickCount64;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            if (i->Count == 8)
                ((ulong*)(w.Registers + i->D))[lane] = now;
            else
                ((uint*)(w.Registers + i->D))[lane] = (uint)now;
        }
    }

    /// <summary>match.any.sync: the members whose value is the lane's own.</summary>
    public static void MatchAny<T>(Warp w, Instr* i)
        where T : unmanaged, IEquatable<T>
    {
        CheckMembers(w, i->E);
        T* a = (T*)(w.Registers + i->A);
        uint* d = (uint*)(w.Registers + i->D);
        for (int lane = 0; lane < 32; lane++)
        {
            if ((w.Mask >> lane & 1) == 0)
                continue;
            uint same = 0;
            for (int other = 0; other < 32; other++)
                same |= ((w.Mask >> other & 1) != 0 && a[other].Equals(a[lane]) ? 1u : 0u) << other;
            d[lane] = same;
        }
    }

    /// <summary>redux.sync: one operation over all members.</summary>
    public static void Reduce<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IBinary<T>
    {
        CheckMembers(w, i->E);
        T* a = (T*)(w.Registers + i->A), d = (T*)(w.Registers + i->D);
        T sum = a[BitOperations.TrailingZeroCount(w.Mask)];
        for (uint mask = w.Mask & (w.Mask - 1); mask != 0; mask &= mask - 1)
            sum = TOp.Apply(sum, a[BitOperations.TrailingZeroCount(mask)]);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
            d[BitOperations.TrailingZeroCount(mask)] = sum;
    }

    /// <summary>Everything that works on whole warps, such as mma.sync, has to find one.</summary>
    public static void CheckFull(Warp w)
    {
        if (w.Mask != uint.MaxValue)
            throw new LaneFault(FaultKind.DivergentWarp, -1, 0, $"an operation of the whole warp, run by lanes 0x{w.Mask:x8}");
    }

    /// <summary>The members that an instruction names must all be here, but for those that have exited.</summary>
    private static uint CheckMembers(Warp w, int place)
    {
        uint members = ((uint*)(w.Registers + place))[BitOperations.TrailingZeroCount(w.Mask)];
        if ((members & w.Live & ~w.Mask) != 0 || (w.Mask & ~members) != 0)
        {
            throw new LaneFault(FaultKind.DivergentWarp, -1, 0,
                $"the mask names lanes 0x{members:x8}, but 0x{w.Mask:x8} run this and 0x{w.Live & ~w.Mask:x8} are elsewhere");
        }
        return members;
    }

    private static void Spread(Warp w, int place, uint value)
    {
        uint* d = (uint*)(w.Registers + place);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
            d[BitOperations.TrailingZeroCount(mask)] = value;
    }
}

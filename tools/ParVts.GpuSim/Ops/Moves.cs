using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>mov between a register and a vector of narrower ones; elements in <see cref="Instr.V"/>, -1 for one that goes nowhere.</summary>
internal static unsafe class Moves
{
    public static void Pack<TPart, TWhole>(Warp w, Instr* i)
        where TPart : unmanaged, INumberBase<TPart>
        where TWhole : unmanaged, IBinaryInteger<TWhole>
    {
        TWhole* d = (TWhole*)(w.Registers + i->D);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            TWhole value = TWhole.Zero;
            for (int n = 0; n < i->Count; n++)
                value |= TWhole.CreateTruncating(((TPart*)(w.Registers + i->V[n]))[lane]) << (8 * sizeof(TPart) * n);
            d[lane] = value;
        }
    }

    public static void Unpack<TPart, TWhole>(Warp w, Instr* i)
        where TPart : unmanaged, INumberBase<TPart>
        where TWhole : unmanaged, IBinaryInteger<TWhole>
    {
        TWhole* a = (TWhole*)(w.Registers + i->A);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            TWhole value = a[lane];
            for (int n = 0; n < i->Count; n++)
            {
                if (i->V[n] >= 0)
                    ((TPart*)(w.Registers + i->V[n]))[lane] = TPart.CreateTruncating(value >> (8 * sizeof(TPart) * n));
            }
        }
    }

    /// <summary>cvta: adds what is in Imm to an address.</summary>
    public static void Offset(Warp w, Instr* i)
    {
        ulong* d = (ulong*)(w.Registers + i->D), a = (ulong*)(w.Registers + i->A);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = unchecked(a[lane] + (ulong)i->Imm);
        }
    }
}

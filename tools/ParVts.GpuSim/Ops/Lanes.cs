using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>What an instruction does to one lane.</summary>
internal interface IUnary<T>
{
    static abstract T Apply(T a);
}

/// <inheritdoc cref="IUnary{T}"/>
internal interface IBinary<T>
{
    static abstract T Apply(T a, T b);
}

/// <summary>A binary operation that also knows how to do several lanes at once.</summary>
internal interface IVectorBinary<T> : IBinary<T>
{
    static abstract Vector256<T> Apply(Vector256<T> a, Vector256<T> b);
}

/// <inheritdoc cref="IVectorBinary{T}"/>
internal interface IVectorTernary<T> : ITernary<T>
{
    static abstract Vector256<T> Apply(Vector256<T> a, Vector256<T> b, Vector256<T> c);
}

/// <inheritdoc cref="IVectorBinary{T}"/>
internal interface IVectorUnary<T> : IUnary<T>
{
    static abstract Vector256<T> Apply(Vector256<T> a);
}

/// <summary>A comparison that also knows how to do several lanes at once; all bits of a lane tell the outcome.</summary>
internal interface IVectorCompare<T> : ICompare<T>
{
    static abstract Vector256<T> Apply(Vector256<T> a, Vector256<T> b);
}

/// <inheritdoc cref="IUnary{T}"/>
internal interface ITernary<T>
{
    static abstract T Apply(T a, T b, T c);
}

/// <summary>A comparison.</summary>
internal interface ICompare<T>
{
    static abstract bool Apply(T a, T b);
}

/// <summary>Handlers: one operation over the lanes of a warp.</summary>
internal static unsafe class Lanes
{
    public static void Unary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IUnary<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A);
        if (w.Mask == uint.MaxValue)
        {
            for (int lane = 0; lane < 32; lane++)
                d[lane] = TOp.Apply(a[lane]);
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = TOp.Apply(a[lane]);
        }
    }

    public static void Binary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IBinary<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        if (w.Mask == uint.MaxValue)
        {
            for (int lane = 0; lane < 32; lane++)
                d[lane] = TOp.Apply(a[lane], b[lane]);
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = TOp.Apply(a[lane], b[lane]);
        }
    }

    public static void VectorBinary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IVectorBinary<T>
    {
        if (w.Mask != uint.MaxValue)
        {
            Binary<T, TOp>(w, i);
            return;
        }
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        for (int lane = 0; lane < 32; lane += Vector256<T>.Count)
            TOp.Apply(Vector256.Load(a + lane), Vector256.Load(b + lane)).Store(d + lane);
    }

    public static void VectorUnary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IVectorUnary<T>
    {
        if (w.Mask != uint.MaxValue)
        {
            Unary<T, TOp>(w, i);
            return;
        }
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A);
        for (int lane = 0; lane < 32; lane += Vector256<T>.Count)
            TOp.Apply(Vector256.Load(a + lane)).Store(d + lane);
    }

    public static void VectorTernary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IVectorTernary<T>
    {
        if (w.Mask != uint.MaxValue)
        {
            Ternary<T, TOp>(w, i);
            return;
        }
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B), c = (T*)(w.Registers + i->C);
        for (int lane = 0; lane < 32; lane += Vector256<T>.Count)
            TOp.Apply(Vector256.Load(a + lane), Vector256.Load(b + lane), Vector256.Load(c + lane)).Store(d + lane);
    }

    public static void Ternary<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, ITernary<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B), c = (T*)(w.Registers + i->C);
        if (w.Mask == uint.MaxValue)
        {
            for (int lane = 0; lane < 32; lane++)
                d[lane] = TOp.Apply(a[lane], b[lane], c[lane]);
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = TOp.Apply(a[lane], b[lane], c[lane]);
        }
    }

    /// <summary>Products of narrow factors into a wide result: mul.wide, and mad.wide where <see cref="Instr.C"/> is not -1.</summary>
    public static void Wide<TNarrow, TWide>(Warp w, Instr* i)
        where TNarrow : unmanaged, INumberBase<TNarrow>
        where TWide : unmanaged, INumberBase<TWide>
    {
        TWide* d = (TWide*)(w.Registers + i->D);
        TNarrow* a = (TNarrow*)(w.Registers + i->A), b = (TNarrow*)(w.Registers + i->B);
        TWide* c = i->C < 0 ? null : (TWide*)(w.Registers + i->C);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = unchecked((TWide.CreateTruncating(a[lane]) * TWide.CreateTruncating(b[lane])) + (c == null ? TWide.Zero : c[lane]));
        }
    }

    /// <summary>setp: <see cref="Instr.D"/>, and its opposite in <see cref="Instr.E"/>; Imm 1, 2, 3: and, or, xor with <see cref="Instr.C"/>.</summary>
    public static void Compare<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, ICompare<T>
    {
        T* a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        uint result = 0;
        for (int lane = 0; lane < 32; lane++)
            result |= (TOp.Apply(a[lane], b[lane]) ? 1u : 0u) << lane;
        Outcome(w, i, result);
    }

    public static void VectorCompare<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IVectorCompare<T>
    {
        T* a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        uint result = 0;
        for (int lane = 0; lane < 32; lane += Vector256<T>.Count)
            result |= TOp.Apply(Vector256.Load(a + lane), Vector256.Load(b + lane)).ExtractMostSignificantBits() << lane;
        Outcome(w, i, result);
    }

    private static void Outcome(Warp w, Instr* i, uint result)
    {
        uint other = ~result;
        if (i->Imm != 0)
        {
            uint c = *(uint*)(w.Registers + i->C) ^ (uint)i->F;
            result = Combine(result, c, i->Imm);
            other = Combine(other, c, i->Imm);
        }
        Set(w, i->D, result);
        if (i->E >= 0)
            Set(w, i->E, other);
    }

    /// <summary>Writes eight results where the instruction acts on their lanes.</summary>
    public static void Keep(Warp w, int lane, Vector256<uint> result, uint* to)
    {
        Vector256<uint> bit = Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128);
        if (w.Mask != uint.MaxValue)
            result = Vector256.ConditionalSelect(Vector256.Equals(Vector256.Create(w.Mask >> lane) & bit, bit), result, Vector256.Load(to + lane));
        result.Store(to + lane);
    }

    /// <summary>Writes the lanes that the instruction acts on of a predicate.</summary>
    public static void Set(Warp w, int place, uint value)
    {
        uint* d = (uint*)(w.Registers + place);
        *d = (*d & ~w.Mask) | (value & w.Mask);
    }

    /// <summary>and, or, xor, not, mov of predicates: Imm 1, 2, 3 for two operands; 0 for one; <see cref="Instr.F"/> flips the first.</summary>
    public static void Predicate(Warp w, Instr* i)
    {
        uint a = *(uint*)(w.Registers + i->A) ^ (uint)i->F;
        Set(w, i->D, i->Imm == 0 ? a : Combine(a, *(uint*)(w.Registers + i->B), i->Imm));
    }

    /// <summary>selp: A where the predicate C holds, else B.</summary>
    public static void Select<T>(Warp w, Instr* i)
        where T : unmanaged
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        uint p = *(uint*)(w.Registers + i->C) ^ (uint)i->F;
        if (w.Mask == uint.MaxValue && sizeof(T) == 4)
        {
            Vector256<uint> bit = Vector256.Create(1u, 2, 4, 8, 16, 32, 64, 128);
            for (int lane = 0; lane < 32; lane += 8)
            {
                Vector256<uint> chosen = Vector256.Equals(Vector256.Create(p >> lane) & bit, bit);
                Vector256.ConditionalSelect(chosen, Vector256.Load((uint*)a + lane), Vector256.Load((uint*)b + lane)).Store((uint*)d + lane);
            }
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = (p >> lane & 1) != 0 ? a[lane] : b[lane];
        }
    }

    private static uint Combine(uint a, uint b, long how) => how switch
    {
        1 => a & b,
        2 => a | b,
        _ => a ^ b,
    };
}

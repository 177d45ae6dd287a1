using System.Numerics;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>
/// cvt: reads a value as a whole number or a float64 (which holds every other float exactly), rounds it, and writes it as the other type,
/// extended to the width of the register.
/// </summary>
internal static unsafe class Convert
{
    // Places in Instr.V.
    public const int From = 0, To = 1, Round = 2, Flags = 3, FromWidth = 4, ToWidth = 5;

    public const int Saturating = 1, Flushing = 2, ToInteger = 4, Relu = 8;

    /// <summary>A conversion between whole numbers without saturation: sign or zero extension, or truncation.</summary>
    public static void Resize<TFrom, TTo>(Warp w, Instr* i)
        where TFrom : unmanaged, INumberBase<TFrom>
        where TTo : unmanaged, INumberBase<TTo>
    {
        TTo* d = (TTo*)(w.Registers + i->D);
        byte* a = w.Registers + i->A;
        int step = i->V[FromWidth];
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = TTo.CreateTruncating(*(TFrom*)(a + (lane * step)));
        }
    }

    public static void Any(Warp w, Instr* i)
    {
        PtxType from = (PtxType)i->V[From], to = (PtxType)i->V[To];
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            byte* source = w.Registers + i->A + (lane * i->V[FromWidth]);
            ulong bits = from.IsFloat() ? FromFloat(ReadFloat(source, from, i), to, i) : FromWhole(ReadWhole(source, from), to, i);
            Write(w.Registers + i->D + (lane * i->V[ToWidth]), i->V[ToWidth], to, bits);
        }
    }

    /// <summary>cvt with two sources into a pair: A is the upper half.</summary>
    public static void Pair(Warp w, Instr* i)
    {
        PtxType half = (PtxType)i->V[To] == PtxType.F16x2 ? PtxType.F16 : PtxType.BF16;
        float* a = (float*)(w.Registers + i->A), b = (float*)(w.Registers + i->B);
        uint* d = (uint*)(w.Registers + i->D);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = (uint)((FromFloat(a[lane], half, i) << 16) | FromFloat(b[lane], half, i));
        }
    }

    public static float HalfToFloat(ushort bits, bool bfloat) =>
        bfloat ? BitConverter.UInt32BitsToSingle((uint)bits << 16) : (float)BitConverter.UInt16BitsToHalf(bits);

    private static double ReadFloat(byte* p, PtxType type, Instr* i)
    {
        if (type == PtxType.F64)
            return *(double*)p;
        float value = type switch
        {
            PtxType.F16 => HalfToFloat(*(ushort*)p, bfloat: false),
            PtxType.BF16 => HalfToFloat(*(ushort*)p, bfloat: true),
            _ => *(float*)p,
        };
        return (i->V[Flags] & Flushing) != 0 ? Float32.Flush(value) : value;
    }

    private static Int128 ReadWhole(byte* p, PtxType type) => type switch
    {
        PtxType.S8 => *(sbyte*)p,
        PtxType.S16 => *(short*)p,
        PtxType.S32 => *(int*)p,
        PtxType.S64 => *(long*)p,
        PtxType.U8 or PtxType.B8 => *p,
        PtxType.U16 or PtxType.B16 => *(ushort*)p,
        PtxType.U32 or PtxType.B32 => *(uint*)p,
        _ => *(ulong*)p,
    };

    private static ulong FromWhole(Int128 value, PtxType to, Instr* i)
    {
        Rounding rounding = (Rounding)i->V[Round];
        switch (to)
        {
            case PtxType.F64:
                double d = (double)value;
                return BitConverter.DoubleToUInt64Bits(rounding == Rounding.Nearest ? d : Adjust(d, value, rounding));
            case PtxType.F32:
                // Beyond 53 bits float64 would round first; 64-bit integers convert to float32 in one step.
                float f = value < 0 ? (float)(long)value : (float)(ulong)value;
                return BitConverter.SingleToUInt32Bits(rounding == Rounding.Nearest ? f : Float32.Round((double)value, (double)(value - (Int128)(double)value), rounding));
            case PtxType.F16 or PtxType.BF16:
                return FromFloat((double)value, to, i);
        }
        if ((i->V[Flags] & Saturating) != 0)
            value = Int128.Clamp(value, Least(to), Greatest(to));
        return ulong.CreateTruncating(value);
    }

    private static double Adjust(double d, Int128 exact, Rounding rounding)
    {
        int side = ((Int128)d).CompareTo(exact);
        bool down = rounding == Rounding.Down || (rounding == Rounding.Zero && exact > 0);
        return down ? (side > 0 ? Math.BitDecrement(d) : d) : side < 0 ? Math.BitIncrement(d) : d;
    }

    private static ulong FromFloat(double value, PtxType to, Instr* i)
    {
        Rounding rounding = (Rounding)i->V[Round];
        int flags = i->V[Flags];
        if (!to.IsFloat())
        {
            // Out of range: the nearest there is; not a number: 0 (as sm_80 and later do for 32 bits).
            double whole = RoundWhole(value, rounding);
            if (double.IsNaN(whole))
                return to is PtxType.S64 or PtxType.U64 ? 1UL << 63 : 0;
            double least = (double)Least(to), greatest = (double)Greatest(to);
            Int128 held = whole <= least ? Least(to) : whole >= greatest ? Greatest(to) : (Int128)whole;
            return ulong.CreateTruncating(held);
        }
        if ((flags & ToInteger) != 0)
            value = RoundWhole(value, rounding);
        if ((flags & Saturating) != 0)
            value = value > 0 ? Math.Min(value, 1) : 0;
        if ((flags & Relu) != 0 && value < 0)
            value = 0;
        switch (to)
        {
            case PtxType.F64:
                return BitConverter.DoubleToUInt64Bits(value);
            case PtxType.F32:
                float f = (flags & ToInteger) != 0 ? (float)value : Float32.Round(value, 0, rounding);
                return BitConverter.SingleToUInt32Bits((flags & Flushing) != 0 ? Float32.Flush(f) : f);
            case PtxType.F16:
                Half half = (Half)value;
                if (rounding == Rounding.Zero && Math.Abs((double)half) > Math.Abs(value))
                    half = value > 0 ? Half.BitDecrement(half) : Half.BitIncrement(half);
                return BitConverter.HalfToUInt16Bits(half);
            case PtxType.TF32:
                // 10 bits of fraction, ties away from zero.
                uint bits = BitConverter.SingleToUInt32Bits((float)value);
                return double.IsFinite(value) ? (bits + 0x1000) & ~0x1FFFu : bits;
            default:
                return ToBFloat((float)value, rounding);
        }
    }

    /// <summary>The upper half of a float32, rounded to nearest even or cut.</summary>
    private static ulong ToBFloat(float value, Rounding rounding)
    {
        if (float.IsNaN(value))
            return 0x7FFF;
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return rounding == Rounding.Zero ? bits >> 16 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    }

    private static double RoundWhole(double value, Rounding rounding) => rounding switch
    {
        Rounding.Nearest => Math.Round(value, MidpointRounding.ToEven),
        Rounding.Zero => Math.Truncate(value),
        Rounding.Down => Math.Floor(value),
        _ => Math.Ceiling(value),
    };

    private static Int128 Least(PtxType type) => type.IsSigned() ? -(Int128.One << ((8 * type.Bytes()) - 1)) : 0;

    private static Int128 Greatest(PtxType type) => (Int128.One << ((8 * type.Bytes()) - (type.IsSigned() ? 1 : 0))) - 1;

    private static void Write(byte* p, int width, PtxType type, ulong bits)
    {
        // A narrow result in a wider register is extended by its sign, or by zeros.
        int unused = 64 - (8 * type.Bytes());
        bits = type.IsSigned() ? (ulong)((long)(bits << unused) >> unused) : bits << unused >> unused;
        if (width == 2)
            *(ushort*)p = (ushort)bits;
        else if (width == 4)
            *(uint*)p = (uint)bits;
        else
            *(ulong*)p = bits;
    }
}

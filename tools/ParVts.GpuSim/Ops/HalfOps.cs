using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>
/// Arithmetic on f16 and bf16 and pairs of them: <see cref="Instr.Count"/> values a lane, of kind <see cref="Instr.E"/> (1: bf16). Results are taken in
/// float64 and rounded once, but for what float64 itself cuts from a sum of far-apart numbers.
/// </summary>
internal static unsafe class HalfOps
{
    public static void Run<TOp>(Warp w, Instr* i)
        where TOp : struct, ITernary<double>
    {
        ushort* d = (ushort*)(w.Registers + i->D), a = (ushort*)(w.Registers + i->A);
        ushort* b = (ushort*)(w.Registers + i->B), c = i->C < 0 ? a : (ushort*)(w.Registers + i->C);
        bool bfloat = i->E != 0;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int first = BitOperations.TrailingZeroCount(mask) * i->Count;
            for (int n = first; n < first + i->Count; n++)
                d[n] = Round(TOp.Apply(Convert.HalfToFloat(a[n], bfloat), Convert.HalfToFloat(b[n], bfloat), Convert.HalfToFloat(c[n], bfloat)), bfloat);
        }
    }

    private static ushort Round(double value, bool bfloat)
    {
        if (!bfloat)
            return double.IsNaN(value) ? (ushort)0x7FFF : BitConverter.HalfToUInt16Bits((Half)value);
        if (double.IsNaN(value))
            return 0x7FFF;
        float single = (float)value;
        uint bits = BitConverter.SingleToUInt32Bits(single);
        if (float.IsInfinity(single))
            return (ushort)(bits >> 16);
        // First cut to odd, so that the second rounding sees on which side of a tie the value lies.
        if (Math.Abs((double)single) > Math.Abs(value))
            bits--;
        if (single != value)
            bits |= 1;
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

/// <summary>A binary operation, or a unary one on the first operand, where three are given.</summary>
internal readonly struct HalfSum : ITernary<double>
{
    public static double Apply(double a, double b, double c) => a + b;
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfDifference : ITernary<double>
{
    public static double Apply(double a, double b, double c) => a - b;
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfProduct : ITernary<double>
{
    public static double Apply(double a, double b, double c) => a * b;
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfFma : ITernary<double>
{
    public static double Apply(double a, double b, double c) => (a * b) + c;
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfMin : ITernary<double>
{
    public static double Apply(double a, double b, double c) => double.MinNumber(a, b);
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfMax : ITernary<double>
{
    public static double Apply(double a, double b, double c) => double.MaxNumber(a, b);
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfNegation : ITernary<double>
{
    public static double Apply(double a, double b, double c) => -a;
}

/// <inheritdoc cref="HalfSum"/>
internal readonly struct HalfSize : ITernary<double>
{
    public static double Apply(double a, double b, double c) => Math.Abs(a);
}

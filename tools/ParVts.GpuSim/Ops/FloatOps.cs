using System.Numerics;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Ops;

/// <summary>The rounding and flushing of float32 results.</summary>
internal static class Float32
{
    /// <summary>Subnormals become zero of their sign, as .ftz asks for operands and results.</summary>
    public static float Flush(float value) => float.IsSubnormal(value) ? float.CopySign(0, value) : value;

    /// <inheritdoc cref="Flush(float)"/>
    public static Vector256<float> Flush(Vector256<float> value)
    {
        Vector256<float> small = Vector256.LessThan(Vector256.Abs(value), Vector256.Create(1.17549435e-38f));
        return value & ~(small & Vector256.Create(0x7FFFFFFFu).AsSingle());
    }

    /// <summary>
    /// The float32 beside value + error in a direction: <paramref name="value"/> is the float64 nearest to the exact result,
    /// <paramref name="error"/> has the sign of what it lacks.
    /// </summary>
    public static float Round(double value, double error, Rounding rounding)
    {
        float nearest = (float)value;
        if (rounding == Rounding.Nearest || !double.IsFinite(value))
            return nearest;
        int side = ((double)nearest).CompareTo(value);
        if (side == 0)
            side = error > 0 ? -1 : error < 0 ? 1 : 0;
        bool down = rounding == Rounding.Down || (rounding == Rounding.Zero && (value > 0 || (value == 0 && error > 0)));
        return down ? (side > 0 ? MathF.BitDecrement(nearest) : nearest) : side < 0 ? MathF.BitIncrement(nearest) : nearest;
    }

    /// <summary>a·b + c in a direction. The product is exact in float64, and the error of the sum is known exactly.</summary>
    public static float Fma(float a, float b, float c, Rounding rounding)
    {
        if (rounding == Rounding.Nearest)
            return MathF.FusedMultiplyAdd(a, b, c);
        double x = (double)a * b, y = c, sum = x + y, z = sum - x;
        return Round(sum, (x - (sum - z)) + (y - z), rounding);
    }
}

internal enum Rounding
{
    Nearest,
    Zero,
    Down,
    Up,
}

internal interface IRounding
{
    static abstract Rounding Mode { get; }
}

internal readonly struct ToNearest : IRounding
{
    public static Rounding Mode => Rounding.Nearest;
}

internal readonly struct ToZero : IRounding
{
    public static Rounding Mode => Rounding.Zero;
}

internal readonly struct Downward : IRounding
{
    public static Rounding Mode => Rounding.Down;
}

internal readonly struct Upward : IRounding
{
    public static Rounding Mode => Rounding.Up;
}

/// <summary>Wraps a float32 operation in .ftz: operands and result flushed.</summary>
internal readonly struct Ftz1<TOp> : IUnary<float>
    where TOp : struct, IUnary<float>
{
    public static float Apply(float a) => Float32.Flush(TOp.Apply(Float32.Flush(a)));
}

/// <inheritdoc cref="Ftz1{TOp}"/>
internal readonly struct Ftz2<TOp> : IBinary<float>
    where TOp : struct, IBinary<float>
{
    public static float Apply(float a, float b) => Float32.Flush(TOp.Apply(Float32.Flush(a), Float32.Flush(b)));
}

/// <inheritdoc cref="Ftz1{TOp}"/>
internal readonly struct Ftz3<TOp> : ITernary<float>
    where TOp : struct, ITernary<float>
{
    public static float Apply(float a, float b, float c) => Float32.Flush(TOp.Apply(Float32.Flush(a), Float32.Flush(b), Float32.Flush(c)));
}

/// <summary>Comparisons see flushed operands.</summary>
internal readonly struct FtzCompare<TOp> : IVectorCompare<float>
    where TOp : struct, IVectorCompare<float>
{
    public static bool Apply(float a, float b) => TOp.Apply(Float32.Flush(a), Float32.Flush(b));

    public static Vector256<float> Apply(Vector256<float> a, Vector256<float> b) => TOp.Apply(Float32.Flush(a), Float32.Flush(b));
}

internal readonly struct Sat2<TOp> : IBinary<float>
    where TOp : struct, IBinary<float>
{
    public static float Apply(float a, float b) => Saturate.Apply(TOp.Apply(a, b));
}

internal readonly struct Sat3<TOp> : ITernary<float>
    where TOp : struct, ITernary<float>
{
    public static float Apply(float a, float b, float c) => Saturate.Apply(TOp.Apply(a, b, c));
}

/// <summary>Into [0, 1]; not a number becomes 0.</summary>
internal readonly struct Saturate : IUnary<float>
{
    public static float Apply(float a) => a > 0 ? MathF.Min(a, 1) : 0;
}

internal readonly struct AddRounded<TR> : IBinary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a, float b) => Float32.Fma(a, 1, b, TR.Mode);
}

internal readonly struct SubRounded<TR> : IBinary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a, float b) => Float32.Fma(a, 1, -b, TR.Mode);
}

internal readonly struct MulRounded<TR> : IBinary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a, float b) => Float32.Round((double)a * b, 0, TR.Mode);
}

internal readonly struct FmaRounded<TR> : ITernary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a, float b, float c) => Float32.Fma(a, b, c, TR.Mode);
}

internal readonly struct DivRounded<TR> : IBinary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a, float b)
    {
        if (TR.Mode == Rounding.Nearest)
            return a / b;
        double q = (double)a / b;
        double rest = Math.FusedMultiplyAdd(-q, b, a);
        return Float32.Round(q, b < 0 ? -rest : rest, TR.Mode);
    }
}

internal readonly struct SqrtRounded<TR> : IUnary<float>
    where TR : struct, IRounding
{
    public static float Apply(float a)
    {
        if (TR.Mode == Rounding.Nearest)
            return MathF.Sqrt(a);
        double root = Math.Sqrt(a);
        return Float32.Round(root, Math.FusedMultiplyAdd(-root, root, a), TR.Mode);
    }
}

/// <summary>a·b + c to nearest, and with operands and result flushed.</summary>
internal readonly struct FmaNearest : IVectorTernary<float>
{
    public static float Apply(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    public static Vector256<float> Apply(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Vector256.FusedMultiplyAdd(a, b, c);
}

/// <inheritdoc cref="FmaNearest"/>
internal readonly struct FmaNearestFtz : IVectorTernary<float>
{
    public static float Apply(float a, float b, float c) =>
        Float32.Flush(MathF.FusedMultiplyAdd(Float32.Flush(a), Float32.Flush(b), Float32.Flush(c)));

    public static Vector256<float> Apply(Vector256<float> a, Vector256<float> b, Vector256<float> c) =>
        Float32.Flush(Vector256.FusedMultiplyAdd(Float32.Flush(a), Float32.Flush(b), Float32.Flush(c)));
}

internal readonly struct Fma64 : ITernary<double>
{
    public static double Apply(double a, double b, double c) => Math.FusedMultiplyAdd(a, b, c);
}

internal readonly struct DivFloat<T> : IVectorBinary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a, T b) => a / b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a / b;
}

internal readonly struct AbsFloat<T> : IVectorUnary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a) => T.Abs(a);

    public static Vector256<T> Apply(Vector256<T> a) => Vector256.Abs(a);
}

/// <summary>The smaller number; one that is not a number loses.</summary>
internal readonly struct MinFloat<T> : IVectorBinary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a, T b) => T.MinNumber(a, b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.MinNumber(a, b);
}

internal readonly struct MaxFloat<T> : IVectorBinary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a, T b) => T.MaxNumber(a, b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.MaxNumber(a, b);
}

/// <summary>min.NaN: what is not a number wins.</summary>
internal readonly struct MinNan<T> : IBinary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a, T b) => T.Min(a, b);
}

internal readonly struct MaxNan<T> : IBinary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a, T b) => T.Max(a, b);
}

internal readonly struct Reciprocal<T> : IVectorUnary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a) => T.One / a;

    public static Vector256<T> Apply(Vector256<T> a) => Vector256<T>.One / a;
}

internal readonly struct Sqrt<T> : IVectorUnary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a) => T.Sqrt(a);

    public static Vector256<T> Apply(Vector256<T> a) => Vector256.Sqrt(a);
}

/// <summary>
/// Approximations are exact to the last place here: the hardware's are within a few, and which bits it gives no one says.
/// </summary>
internal readonly struct ReciprocalSqrt<T> : IVectorUnary<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Apply(T a) => T.One / T.Sqrt(a);

    public static Vector256<T> Apply(Vector256<T> a) => Vector256<T>.One / Vector256.Sqrt(a);
}

internal readonly struct Exp2 : IUnary<float>
{
    public static float Apply(float a) => (float)Math.Pow(2, a);
}

internal readonly struct Log2 : IUnary<float>
{
    public static float Apply(float a) => (float)Math.Log2(a);
}

internal readonly struct Sine : IUnary<float>
{
    public static float Apply(float a) => (float)Math.Sin(a);
}

internal readonly struct Cosine : IUnary<float>
{
    public static float Apply(float a) => (float)Math.Cos(a);
}

internal readonly struct Tanh : IUnary<float>
{
    public static float Apply(float a) => (float)Math.Tanh(a);
}

using System.Numerics;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Ops;

// Floats: the plain comparisons are false where a side is not a number (C#'s are, but for "not equal"), the others (equ, ltu …) true.

internal readonly struct Equal<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a == b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.Equals(a, b);
}

internal readonly struct NotEqual<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a < b || a > b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.LessThan(a, b) | Vector256.GreaterThan(a, b);
}

internal readonly struct Less<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a < b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.LessThan(a, b);
}

internal readonly struct LessOrEqual<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a <= b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.LessThanOrEqual(a, b);
}

internal readonly struct Greater<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a > b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.GreaterThan(a, b);
}

internal readonly struct GreaterOrEqual<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a >= b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.GreaterThanOrEqual(a, b);
}

/// <summary>The opposite of another: ltu is not ge.</summary>
internal readonly struct Opposite<T, TOp> : IVectorCompare<T>
    where T : unmanaged
    where TOp : struct, IVectorCompare<T>
{
    public static bool Apply(T a, T b) => !TOp.Apply(a, b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => ~TOp.Apply(a, b);
}

internal readonly struct BothNumbers<T> : IVectorCompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => !T.IsNaN(a) && !T.IsNaN(b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.Equals(a, a) & Vector256.Equals(b, b);
}

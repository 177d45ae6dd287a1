using System.Numerics;

namespace ParVts.GpuSim.Ops;

// Floats: the plain comparisons are false where a side is not a number (C#'s are, but for "not equal"), the others (equ, ltu …) true.

internal readonly struct Equal<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a == b;
}

internal readonly struct NotEqual<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a < b || a > b;
}

internal readonly struct Less<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a < b;
}

internal readonly struct LessOrEqual<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a <= b;
}

internal readonly struct Greater<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a > b;
}

internal readonly struct GreaterOrEqual<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => a >= b;
}

/// <summary>The opposite of another: ltu is not ge.</summary>
internal readonly struct Opposite<T, TOp> : ICompare<T>
    where T : unmanaged
    where TOp : struct, ICompare<T>
{
    public static bool Apply(T a, T b) => !TOp.Apply(a, b);
}

internal readonly struct BothNumbers<T> : ICompare<T>
    where T : unmanaged, INumber<T>
{
    public static bool Apply(T a, T b) => !T.IsNaN(a) && !T.IsNaN(b);
}

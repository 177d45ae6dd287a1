using System.Numerics;
using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Ops;

internal readonly struct Add<T> : IVectorBinary<T>
    where T : unmanaged, INumber<T>
{
    public static T Apply(T a, T b) => unchecked(a + b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a + b;
}

internal readonly struct Sub<T> : IVectorBinary<T>
    where T : unmanaged, INumber<T>
{
    public static T Apply(T a, T b) => unchecked(a - b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a - b;
}

internal readonly struct Mul<T> : IVectorBinary<T>
    where T : unmanaged, INumber<T>
{
    public static T Apply(T a, T b) => unchecked(a * b);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a * b;
}

internal readonly struct MulHigh<T> : IBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static unsafe T Apply(T a, T b) =>
        sizeof(T) <= 4
            ? T.CreateTruncating((long.CreateTruncating(a) * long.CreateTruncating(b)) >> (8 * sizeof(T)))
            : T.CreateTruncating((Int128.CreateTruncating(a) * Int128.CreateTruncating(b)) >> (8 * sizeof(T)));
}

/// <summary>The high half of 64-bit unsigned products, which a signed 128-bit number does not hold.</summary>
internal readonly struct MulHighU64 : IBinary<ulong>
{
    public static ulong Apply(ulong a, ulong b) => Math.BigMul(a, b, out _);
}

internal readonly struct Mad<T> : IVectorTernary<T>
    where T : unmanaged, INumber<T>
{
    public static T Apply(T a, T b, T c) => unchecked((a * b) + c);

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b, Vector256<T> c) => (a * b) + c;
}

internal readonly struct MadHigh<T> : ITernary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => unchecked(MulHigh<T>.Apply(a, b) + c);
}

internal readonly struct MadHighU64 : ITernary<ulong>
{
    public static ulong Apply(ulong a, ulong b, ulong c) => unchecked(Math.BigMul(a, b, out _) + c);
}

/// <summary>The product of the lower 24 bits, signed or not.</summary>
internal readonly struct Product24<T> : IBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => unchecked((a << 8 >> 8) * (b << 8 >> 8));
}

internal readonly struct Mad24<T> : ITernary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => unchecked(Product24<T>.Apply(a, b) + c);
}

/// <summary>sad: how far a and b are apart, plus c.</summary>
internal readonly struct Distance<T> : ITernary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b, T c) => unchecked((a < b ? b - a : a - b) + c);
}

/// <summary>Division as the hardware does it: by zero it gives all ones; the smallest number by -1 gives itself.</summary>
internal readonly struct Div<T> : IBinary<T>
    where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
{
    public static T Apply(T a, T b)
    {
        if (b == T.Zero)
            return ~T.Zero;
        return T.IsNegative(T.MinValue) && b == ~T.Zero ? unchecked(T.Zero - a) : a / b;
    }
}

internal readonly struct Rem<T> : IBinary<T>
    where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
{
    public static T Apply(T a, T b)
    {
        if (b == T.Zero)
            return a;
        return T.IsNegative(T.MinValue) && b == ~T.Zero ? T.Zero : a % b;
    }
}

internal readonly struct Neg<T> : IVectorUnary<T>
    where T : unmanaged, INumber<T>
{
    public static T Apply(T a) => unchecked(-a);

    public static Vector256<T> Apply(Vector256<T> a) => -a;
}

internal readonly struct AbsInteger<T> : IUnary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a) => T.IsNegative(a) ? unchecked(T.Zero - a) : a;
}

internal readonly struct Min<T> : IVectorBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => a < b ? a : b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.Min(a, b);
}

internal readonly struct Max<T> : IVectorBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => a > b ? a : b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => Vector256.Max(a, b);
}

internal readonly struct Move<T> : IVectorUnary<T>
    where T : unmanaged
{
    public static T Apply(T a) => a;

    public static Vector256<T> Apply(Vector256<T> a) => a;
}

internal readonly struct And<T> : IVectorBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => a & b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a & b;
}

internal readonly struct Or<T> : IVectorBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => a | b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a | b;
}

internal readonly struct Xor<T> : IVectorBinary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a, T b) => a ^ b;

    public static Vector256<T> Apply(Vector256<T> a, Vector256<T> b) => a ^ b;
}

internal readonly struct Not<T> : IVectorUnary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a) => ~a;

    public static Vector256<T> Apply(Vector256<T> a) => ~a;
}

/// <summary>Logical not: 1 for zero, else 0.</summary>
internal readonly struct CNot<T> : IUnary<T>
    where T : unmanaged, IBinaryInteger<T>
{
    public static T Apply(T a) => a == T.Zero ? T.One : T.Zero;
}

/// <summary>Three-operand logic by a truth table: bit 4a + 2b + c of the table.</summary>
internal static unsafe class Lop3
{
    public static void Run(Run.Warp w, Run.Instr* i)
    {
        uint* d = (uint*)(w.Registers + i->D), a = (uint*)(w.Registers + i->A), b = (uint*)(w.Registers + i->B), c = (uint*)(w.Registers + i->C);
        for (int lane = 0; lane < 32; lane += 8)
        {
            Vector256<uint> x = Vector256.Load(a + lane), y = Vector256.Load(b + lane), z = Vector256.Load(c + lane), result = Vector256<uint>.Zero;
            for (int row = 0; row < 8; row++)
            {
                if ((i->Imm >> row & 1) != 0)
                    result |= ((row & 4) != 0 ? x : ~x) & ((row & 2) != 0 ? y : ~y) & ((row & 1) != 0 ? z : ~z);
            }
            Lanes.Keep(w, lane, result, d);
        }
    }
}

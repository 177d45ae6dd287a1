using System.Runtime.Intrinsics;

namespace ParVts.GpuSim.Ops;

/// <summary>16-bit floats, whose bits lie in the lower halves of 32-bit lanes.</summary>
internal static class Halves
{
    public static Vector256<float> ToSingle(Vector256<uint> bits, bool bfloat) => bfloat ? (bits << 16).AsSingle() : FromHalf(bits);

    private static Vector256<float> FromHalf(Vector256<uint> bits)
    {
        // The exponent's bias differs by 112; a product with 2^112 mends that, subnormal numbers included.
        Vector256<uint> size = (bits & Vector256.Create(0x7FFFu)) << 13;
        Vector256<float> value = size.AsSingle() * Vector256.Create(5.192296858534828e33f);
        // Infinities and what is no number keep the highest exponent.
        Vector256<uint> beyond = Vector256.GreaterThanOrEqual(size, Vector256.Create(0x7C00u << 13)) & Vector256.Create(0x7F800000u);
        Vector256<uint> quiet = Vector256.GreaterThan(size, Vector256.Create(0x7C00u << 13)) & Vector256.Create(0x00400000u);
        return (value.AsUInt32() | beyond | quiet | ((bits & Vector256.Create(0x8000u)) << 16)).AsSingle();
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>The activation functions of the supported models.</summary>
internal static unsafe class Activations
{
    private interface IFunction
    {
        static abstract Vector256<float> Apply(Vector256<float> x);
    }

    /// <summary>output = f(x) on <paramref name="count"/> elements, times <paramref name="up"/> where it is given; output may be x.</summary>
    public static void Apply(Activation function, float* x, float* up, float* output, long count)
    {
        switch (function)
        {
            case Activation.Silu:
                Apply<Silu>(x, up, output, count);
                break;
            case Activation.Gelu:
                Apply<Gelu>(x, up, output, count);
                break;
            case Activation.GeluTanh:
                Apply<GeluTanh>(x, up, output, count);
                break;
            case Activation.QuickGelu:
                Apply<QuickGelu>(x, up, output, count);
                break;
            default:
                Apply<Relu>(x, up, output, count);
                break;
        }
    }

    private static void Apply<TFunction>(float* x, float* up, float* output, long count)
        where TFunction : struct, IFunction
    {
        long i = 0;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> value = TFunction.Apply(Vector256.Load(x + i));
            if (up != null)
                value *= Vector256.Load(up + i);
            value.Store(output + i);
        }

        if (i == count)
            return;
        int rest = (int)(count - i);
        float* tail = stackalloc float[8];
        new Span<float>(tail, 8).Clear();
        new ReadOnlySpan<float>(x + i, rest).CopyTo(new Span<float>(tail, 8));
        TFunction.Apply(Vector256.Load(tail)).Store(tail);
        for (int j = 0; j < rest; j++)
            output[i + j] = up == null ? tail[j] : tail[j] * up[i + j];
    }

    private readonly struct Silu : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<float> Apply(Vector256<float> x) => x / (Vector256<float>.One + SimdMath.Exp(-x));
    }

    private readonly struct QuickGelu : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<float> Apply(Vector256<float> x) =>
            x * SimdMath.Sigmoid(x * Vector256.Create(1.702f));
    }

    private readonly struct Gelu : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<float> Apply(Vector256<float> x) =>
            x * Vector256.Create(0.5f) * (Vector256<float>.One + SimdMath.Erf(x * Vector256.Create(0.70710678f)));
    }

    private readonly struct GeluTanh : IFunction
    {
        // ½·(1 + tanh u) = σ(2u)
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<float> Apply(Vector256<float> x)
        {
            Vector256<float> cubic = Vector256.FusedMultiplyAdd(x * x * x, Vector256.Create(0.044715f), x);
            return x * SimdMath.Sigmoid(cubic * Vector256.Create(2 * 0.7978845608f));
        }
    }

    private readonly struct Relu : IFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector256<float> Apply(Vector256<float> x) => Vector256.Max(x, Vector256<float>.Zero);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Vector functions that the CPU operations share, each within two units in the last place.</summary>
internal static class SimdMath
{
    private const float LargestExponent = 88.72283f;
    private const float SmallestExponent = -87.33654f;

    // erf(x)/x as a Chebyshev series in x² on [0, 16]; beyond |x| = 4 erf is 1 in float32 (1 − erf(4) = 1.5e-8).
    private static readonly double[] s_erfSeries = ErfSeries();

    /// <summary>
    /// e^x by Cody and Waite's reduction, x = n·ln 2 + r, and a polynomial of degree 7 in r. What would be subnormal is
    /// zero, −∞ gives zero, NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Exp(Vector256<float> x)
    {
        Vector256<float> clamped = Vector256.Min(Vector256.Create(LargestExponent), x);
        Vector256<float> n = Vector256.Floor(
            Vector256.FusedMultiplyAdd(clamped, Vector256.Create(1.44269504f), Vector256.Create(0.5f)));
        Vector256<float> r = Vector256.FusedMultiplyAdd(n, Vector256.Create(-0.693359375f), clamped);
        r = Vector256.FusedMultiplyAdd(n, Vector256.Create(2.12194440e-4f), r);
        Vector256<float> p = Vector256.Create(1.9841270e-4f);
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1.3888889e-3f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(8.3333333e-3f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(4.1666667e-2f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(1.6666667e-1f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(0.5f));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256<float>.One);
        p = Vector256.FusedMultiplyAdd(p, r, Vector256<float>.One);

        // 2^n in two factors, so that n = 128 does not overflow before the product does.
        Vector256<int> exponent = Vector256.ConvertToInt32(n);
        Vector256<int> half = exponent >> 1;
        Vector256<float> scale = ((half + Vector256.Create(127)) << 23).AsSingle();
        Vector256<float> rest = ((exponent - half + Vector256.Create(127)) << 23).AsSingle();
        Vector256<float> result = p * scale * rest;
        result = Vector256.ConditionalSelect(
            Vector256.LessThan(x, Vector256.Create(SmallestExponent)), Vector256<float>.Zero, result);
        result = Vector256.ConditionalSelect(
            Vector256.GreaterThan(x, Vector256.Create(LargestExponent)),
            Vector256.Create(float.PositiveInfinity),
            result);
        return Vector256.ConditionalSelect(Vector256.Equals(x, x), result, x);
    }

    /// <summary>1 / (1 + e^−x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sigmoid(Vector256<float> x) =>
        Vector256<float>.One / (Vector256<float>.One + Exp(-x));

    /// <summary>The error function, to float32's last place.</summary>
    public static Vector256<float> Erf(Vector256<float> x) =>
        Vector256.Narrow(Erf(Vector256.WidenLower(x)), Erf(Vector256.WidenUpper(x)));

    /// <summary>The sum of all elements, in a fixed order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> x)
    {
        Vector128<float> half = x.GetLower() + x.GetUpper();
        return half.GetElement(0) + half.GetElement(2) + (half.GetElement(1) + half.GetElement(3));
    }

    private static Vector256<double> Erf(Vector256<double> x)
    {
        Vector256<double> limit = Vector256.Create(4.0);
        Vector256<double> inside = Vector256.Max(-limit, Vector256.Min(limit, x));

        // Clenshaw's recurrence in t = x²/8 − 1 ∈ [−1, 1].
        Vector256<double> t = Vector256.FusedMultiplyAdd(inside * inside, Vector256.Create(0.125), Vector256.Create(-1.0));
        Vector256<double> twice = t + t;
        Vector256<double> b1 = Vector256<double>.Zero;
        Vector256<double> b2 = Vector256<double>.Zero;
        double[] series = s_erfSeries;
        for (int k = series.Length - 1; k > 0; k--)
        {
            Vector256<double> b0 = Vector256.FusedMultiplyAdd(twice, b1, Vector256.Create(series[k]) - b2);
            b2 = b1;
            b1 = b0;
        }

        Vector256<double> ratio = Vector256.FusedMultiplyAdd(t, b1, Vector256.Create(series[0]) - b2);
        Vector256<double> result = inside * ratio;
        return Vector256.ConditionalSelect(Vector256.Equals(x, x), result, x);
    }

    private static double[] ErfSeries()
    {
        const int nodes = 64;
        const int terms = 30;
        double[] values = new double[nodes];
        for (int i = 0; i < nodes; i++)
        {
            double t = Math.Cos(Math.PI * (i + 0.5) / nodes);
            values[i] = ErfRatio(Math.Sqrt(8 * (t + 1)));
        }

        double[] series = new double[terms];
        for (int k = 0; k < terms; k++)
        {
            double sum = 0;
            for (int i = 0; i < nodes; i++)
                sum += values[i] * Math.Cos(Math.PI * k * (i + 0.5) / nodes);
            series[k] = sum * (k == 0 ? 1.0 : 2.0) / nodes;
        }

        return series;
    }

    // erf(x)/x = 2/√π · e^−x² · Σ 2^n x^2n / (2n+1)!!: all terms positive, so nothing cancels.
    private static double ErfRatio(double x)
    {
        double term = 1;
        double sum = 1;
        for (int n = 1; term > 1e-18 * sum; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }

        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }
}

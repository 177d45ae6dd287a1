namespace ParVts.GpuSim.Tests.Kernels;

/// <summary>Functions in float64.</summary>
internal static class Truth
{
    /// <summary>An activation function by its number in apply.cuh.</summary>
    public static double Apply(double x, int function) => function switch
    {
        0 => x / (1 + Math.Exp(-x)),
        1 => 0.5 * x * (1 + Erf(x / Math.Sqrt(2))),
        2 => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
        3 => x / (1 + Math.Exp(-1.702 * x)),
        4 => Math.Max(x, 0),
        _ => x,
    };

    // The series converges everywhere; where cancellation would eat its digits, erf is 1.
    private static double Erf(double x)
    {
        if (Math.Abs(x) > 5)
            return Math.Sign(x);
        double term = x, sum = x;
        for (int n = 1; n < 200; n++)
        {
            term *= -x * x / n;
            sum += term / ((2 * n) + 1);
        }

        return 2 / Math.Sqrt(Math.PI) * sum;
    }
}

using System.Diagnostics;

namespace ParVts.Engine.Compute;

/// <summary>
/// A token's weight in a draw: <c>floor(2^40 · e^x)</c>, a whole number, so that sums of weights are exact in every order and a GPU
/// that adds them up in parallel chooses the same token. kernels/sample.cu has the same arithmetic, operation for operation.
/// </summary>
internal static class SampleWeight
{
    /// <summary>The weight of the most probable token.</summary>
    public const ulong One = 1UL << 40;

    /// <summary>The weight for <paramref name="x"/> ≤ 0; 0 below e^−30, where a draw never falls, and for what is no number.</summary>
    public static ulong Of(float x)
    {
        Debug.Assert(!(x > 0));
        if (!(x > -30f))
            return 0;

        // e^x = 2^n e^r with |r| ≤ ln 2 / 2; ln 2 is taken off in two parts, and e^r is its series to r^7.
        float n = MathF.Round(x * 1.44269504f);
        float r = MathF.FusedMultiplyAdd(n, -0.693359375f, x);
        r = MathF.FusedMultiplyAdd(n, 2.12194440e-4f, r);
        float y = 1f / 5040f;
        y = MathF.FusedMultiplyAdd(y, r, 1f / 720f);
        y = MathF.FusedMultiplyAdd(y, r, 1f / 120f);
        y = MathF.FusedMultiplyAdd(y, r, 1f / 24f);
        y = MathF.FusedMultiplyAdd(y, r, 1f / 6f);
        y = MathF.FusedMultiplyAdd(y, r, 0.5f);
        y = MathF.FusedMultiplyAdd(y, r, 1f);
        y = MathF.FusedMultiplyAdd(y, r, 1f);

        // The 24 bits of e^r, which is between 0.7 and 1.5, moved to their place.
        return (ulong)(uint)(y * 16777216f) << 16 >> (int)-n;
    }

    /// <summary>What differences of logits are multiplied by; finite, so that the largest logit's difference, 0, stays 0.</summary>
    public static float Inverse(float temperature) => MathF.Min(1f / temperature, float.MaxValue);

    /// <summary>A share below 1 (top-p), times 2^64.</summary>
    public static ulong Share(float share) => (ulong)(share * 18446744073709551616.0);

    /// <summary>The least weight that a share of the most probable token's (min-p) leaves.</summary>
    public static ulong Least(float share) => (ulong)Math.Ceiling(share * (double)One);
}

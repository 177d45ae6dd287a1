namespace ParVts.Engine.Scheduling;

/// <summary>
/// What rotary positions alone make of attention: q·k / √head_dim of two vectors of ones at two positions (SparseVLM's second version).
/// In float32 as RoPE computes it, since the sum crosses zero and policies divide by it.
/// </summary>
internal static class RotaryPull
{
    /// <summary>The pull between a query's position and a key's.</summary>
    public static float Between(IReadOnlyList<float> frequencies, int query, int key)
    {
        float sum = 0;
        for (int half = -1; half <= 1; half += 2)
        {
            foreach (float frequency in frequencies)
                sum += Rotated(query * frequency, half) * Rotated(key * frequency, half);
        }

        return sum / MathF.Sqrt(2 * frequencies.Count);
    }

    // One element of the rotated vector of ones, in its lower or upper half.
    private static float Rotated(float angle, int half) => MathF.Cos(angle) + half * MathF.Sin(angle);
}

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
        float lower = 0;
        float upper = 0;
        foreach (float frequency in frequencies)
        {
            (float querySine, float queryCosine) = MathF.SinCos(query * frequency);
            (float keySine, float keyCosine) = MathF.SinCos(key * frequency);
            lower += (queryCosine - querySine) * (keyCosine - keySine);
            upper += (queryCosine + querySine) * (keyCosine + keySine);
        }

        return (lower + upper) / MathF.Sqrt(2 * frequencies.Count);
    }
}

namespace ParVts.Engine.Generation;

/// <summary>
/// Log-probabilities of the new tokens: of the raw logits, before repetition penalty, temperature and cuts; natural logarithms in
/// float32. Immutable; any thread.
/// </summary>
public sealed class LogProbabilities
{
    private readonly float[] _chosen;
    private readonly int[] _topIds;
    private readonly float[] _top;

    internal LogProbabilities(int tokens, int alternatives, float[] chosen, int[] topIds, float[] top)
    {
        Tokens = tokens;
        Alternatives = alternatives;
        _chosen = chosen;
        _topIds = topIds;
        _top = top;
    }

    /// <summary>New tokens.</summary>
    public int Tokens { get; }

    /// <summary>The k of <see cref="TopIds"/>: what <see cref="GenerationOptions.LogProbabilities"/> asked for.</summary>
    public int Alternatives { get; }

    /// <summary>[tokens]: of each token that was chosen.</summary>
    public ReadOnlySpan<float> Chosen => _chosen.AsSpan(0, Tokens);

    /// <summary>[k] ids of the most probable tokens of a step, the most probable first; ties by id. −1 where fewer have a number.</summary>
    /// <param name="step">The new token in whose place they stand, from 0.</param>
    public ReadOnlySpan<int> TopIds(int step) => _topIds.AsSpan(Place(step), Alternatives);

    /// <summary>[k]: of <see cref="TopIds"/>.</summary>
    /// <param name="step">The new token in whose place they stand, from 0.</param>
    public ReadOnlySpan<float> Top(int step) => _top.AsSpan(Place(step), Alternatives);

    private int Place(int step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(step, Tokens);
        return step * Alternatives;
    }
}

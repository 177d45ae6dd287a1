namespace ParVts.Engine.Scheduling;

/// <summary>Which vectors of the rows are compared.</summary>
public enum RowSpace
{
    /// <summary>The residual stream as it enters the layer; before the decoder, the embeddings.</summary>
    Hidden,

    /// <summary>The same under the decoder's final norm.</summary>
    Normed,

    /// <summary>
    /// This layer's own keys, rotated, mean over KV heads, as <see cref="ScheduleState.ProbeEntry"/> found them before.
    /// </summary>
    EntryKeys,
}

/// <summary>
/// Measures rows for a policy, at the entry of a layer and before they change (<see cref="ScheduleState"/> tells what). A plan
/// measures nothing: there everything is zero.
/// </summary>
internal abstract class RowMeasures
{
    /// <summary>[rows, others], row by row: dot products or cosines.</summary>
    public abstract float[] Similarity(RowSpace space, ReadOnlySpan<int> rows, ReadOnlySpan<int> others, bool cosine);

    /// <summary>The cosine of each row's residual stream with the mean of other rows'.</summary>
    public abstract float[] SimilarityToMean(ReadOnlySpan<int> rows, ReadOnlySpan<int> averaged);

    /// <summary>[D]: the mean of the rows' residual stream.</summary>
    public abstract float[] Mean(ReadOnlySpan<int> rows);

    /// <summary>[rows, D]: the rows' residual stream; empty in a plan.</summary>
    public abstract float[] Hidden(ReadOnlySpan<int> rows);

    /// <summary>Of the layer before: the L1 norm of each row's keys, rotated, all KV heads together.</summary>
    public abstract float[] KeyNorms();

    /// <summary>For each row, its probability for the named rows in this layer's own attention (<see cref="ScheduleState.SetRowScores"/>).</summary>
    public abstract void ProbeEntry(ReadOnlySpan<int> rows);
}

/// <summary>What a plan measures.</summary>
internal sealed class NoMeasures(ScheduleState state, int hiddenSize) : RowMeasures
{
    public override float[] Similarity(RowSpace space, ReadOnlySpan<int> rows, ReadOnlySpan<int> others, bool cosine) =>
        new float[rows.Length * others.Length];

    public override float[] SimilarityToMean(ReadOnlySpan<int> rows, ReadOnlySpan<int> averaged) => new float[rows.Length];

    public override float[] Mean(ReadOnlySpan<int> rows) => new float[hiddenSize];

    public override float[] Hidden(ReadOnlySpan<int> rows) => [];

    public override float[] KeyNorms() => new float[state.Rows.Count];

    public override void ProbeEntry(ReadOnlySpan<int> rows) => state.SetRowScores(from: 0, read: null);
}

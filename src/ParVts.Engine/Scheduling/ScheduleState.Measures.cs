using System.Runtime.InteropServices;

namespace ParVts.Engine.Scheduling;

/// <content>What a policy may have measured, beside probes of the layer that is coming.</content>
public sealed partial class ScheduleState
{
    private readonly List<int> _probedRows = [];
    private float[] _rowScores = [];
    private float[] _classAttention = [];
    private Action<float[]>? _readRowScores;
    private Action<float[]>? _readClassAttention;
    private int _scoredRows;
    private int _classScores;
    private float[] _valueSums = [];
    private Action<float[]>? _readValueSums;
    private bool _valuesMeasured;
    private float[][] _headScores = [];
    private int[][] _watchedGroups = [];

    /// <summary>Measures rows for policies.</summary>
    internal RowMeasures Measures { get; set; } = null!;

    /// <summary>This layer measures what <see cref="ValueScores"/> gives.</summary>
    internal bool WantsValues { get; private set; }

    /// <summary>This layer measures what <see cref="HeadScores"/> gives, for these rows.</summary>
    internal int[] HeadProbedRows { get; private set; } = [];

    /// <summary>
    /// Compares rows, before they change: dot products, or cosines (0 where a row is zero). Needs
    /// <see cref="PolicyNeeds.Similarity"/>. Waits for the device.
    /// </summary>
    /// <param name="space">Which vectors of them.</param>
    /// <param name="rows">Row numbers.</param>
    /// <param name="others">Row numbers that each of them is compared with.</param>
    /// <param name="cosine">Cosines.</param>
    /// <returns>[rows, others], row by row; zeros where a run is only planned.</returns>
    public float[] Similarity(RowSpace space, ReadOnlySpan<int> rows, ReadOnlySpan<int> others, bool cosine = true)
    {
        RequireUnchanged(rows);
        RequireUnchanged(others);
        return rows.IsEmpty || others.IsEmpty ? [] : Measures.Similarity(space, rows, others, cosine);
    }

    /// <summary>The cosine of each row's residual stream with the mean of other rows'. Otherwise as <see cref="Similarity"/>.</summary>
    public float[] SimilarityToMean(ReadOnlySpan<int> rows, ReadOnlySpan<int> averaged)
    {
        RequireUnchanged(rows);
        RequireUnchanged(averaged);
        return rows.IsEmpty || averaged.IsEmpty ? new float[rows.Length] : Measures.SimilarityToMean(rows, averaged);
    }

    /// <summary>The mean of the rows' residual stream, [D]. Otherwise as <see cref="Similarity"/>.</summary>
    public float[] Mean(ReadOnlySpan<int> rows)
    {
        RequireUnchanged(rows);
        return Measures.Mean(rows);
    }

    /// <summary>The rows' residual stream, [rows, D]; empty where a run is only planned. Otherwise as <see cref="Similarity"/>.</summary>
    public float[] HiddenRows(ReadOnlySpan<int> rows)
    {
        RequireUnchanged(rows);
        return rows.IsEmpty ? [] : Measures.Hidden(rows);
    }

    /// <summary>
    /// The L1 norm of each row's keys in the layer before, rotated, all KV heads together. Otherwise as <see cref="Similarity"/>.
    /// </summary>
    /// <exception cref="PolicyException">There is no layer before, or rows have changed since.</exception>
    public float[] KeyNorms()
    {
        RequireUnchanged([]);
        if (Layer < 1 || _stored[Layer - 1] != Rows.Count)
            throw new PolicyException($"a policy asks for the keys of the layer before layer {Layer}, where its rows have none");
        return Measures.KeyNorms();
    }

    /// <summary>
    /// Measures this layer before it runs, from its own norm and projections: for each row its probability in the causal
    /// softmax of the rows that are named, mean over heads, then over those rows (PyramidDrop, arXiv 2410.17247). To be
    /// asked before rows change; from then on <see cref="RowScores"/> are these, and <see cref="KeepHighest"/> ranks by them.
    /// </summary>
    /// <param name="rows">Query rows.</param>
    public void ProbeEntry(params ReadOnlySpan<int> rows)
    {
        if (Layer < 0)
            throw new PolicyException("a policy asks for a layer's attention before the decoder");
        RequireUnchanged(rows);
        EntryKeys = Math.Max(EntryKeys, Rows.Count);
        Measures.ProbeEntry(rows);
    }

    /// <summary>
    /// Asks that this layer measure, for the last row, what its output would lose without each key (VisiPruner, arXiv 2510.17205);
    /// the next layer finds it in <see cref="ValueScores"/>. The last row must see every key. Needs <see cref="PolicyNeeds.Values"/>.
    /// </summary>
    public void ProbeValues() => WantsValues = true;

    /// <summary>
    /// What <see cref="ProbeValues"/> asked for in the layer before, for each of its rows: the cosine of the last row's attention
    /// output with and without the row, and the norm of what the row adds to it. Zeros where a run is only planned. It waits for
    /// the measuring, not for the rest of that layer (contract P2).
    /// </summary>
    /// <exception cref="PolicyException">It was not asked for.</exception>
    public (float[] Cosines, float[] Norms) ValueScores()
    {
        if (!_valuesMeasured)
            throw new PolicyException($"a policy asks at layer {Layer} for what the layer before has not measured");
        int rows = _valueSums.Length / 2;
        _readValueSums?.Invoke(_valueSums);
        float[] cosines = new float[rows];
        float[] norms = new float[rows];
        float s = _valueSums[2 * rows];
        for (int row = 0; row < rows; row++)
        {
            float a = _valueSums[row];
            float b = _valueSums[rows + row];
            float length = MathF.Sqrt(s) * MathF.Sqrt(s - 2 * a + b);
            cosines[row] = length > 0 ? (s - a) / length : 0;
            norms[row] = MathF.Sqrt(b);
        }

        return (cosines, norms);
    }

    /// <summary>
    /// Asks that this layer measure the attention of these rows head by head; the next layer finds it in <see cref="HeadScores"/>.
    /// Needs <see cref="PolicyNeeds.HeadScores"/>.
    /// </summary>
    public void ProbeHeads(ReadOnlySpan<int> rows)
    {
        RequireRows(rows);
        HeadProbedRows = rows.ToArray();
    }

    /// <summary>
    /// What <see cref="ProbeHeads"/> asked for in the layer before: for each row that was named, [heads, rows] probabilities, head by
    /// head. Empty where a run is only planned.
    /// </summary>
    public IReadOnlyList<float[]> HeadScores => _headScores;

    internal void SetHeadScores(float[][] scores) => _headScores = scores;

    /// <summary>The groups of rows that this layer watches.</summary>
    internal IReadOnlyList<int[]> WatchedGroups => _watchedGroups;

    /// <summary>
    /// What <see cref="Watch"/> asked for in the layer before: for each group, its rows' probability of each row, mean over heads, then over
    /// the group's rows. Empty where a run is only planned.
    /// </summary>
    internal IReadOnlyList<float[]> Watched { get; private set; } = [];

    /// <summary>
    /// Asks that this layer measure the attention of groups of rows, whatever policies probe (<see cref="Probe"/>). The layer waits for the
    /// device: for analyses, not for policies.
    /// </summary>
    internal void Watch(params int[][] groups)
    {
        foreach (int[] group in groups)
            RequireRows(group);
        _watchedGroups = groups;
    }

    internal void SetWatched(float[][] scores) => Watched = scores;

    /// <summary>A value probe was made, or planned.</summary>
    /// <param name="read">Fetches A of each row, B of each row, and S; null for zeros.</param>
    internal void SetValueSums(Action<float[]>? read)
    {
        _valuesMeasured = true;
        _valueSums = new float[2 * Rows.Count + 1];
        _readValueSums = read;
    }

    // What was asked of the layer before is forgotten with the layer after it.
    private void ForgetMeasures()
    {
        _valuesMeasured = WantsValues;
        WantsValues = false;
        HeadProbedRows = [];
        _watchedGroups = [];
    }

    private void RequireUnchanged(ReadOnlySpan<int> rows)
    {
        if (Change != RowChange.None)
            throw new PolicyException($"a policy measures rows at the entry of layer {Layer} after they have changed");
        RequireRows(rows);
    }

    private void RequireRows(ReadOnlySpan<int> rows)
    {
        foreach (int row in rows)
        {
            if ((uint)row >= (uint)Rows.Count)
                throw new PolicyException($"a policy probes row {row} of {Rows.Count}");
        }
    }

    /// <summary>
    /// The class token's attention to each visual token of the prefill (softmax over all tokens of its picture's tower,
    /// mean over heads, in the block whose output feeds the projector). Where a tower has no class token: the mean
    /// attention that the patch receives from all patches in that block. Empty where no policy needs it.
    /// </summary>
    public ReadOnlySpan<float> ClassAttention
    {
        get
        {
            if (_readClassAttention is null)
                return _classAttention.AsSpan(0, _classScores);
            Array.Resize(ref _classAttention, _classScores);
            _readClassAttention(_classAttention);
            _readClassAttention = null;
            return _classAttention;
        }
    }

    /// <summary>
    /// What <see cref="Probe"/> asked for in the layer before, or <see cref="ProbeEntry"/> of this one: for each row, its probability
    /// in the softmax of the rows that were named, over all their keys, mean over heads and then over those rows. As long as <see cref="Rows"/> were then.
    /// </summary>
    public ReadOnlySpan<float> RowScores
    {
        get
        {
            if (_readRowScores is null)
                return _rowScores.AsSpan(0, _scoredRows);
            Array.Resize(ref _rowScores, _scoredRows);
            _readRowScores(_rowScores);
            _readRowScores = null;
            return _rowScores;
        }
    }

    internal ReadOnlySpan<int> ProbedRows => CollectionsMarshal.AsSpan(_probedRows);

    /// <summary>Asks that this layer measure the attention of these rows; the next layer finds it in <see cref="RowScores"/>.</summary>
    /// <exception cref="PolicyException">A row is not there, or another policy probes other rows of this layer.</exception>
    public void Probe(params ReadOnlySpan<int> rows)
    {
        if (_probedRows.Count > 0 && !rows.SequenceEqual(ProbedRows))
            throw new PolicyException($"two policies probe different rows of layer {Layer}");
        foreach (int row in rows)
        {
            if ((uint)row >= (uint)Rows.Count)
                throw new PolicyException($"a policy probes row {row} of {Rows.Count}");
        }

        _probedRows.Clear();
        _probedRows.AddRange(rows);
    }

    /// <summary>The class token's attention was measured, or not.</summary>
    /// <param name="count">Visual tokens that have a score.</param>
    /// <param name="read">Fetches the scores when they are asked for; null for zeros.</param>
    internal void SetClassAttention(int count, Action<float[]>? read)
    {
        _classScores = count;
        _readClassAttention = read ?? (scores => Array.Clear(scores));
    }

    /// <summary>Where the device's scores of this prefill's rows begin, among those of all keys.</summary>
    internal int ScoresFrom { get; private set; }

    /// <summary>A probe has a score for each row.</summary>
    /// <param name="from">Scores of earlier turns' keys before them.</param>
    /// <param name="read">Fetches them when they are asked for; null for zeros.</param>
    internal void SetRowScores(int from, Action<float[]>? read)
    {
        ScoresFrom = from;
        _scoredRows = Rows.Count;
        _readRowScores = read ?? (scores => Array.Clear(scores));
    }
}

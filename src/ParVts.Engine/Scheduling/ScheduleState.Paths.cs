using System.Runtime.InteropServices;

namespace ParVts.Engine.Scheduling;

/// <content>Two paths, each with its own copy of the question, that become one again (ParVTS, arXiv 2511.18875).</content>
public sealed partial class ScheduleState
{
    private readonly List<int> _fusedRows = [];
    private readonly List<int> _otherRows = [];
    private int _splitChoice = -1;
    private float _share = float.NaN;
    private float[] _shareWeight = [];
    private int _weighedLayer = NoLayer;

    /// <summary>
    /// Fuses the question's two copies, w·path A + (1 − w)·path B, and drops the rest: its rows here, and their keys and
    /// values in every layer so far.
    /// </summary>
    /// <param name="weights">w, 0 to 1: one for all question rows, or one for each in order.</param>
    public void Fuse(ReadOnlySpan<float> weights)
    {
        BeginFusion();
        if (weights.Length != 1 && weights.Length != _fusedRows.Count)
            throw new PolicyException($"a policy gives {weights.Length} weights for {_fusedRows.Count} question rows");
        if (weights.Length == 1)
            Array.Fill(FusionWeights, weights[0]);
        else
            weights.CopyTo(FusionWeights);
        FinishFusion(weights.ToArray());
    }

    /// <summary>
    /// <see cref="Fuse"/> with a measured weight for every question row: the mean over heads of σ(lse_A − lse_B), each the
    /// log-sum-exp of the row's scaled logits over its own path's visual keys in the layer before, where
    /// <see cref="ProbePathWeights"/> must have asked for it.
    /// </summary>
    /// <exception cref="PolicyException">The layer before was not asked for it.</exception>
    public void FuseByMass()
    {
        if (_weighedLayer != Layer - 1)
            throw new PolicyException($"a policy fuses by mass at layer {Layer}, but layer {Layer - 1} was not asked to measure it");
        BeginFusion();
        FusionRule = FusionRule.PathMass;
        FinishFusion(FusionWeights);
    }

    /// <summary>
    /// <see cref="Fuse"/> with the subject's share of all that its split ranked: the sum of its scores over the sum of all.
    /// </summary>
    /// <exception cref="PolicyException">Nothing was split by rank.</exception>
    public void FuseByShare()
    {
        if (_splitChoice < 0)
        {
            if (float.IsNaN(_share))
                throw new PolicyException("a policy fuses by share, but did not split by rank");
            Fuse([_share]);
            return;
        }

        BeginFusion();
        FusionRule = FusionRule.Share;
        Array.Resize(ref _shareWeight, 1);
        FinishFusion(_shareWeight);
    }

    private void BeginFusion()
    {
        BeginChange(RowChange.Fuse);
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.Paths[row] != RowPath.Rest)
            {
                _sources.Add(row);
                _paths.Add(RowPath.Shared);
            }

            if (Rows.RoleOf(row) == RowRole.Text && Rows.Paths[row] != RowPath.Shared)
                (Rows.Paths[row] == RowPath.Subject ? _fusedRows : _otherRows).Add(row);
        }

        FusionWeights = new float[_fusedRows.Count];
        FusionRule = FusionRule.Given;
    }

    private void FinishFusion(float[] weights)
    {
        Rearrange();
        for (int layer = 0; layer < Layer; layer++)
            _stored[layer] = Math.Min(_stored[layer], _kept[layer]);
        _trace.Add(new ScheduleEvent { Layer = Layer, Kind = ScheduleEventKind.Fuse, Kept = StandIns(), Weights = weights });
    }

    internal ReadOnlySpan<int> FusedRows => CollectionsMarshal.AsSpan(_fusedRows);

    internal ReadOnlySpan<int> OtherRows => CollectionsMarshal.AsSpan(_otherRows);

    /// <summary>Of a fusion: path A's weight for each question row; filled by the engine where it is measured.</summary>
    internal float[] FusionWeights { get; private set; } = [];

    /// <summary>Where the weights come from.</summary>
    internal FusionRule FusionRule { get; private set; }

    /// <summary>Of <see cref="FusionRule.Share"/>: which of the choices that are not known here yet made the split.</summary>
    internal int SplitChoice => _splitChoice;

    internal bool WantsPathWeights { get; private set; }

    /// <summary>
    /// Lays the rows out as <c>[prefix | subject, question | rest, question]</c>: two paths that share the prefix and do
    /// not see each other. Nothing is dropped.
    /// </summary>
    /// <param name="subject">The first group: indices among the prefill's visual tokens, ascending; fewer than all.</param>
    /// <param name="score">What was ranked.</param>
    /// <param name="ranked">The visual tokens that were ranked.</param>
    /// <param name="scores">Their scores.</param>
    public void Split(ReadOnlySpan<int> subject, string? score = null, ReadOnlySpan<int> ranked = default, ReadOnlySpan<float> scores = default)
    {
        ReadBack?.Invoke();
        SplitRows(subject);
        _trace.Add(new ScheduleEvent
        {
            Layer = Math.Max(0, Layer),
            Kind = ScheduleEventKind.Split,
            Kept = AliveVisual(),
            Subject = subject.ToArray(),
            Score = score,
            Margin = Selection.Margin(ranked, scores, subject),
            Ranked = ranked.ToArray(),
            Scores = scores.ToArray(),
        });
    }

    private void SplitRows(ReadOnlySpan<int> subject)
    {
        int visual = Rows.CountOf(RowRole.Visual);
        if (subject.Length >= visual || Rows.HasTwoPaths)
            throw new PolicyException($"a policy splits {visual} visual tokens into {subject.Length} and none, or splits twice");
        for (int i = 1; i < subject.Length; i++)
        {
            if (subject[i] <= subject[i - 1])
                throw new PolicyException("a policy split visual tokens that are not in ascending order");
        }

        int[] alive = StandIns();
        foreach (int token in subject)
        {
            if (!alive.Contains(token))
                throw new PolicyException($"a policy split off visual token {token}, which is not there");
        }

        BeginChange(RowChange.Gather);
        AddPath(RowPath.Shared, subject);
        AddPath(RowPath.Subject, subject);
        AddPath(RowPath.Rest, subject);
        Rearrange();
    }

    /// <summary>Asks that this layer measure the weights of <see cref="FuseByMass"/> at the next layer's entry.</summary>
    public void ProbePathWeights()
    {
        WantsPathWeights = true;
        _weighedLayer = Layer;
    }

    private void AddPath(RowPath path, ReadOnlySpan<int> subject)
    {
        for (int row = 0; row < Rows.Count; row++)
        {
            bool belongs = Rows.RoleOf(row) switch
            {
                RowRole.Prefix => path == RowPath.Shared,
                RowRole.Visual => path == (subject.BinarySearch(Rows.TokenOf(row)) >= 0 ? RowPath.Subject : RowPath.Rest),
                _ => path != RowPath.Shared,
            };
            if (!belongs)
                continue;
            _sources.Add(row);
            _paths.Add(path);
        }
    }
}

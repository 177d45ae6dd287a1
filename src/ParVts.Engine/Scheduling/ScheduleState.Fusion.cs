namespace ParVts.Engine.Scheduling;

/// <content>The two copies of a question become one (ParVTS, arXiv 2511.18875).</content>
public sealed partial class ScheduleState
{
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
}

using ParVts.Engine.Compute;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>
/// Carries a policy's decisions out on the device: rows that move, paths that are fused, what is measured for it. One
/// caller at a time.
/// </summary>
internal sealed class ScheduleExecutor(ComputeDevice device)
{
    private readonly AttentionPlan _ownVisual = new();
    private int[] _ids = [];

    /// <summary>Makes the device's rows follow <see cref="ScheduleState.Rows"/>; true where they changed.</summary>
    public bool ChangeRows(DecoderWorkspace workspace, KvStore kv, ScheduleState state)
    {
        if (state.Change == RowChange.None)
            return false;
        if (state.Change == RowChange.Fuse)
            Fuse(workspace, kv, state);
        else
            Gather(workspace, state.Sources);
        return true;
    }

    /// <summary>Where the attention writes its log-sum-exp: nowhere, unless something is measured with it.</summary>
    public Tensor LogSumExp(DecoderWorkspace workspace, ScheduleState state) =>
        state.WantsLastRow ? workspace.LogSumExp.Slice(0, state.Rows.Count) : default;

    /// <summary>Measures what the policy asked for, between attention and MLP; returns the FLOPs that the measuring itself counted.</summary>
    public long Measure(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        long before = device.Counters.Flops;
        if (state.WantsLastRow)
            ProbeLastRow(workspace, kv, state, scale);
        if (state.WantsPathWeights)
            MeasurePathMass(workspace, kv, state, scale);
        return device.Counters.Flops - before;
    }

    private void Gather(DecoderWorkspace workspace, ReadOnlySpan<int> sources)
    {
        int rows = sources.Length;
        Tensor ids = Ids(workspace.Ids, rows);
        device.Upload(sources, ids);
        device.GatherRows(workspace.Hidden, ids, workspace.Normed.Slice(0, rows));

        // Back to where the residual stream lives: rows may have moved either way, so not in place.
        Span<int> same = Numbers(rows);
        for (int i = 0; i < rows; i++)
            same[i] = i;
        device.Upload<int>(same, ids);
        device.GatherRows(workspace.Normed.Slice(0, rows), ids, workspace.Hidden.Slice(0, rows));
    }

    private void Fuse(DecoderWorkspace workspace, KvStore kv, ScheduleState state)
    {
        int count = state.FusedRows.Length;
        if (count > 0)
        {
            Tensor first = Ids(workspace.Ids, count);
            Tensor second = Ids(workspace.OtherIds, count);
            Tensor weights = workspace.Weights with { Columns = count, Stride = count };
            device.Upload(state.FusedRows, first);
            device.Upload(state.OtherRows, second);
            if (state.FusionIsMeasured)
            {
                device.PathWeights(workspace.LogSumExp, first, second, weights);
                device.Download<float>(weights, state.FusionWeights);
            }
            else
            {
                device.Upload<float>(state.FusionWeights, weights);
            }

            device.FusePaths(workspace.Hidden, first, second, weights);
        }

        // The prefix and path A lie at the front, in order: the drop is a truncation.
        for (int layer = 0; layer < state.Layer; layer++)
            kv.Truncate(layer, state.CachedRowsOf(layer) + state.StoredRowsOf(layer));
    }

    private void ProbeLastRow(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        int rows = state.Rows.Count;
        Tensor ids = Ids(workspace.Ids, 1);
        device.Upload<int>([rows - 1], ids);
        Tensor scores = workspace.Scores with { Columns = kv.Length, Stride = kv.Length };
        device.Probe(
            workspace.Query.Slice(0, rows), kv, state.Plan, scale, workspace.LogSumExp.Slice(0, rows), ids,
            ProbeReduction.RowsAndHeads, scores);
        Tensor own = scores with { Address = scores.Address + state.CachedRows * sizeof(float), Columns = rows, Stride = rows };
        device.Download(own, state.ReceiveRowScores());
    }

    // Each question row's log-sum-exp over the visual keys of its own path that stand before it.
    private void MeasurePathMass(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        RowBatch rows = state.Rows;
        _ownVisual.Clear();
        for (int row = 0; row < rows.Count;)
        {
            int end = row + 1;
            while (end < rows.Count && IsQuestion(rows, end) == IsQuestion(rows, row) && rows.Paths[end] == rows.Paths[row])
                end++;
            if (IsQuestion(rows, row))
            {
                _ownVisual.AddSegment(row, end);
                AddVisualBefore(rows, row, state.CachedRows);
            }

            row = end;
        }

        device.SegmentAttention(
            workspace.Query.Slice(0, rows.Count), kv, _ownVisual, scale, workspace.Attended.Slice(0, rows.Count),
            workspace.LogSumExp.Slice(0, rows.Count));
    }

    private void AddVisualBefore(RowBatch rows, int before, int cached)
    {
        for (int row = 0; row < before;)
        {
            int end = row + 1;
            if (rows.Rows[row].Role == RowRole.Visual && rows.Paths[row] == rows.Paths[before])
            {
                while (end < before && rows.Rows[end].Role == RowRole.Visual && rows.Paths[end] == rows.Paths[before])
                    end++;
                _ownVisual.AddRange(new KeyRange(cached + row, cached + end, KeyRule.Full, ValueRule.None));
            }

            row = end;
        }
    }

    private static bool IsQuestion(RowBatch rows, int row) => rows.Rows[row].Role == RowRole.Text;

    private Span<int> Numbers(int count)
    {
        Array.Resize(ref _ids, Math.Max(_ids.Length, count));
        return _ids.AsSpan(0, count);
    }

    private static Tensor Ids(in Tensor all, int count) => all with { Columns = count, Stride = count };
}

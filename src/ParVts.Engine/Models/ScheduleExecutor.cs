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
        state.ProbedRows.Length > 0 ? workspace.LogSumExp.Slice(0, state.QueryCount) : default;

    /// <summary>Measures what the policy asked for, between attention and MLP; returns the FLOPs that the measuring itself counted.</summary>
    public long Measure(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        long before = device.Counters.Flops;
        if (state.ProbedRows.Length > 0)
            ProbeRows(workspace, kv, state, scale);
        if (state.WantsPathWeights)
            MeasurePathMass(workspace, kv, state, scale);
        return device.Counters.Flops - before;
    }

    private void Gather(DecoderWorkspace workspace, ReadOnlySpan<int> sources)
    {
        int rows = sources.Length;
        Tensor ids = Ids(workspace.Ids, rows);
        device.Upload(sources, ids);
        device.GatherRows(workspace.Hidden, ids, workspace.Moved.Slice(0, rows));

        // Back to where the residual stream lives: rows may have moved either way, so not in place.
        Span<int> same = Numbers(rows);
        for (int i = 0; i < rows; i++)
            same[i] = i;
        device.Upload<int>(same, ids);
        device.GatherRows(workspace.Moved.Slice(0, rows), ids, workspace.Hidden.Slice(0, rows));
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

    /// <summary>The rows that a frozen layer computes, and their rotary table, packed together.</summary>
    public (Tensor Hidden, Tensor Rotary) GatherComputed(DecoderWorkspace workspace, ScheduleState state)
    {
        int rows = state.QueryCount;
        Tensor ids = Ids(workspace.Ids, rows);
        Tensor hidden = workspace.Computed.Slice(0, rows);
        Tensor rotary = workspace.ComputedRotary.Slice(0, rows);
        device.Upload(state.ComputedRows, ids);
        device.GatherRows(workspace.Hidden, ids, hidden);
        device.GatherRows(workspace.Rotary, ids, rotary);
        return (hidden, rotary);
    }

    /// <summary>Puts the rows that a frozen layer computed back among the others.</summary>
    public void ScatterComputed(DecoderWorkspace workspace, ScheduleState state)
    {
        Tensor ids = Ids(workspace.Ids, state.QueryCount);
        device.Upload(state.ComputedRows, ids);
        device.ScatterRows(workspace.Computed.Slice(0, state.QueryCount), ids, workspace.Hidden);
    }

    /// <summary>Measures a layer's attention before it runs; its keys stand in the store for a moment.</summary>
    public float[] ProbeEntry(
        DecoderWorkspace workspace, DecoderLayer layer, KvStore kv, ScheduleState state, int[] asked, float scale, float epsilon)
    {
        int rows = state.Rows.Count;
        int cached = state.CachedRows;
        Tensor normed = workspace.Normed.Slice(0, rows);
        Tensor query = workspace.Query.Slice(0, rows);
        Tensor key = workspace.Key.Slice(0, rows);
        device.RmsNorm(workspace.Hidden.Slice(0, rows), layer.AttentionNorm, epsilon, normed);
        device.MatMul(normed, layer.Query, layer.QueryBias, query);
        device.MatMul(normed, layer.Key, layer.KeyBias, key);
        kv.Extend(state.Layer, cached + rows);
        KvLayer store = kv.Layer(state.Layer);
        device.RopeStore(query, key, key, workspace.Rotary.Slice(0, rows), store, cached);
        Tensor logSumExp = workspace.LogSumExp.Slice(0, rows);
        device.SegmentAttention(query, store, state.Plan, scale, workspace.Attended.Slice(0, rows), logSumExp);
        float[] scores = new float[rows];
        Probe(workspace, store, state.Plan, query, logSumExp, asked, cached, scores, scale);
        kv.Truncate(state.Layer, cached);
        return scores;
    }

    private void ProbeRows(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        int rows = state.QueryCount;
        if (state.KeyCount != state.Rows.Count)
            throw new PolicyException($"a policy probes layer {state.Layer}, whose store does not hold the visual rows");
        Span<int> asked = Numbers(state.ProbedRows.Length);
        for (int i = 0; i < asked.Length; i++)
        {
            asked[i] = state.IsFrozen ? state.ComputedRows.IndexOf(state.ProbedRows[i]) : state.ProbedRows[i];
            if (asked[i] < 0)
                throw new PolicyException($"a policy probes a row that layer {state.Layer} does not compute");
        }

        Probe(
            workspace, kv, state.Plan, workspace.Query.Slice(0, rows), workspace.LogSumExp.Slice(0, rows), asked, state.CachedRows,
            state.ReceiveRowScores(), scale);
    }

    private void Probe(
        DecoderWorkspace workspace, in KvLayer kv, AttentionPlan plan, in Tensor query, in Tensor logSumExp, ReadOnlySpan<int> asked,
        int cached, Span<float> own, float scale)
    {
        Tensor ids = Ids(workspace.Ids, asked.Length);
        device.Upload(asked, ids);
        Tensor scores = workspace.Scores with { Columns = kv.Length, Stride = kv.Length };
        device.Probe(query, kv, plan, scale, logSumExp, ids, ProbeReduction.RowsAndHeads, scores);
        Tensor part = scores with { Address = scores.Address + cached * sizeof(float), Columns = own.Length, Stride = own.Length };
        device.Download(part, own);
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

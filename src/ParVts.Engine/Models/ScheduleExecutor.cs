using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>
/// Carries a policy's decisions out on the device: rows that move, paths that are fused, what is measured for it. One
/// caller at a time.
/// </summary>
internal sealed class ScheduleExecutor(ComputeDevice device) : IDisposable
{
    private readonly AttentionPlan _ownVisual = new();
    private Readback? _values;
    private int[] _ids = [];
    private bool _defers;
    private bool _compact;
    private bool _weightsPending;

    /// <summary>The device makes the choices by rank, and they are read back when somebody asks, or at the end.</summary>
    public void Begin(DecoderWorkspace workspace, ScheduleState state, bool defers, bool compact)
    {
        _defers = defers;
        _compact = compact;
        _weightsPending = false;
        state.ReadBack = () => ReadBack(workspace, state);
    }

    /// <summary>
    /// Makes the device's rows follow <see cref="ScheduleState.Rows"/>; true where their rotary positions are to be uploaded
    /// again.
    /// </summary>
    public bool ChangeRows(DecoderWorkspace workspace, KvStore kv, ScheduleState state)
    {
        switch (state.Change)
        {
            case RowChange.None:
                return false;
            case RowChange.Fuse:
                // What is left are the first rows, as they were.
                Fuse(workspace, kv, state);
                return false;
            case RowChange.Merge:
                Merge(workspace, state.Merged!);
                return true;
            default:
                return Gather(workspace, state);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _values?.Dispose();

    /// <summary>Reads back what the device has decided.</summary>
    public void ReadBack(DecoderWorkspace workspace, ScheduleState state)
    {
        for (int i = 0; i < state.Pending.Count; i++)
        {
            RankedChoice choice = state.Pending[i];
            device.Download<int>(PlacesOf(workspace, i, choice), choice.Places);
            device.Download<float>(ScoresOf(workspace, i, choice), choice.Scores);
        }

        if (_weightsPending)
        {
            Span<float> weights = state.FusionWeights;
            device.Download(workspace.Weights with { Columns = weights.Length, Stride = weights.Length }, weights);
            state.ReceiveShare();
        }

        _weightsPending = false;
        state.Resolve();
    }

    /// <summary>Where the attention writes its log-sum-exp: nowhere, unless something is measured with it.</summary>
    public Tensor LogSumExp(DecoderWorkspace workspace, ScheduleState state) =>
        state.ProbedRows.Length > 0 || state.WantsValues || state.HeadProbedRows.Length > 0 || state.WatchedGroups.Count > 0
            ? workspace.LogSumExp.Slice(0, state.QueryCount) : default;

    /// <summary>Measures what the policy asked for, between attention and MLP; returns the FLOPs that the measuring itself counted.</summary>
    public long Measure(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        long before = device.Counters.Flops;

        // Before what a policy probes, whose scores stay on the device until they are asked for.
        if (state.WatchedGroups.Count > 0)
            WatchRows(workspace, kv, state, scale);
        if (state.ProbedRows.Length > 0)
            ProbeRows(workspace, kv, state, scale);
        if (state.WantsValues)
            ProbeValues(workspace, kv, state, scale);
        if (state.HeadProbedRows.Length > 0)
            ProbeHeads(workspace, kv, state, scale);
        if (state.WantsPathWeights)
            MeasurePathMass(workspace, kv, state, scale);
        return device.Counters.Flops - before;
    }

    private void Merge(DecoderWorkspace workspace, RowMap map)
    {
        int entries = map.Sources.Length;
        Tensor offsets = workspace.Offsets with { Columns = map.Rows + 1, Stride = map.Rows + 1 };
        Tensor sources = Ids(workspace.Ids, entries);
        Tensor weights = workspace.Weights with { Columns = entries, Stride = entries };
        device.Upload<int>(map.Offsets, offsets);
        device.Upload<int>(map.Sources, sources);
        device.Upload<float>(map.Weights, weights);
        Tensor moved = workspace.Moved.Slice(0, map.Rows);
        device.MergeRows(workspace.Hidden, offsets, sources, weights, moved);
        device.Convert(moved, workspace.Hidden.Slice(0, map.Rows));
    }

    private bool Gather(DecoderWorkspace workspace, ScheduleState state)
    {
        int rows = state.Sources.Length;
        Tensor ids = Ids(workspace.Ids, rows);
        if (state.Choice is RankedChoice choice)
            Choose(workspace, state, choice, ids);
        else
            device.Upload(state.Sources, ids);

        // By way of other memory: rows may move either way.
        Tensor moved = workspace.Moved.Slice(0, rows);
        device.GatherRows(workspace.Hidden, ids, moved);
        device.Convert(moved, workspace.Hidden.Slice(0, rows));
        if (!_defers || state.Pending.Count == DecoderWorkspace.PendingChoices)
            ReadBack(workspace, state);
        if (state.Pending.Count == 0 || _compact)
            return true;

        // Which rows these are is not known here: their positions move on the device, as if they were numbers of another kind.
        Tensor positions = workspace.Positions with { Type = TensorType.F32 };
        Tensor kept = workspace.MovedPositions.Slice(0, rows);
        device.GatherRows(positions, ids, kept);
        device.Convert(kept, positions.Slice(0, rows));
        device.RotaryTable(workspace.Positions.Slice(0, rows), workspace.Frequencies, workspace.Rotary.Slice(0, rows));
        return false;
    }

    // The device ranks, and works out which old row each new one is.
    private void Choose(DecoderWorkspace workspace, ScheduleState state, RankedChoice choice, in Tensor ids)
    {
        int slot = state.Pending.Count - 1;
        Tensor places = PlacesOf(workspace, slot, choice);
        Tensor scores = ScoresOf(workspace, slot, choice);
        int kept = 0;
        int rest = choice.Kept;
        foreach (RankGroup group in choice.Groups)
        {
            if (group.Count == 0)
                continue;
            Tensor source = choice.Source == TokenScore.ClassAttention
                ? Part(workspace.ClassScores, group.First, group.Count)
                : Part(workspace.Scores, state.ScoresFrom + choice.RankedRows[group.First], group.Count);
            Tensor own = Part(scores, group.First, group.Count);
            device.Convert(source, own);
            int others = group.Count - group.Keep;
            device.SelectTop(own, group.First, Part(places, kept, group.Keep), others > 0 ? Part(places, rest, others) : default);
            kept += group.Keep;
            rest += others;
        }

        Tensor template = Ids(workspace.OtherIds, ids.Columns);
        Tensor rows = Ids(workspace.RankedRows, choice.RankedRows.Length);
        device.Upload(state.Template, template);
        device.Upload<int>(choice.RankedRows, rows);
        device.ResolveRows(template, places, rows, ids);
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
            switch (state.FusionRule)
            {
                case FusionRule.PathMass:
                    device.PathWeights(workspace.LogSumExp, first, second, weights);
                    break;
                case FusionRule.Share:
                    RankedChoice split = state.Pending[state.SplitChoice];
                    device.ScoreShare(
                        ScoresOf(workspace, state.SplitChoice, split), Part(PlacesOf(workspace, state.SplitChoice, split), 0, split.Kept), weights);
                    break;
                default:
                    device.Upload<float>(state.FusionWeights, weights);
                    break;
            }

            device.FusePaths(workspace.Hidden, first, second, weights);
            _weightsPending = state.FusionRule != FusionRule.Given;
            if (!_defers)
                ReadBack(workspace, state);
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

    private void ProbeRows(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        Probe(workspace, kv, state, state.ProbedRows, scale);
        int cached = state.CachedRows;
        state.SetRowScores(cached, scores => device.Download<float>(Part(workspace.Scores, cached, scores.Length), scores));
    }

    private void WatchRows(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        float[][] watched = new float[state.WatchedGroups.Count][];
        for (int group = 0; group < watched.Length; group++)
        {
            Probe(workspace, kv, state, state.WatchedGroups[group], scale);
            watched[group] = new float[state.Rows.Count];
            device.Download<float>(Part(workspace.Scores, state.CachedRows, watched[group].Length), watched[group]);
        }

        state.SetWatched(watched);
    }

    // Rows are named by their place in the batch; a frozen layer's queries are fewer.
    private void Probe(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, ReadOnlySpan<int> named, float scale)
    {
        int rows = state.QueryCount;
        if (state.KeyCount != state.Rows.Count)
            throw new PolicyException($"a policy probes layer {state.Layer}, whose store does not hold the visual rows");
        Span<int> asked = Numbers(named.Length);
        for (int i = 0; i < asked.Length; i++)
            asked[i] = QueryOf(state, named[i]);
        Probe(workspace, kv, state.Plan, workspace.Query.Slice(0, rows), workspace.LogSumExp.Slice(0, rows), asked, scale);
    }

    // The place of a row among those that the layer computes.
    private static int QueryOf(ScheduleState state, int row)
    {
        int query = state.IsFrozen ? state.ComputedRows.IndexOf(row) : row;
        return query >= 0 ? query : throw new PolicyException($"a policy probes a row that layer {state.Layer} does not compute");
    }

    // The last row sees every key, so a decode step's attention gives its output, in float32.
    private void ProbeValues(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        int last = state.QueryCount - 1;
        int cached = state.CachedRows;
        int keys = kv.Length;
        if (state.KeyCount != state.Rows.Count)
            throw new PolicyException($"a policy probes layer {state.Layer}, whose store does not hold the visual rows");
        Tensor query = workspace.Query.Slice(0, state.QueryCount);
        device.DecodeAttention(query.Slice(last, 1), kv, scale, workspace.LastAttended);
        Tensor ids = Ids(workspace.Ids, 1);
        device.Upload<int>([last], ids);
        Tensor all = Part(workspace.ValueSums, 0, 2 * keys + 1);
        var sums = new Tensor(all.Address, all.Type, 2, keys);
        device.ValueProbe(
            query, workspace.LastAttended, kv, state.Plan, scale, workspace.LogSumExp.Slice(0, state.QueryCount), ids, sums, Part(all, 2 * keys, 1));
        _values ??= device.CreateReadback(workspace.ValueSums.Columns * sizeof(float));
        _values.Begin(all);
        state.SetValueSums(values =>
        {
            float[] read = new float[2 * keys + 1];
            _values.Finish<float>(read);
            int rows = keys - cached;
            read.AsSpan(cached, rows).CopyTo(values);
            read.AsSpan(keys + cached, rows).CopyTo(values.AsSpan(rows));
            values[^1] = read[^1];
        });
    }

    private void ProbeHeads(DecoderWorkspace workspace, in KvLayer kv, ScheduleState state, float scale)
    {
        int heads = workspace.LogSumExp.Columns;
        int queries = state.QueryCount;
        int rows = state.KeyCount;
        int cached = state.CachedRows;
        if (rows != state.Rows.Count)
            throw new PolicyException($"a policy probes layer {state.Layer}, whose store does not hold the visual rows");
        Tensor ids = Ids(workspace.Ids, 1);
        var scores = new Tensor(workspace.HeadScores.Address, TensorType.F32, heads, kv.Length);
        float[] read = new float[heads * kv.Length];
        float[][] found = new float[state.HeadProbedRows.Length][];
        for (int i = 0; i < found.Length; i++)
        {
            device.Upload<int>([QueryOf(state, state.HeadProbedRows[i])], ids);
            device.Probe(
                workspace.Query.Slice(0, queries), kv, state.Plan, scale, workspace.LogSumExp.Slice(0, queries), ids, ProbeReduction.Rows, scores);
            device.Download(scores, read.AsSpan());
            found[i] = new float[heads * rows];
            for (int head = 0; head < heads; head++)
                read.AsSpan(head * kv.Length + cached, rows).CopyTo(found[i].AsSpan(head * rows));
        }

        state.SetHeadScores(found);
    }

    private void Probe(
        DecoderWorkspace workspace, in KvLayer kv, AttentionPlan plan, in Tensor query, in Tensor logSumExp, ReadOnlySpan<int> asked, float scale)
    {
        Tensor ids = Ids(workspace.Ids, asked.Length);
        device.Upload(asked, ids);
        Tensor scores = workspace.Scores with { Columns = kv.Length, Stride = kv.Length };
        device.Probe(query, kv, plan, scale, logSumExp, ids, ProbeReduction.RowsAndHeads, scores);
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
            if (rows.RoleOf(row) == RowRole.Visual && rows.Paths[row] == rows.Paths[before])
            {
                while (end < before && rows.RoleOf(end) == RowRole.Visual && rows.Paths[end] == rows.Paths[before])
                    end++;
                _ownVisual.AddRange(new KeyRange(cached + row, cached + end, KeyRule.Full, ValueRule.None));
            }

            row = end;
        }
    }

    private static bool IsQuestion(RowBatch rows, int row) => rows.RoleOf(row) == RowRole.Text;

    private Span<int> Numbers(int count)
    {
        Array.Resize(ref _ids, Math.Max(_ids.Length, count));
        return _ids.AsSpan(0, count);
    }

    private static Tensor Ids(in Tensor all, int count) => all with { Columns = count, Stride = count };

    // Elements of a row of numbers.
    private static Tensor Part(in Tensor row, int first, int count) =>
        row with { Address = row.Address + first * row.ElementBytes, Columns = count, Stride = count };

    private static Tensor PlacesOf(DecoderWorkspace workspace, int slot, RankedChoice choice) =>
        Part(workspace.Places.Slice(slot, 1), 0, choice.Places.Length);

    private static Tensor ScoresOf(DecoderWorkspace workspace, int slot, RankedChoice choice) =>
        Part(workspace.RankedScores.Slice(slot, 1), 0, choice.Scores.Length);
}

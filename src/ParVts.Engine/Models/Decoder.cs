using System.Globalization;
using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>
/// A Llama-type decoder over rows: pre-norm attention with rotary positions and grouped KV heads, gated MLP. One
/// caller at a time.
/// </summary>
internal sealed class Decoder(ComputeDevice device, DecoderWeights weights, TextConfig config, ProfileRanges ranges) : IDisposable
{
    private readonly WatchedStep _watched = new();
    private readonly StepRecording _recording = new(device);
    private readonly ScheduleExecutor _schedule = new(device);
    private readonly Rotary _rotary = new(config.Rope, config.HeadDim, config.MaxPositions);
    private readonly float[] _frequencies = new float[config.HeadDim / 2];
    private readonly int[] _stepPosition = new int[3];
    private readonly int[] _stepId = new int[1];
    private Action<DecoderWorkspace, KvStore, bool, DeviceSampler?>? _step;
    private readonly float _scale = 1f / MathF.Sqrt(config.HeadDim);

    /// <summary>Writes the embeddings of <paramref name="ids"/> to rows <paramref name="first"/> … of the hidden rows.</summary>
    public void Embed(DecoderWorkspace workspace, ReadOnlySpan<int> ids, int first)
    {
        Tensor place = workspace.Ids with { Columns = ids.Length, Stride = ids.Length };
        device.Upload(ids, place);
        device.Embed(weights.Embedding, place, workspace.Hidden.Slice(first, ids.Length));
    }

    /// <summary>
    /// Runs the rows of <paramref name="state"/>, whose embeddings lie in the hidden rows, through every layer, and leaves
    /// the last row's logits. Before the decoder and between layers the policy acts; cancellation is looked for between
    /// layers; <paramref name="progress"/> gets (layers done, layers).
    /// </summary>
    public void Prefill(
        DecoderWorkspace workspace, KvStore kv, VisualTokenPolicy policy, ScheduleState state, ScheduleTrace trace,
        Action<int, int>? progress, StageSink? sink, CancellationToken cancellation)
    {
        using ProfileRanges.Scope whole = ranges.Begin(RangeKind.Prefill, state.Rows.Count);
        sink?.Invoke("inputs_embeds", workspace.Hidden.Slice(0, state.Rows.Count));

        // Whoever watches wants to know which rows these are.
        _schedule.Begin(workspace, state, defers: device.RunsAhead && sink is null, policy.CompactPositions);
        SetPositions(workspace, state.Rows.Rope);
        state.Measures = new ScheduleMeasures(device, weights, workspace, kv, state, config);
        using (ranges.Begin(RangeKind.Policy, state.Rows.Count))
            policy.OnVisionTokens(state);
        EnterDecoder(workspace, kv, state);
        for (int layer = 0; layer < weights.Layers.Length; layer++)
        {
            cancellation.ThrowIfCancellationRequested();
            state.Enter(layer);
            using (ranges.Begin(RangeKind.Policy, state.Rows.Count, layer))
            {
                policy.BeforeLayer(state);
                state.Settle();
            }

            using ProfileRanges.Scope range = ranges.Begin(RangeKind.Layer, state.QueryCount, layer, ranges.IsOn ? state.Stage : RangeStage.None);
            bool moved = _schedule.ChangeRows(workspace, kv, state);
            if (policy.CompactPositions)
                moved |= state.Rows.Renumber(state.CachedRows);
            if (moved)
                SetPositions(workspace, state.Rows.Rope);
            int rows = state.Rows.Count;
            sink?.Invoke(Stage("hidden", layer), workspace.Hidden.Slice(0, rows));
            kv.Extend(layer, state.CachedRows + state.KeyCount);
            state.Store();
            trace.FlopsCountedByLayer[layer] =
                RunLayer(workspace, weights.Layers[layer], kv.Layer(layer), rows, state.CachedRows, state);
            trace.Record(state);
            progress?.Invoke(layer + 1, weights.Layers.Length);
        }

        int last = state.Rows.Count;
        using ProfileRanges.Scope logits = ranges.Begin(RangeKind.Logits, 1);
        sink?.Invoke(Stage("hidden", weights.Layers.Length), workspace.Hidden.Slice(0, last));
        ComputeLogits(workspace, last - 1);
    }

    // The rows follow what the policy decided before the first layer.
    private void EnterDecoder(DecoderWorkspace workspace, KvStore kv, ScheduleState state)
    {
        if (state.Change == RowChange.None)
            return;
        using ProfileRanges.Scope range = ranges.Begin(
            RangeKind.Rows, state.Rows.Count, stage: ranges.IsOn ? state.Stage & ~RangeStage.Paths : RangeStage.None);
        if (_schedule.ChangeRows(workspace, kv, state))
            SetPositions(workspace, state.Rows.Rope);
    }

    /// <summary>Feeds one token and leaves the logits of the next. Allocates nothing.</summary>
    /// <param name="workspace">The activations.</param>
    /// <param name="kv">The cache, with room for one more row in every layer.</param>
    /// <param name="token">The token's id.</param>
    /// <param name="position">Its rotary position.</param>
    /// <param name="policy">Says whether its position in each layer is that layer's length instead, and what it sees where that is not everything.</param>
    /// <param name="state">What the policy sees of the step.</param>
    /// <param name="sampler">Has chosen the token, and chooses the next one at the end of the step; null where the host does.</param>
    public void Step(
        DecoderWorkspace workspace, KvStore kv, int token, int position, VisualTokenPolicy policy, DecodeState state, DeviceSampler? sampler)
    {
        kv.PrepareStep();
        if (sampler is null)
        {
            _stepId[0] = token;
            device.Upload<int>(_stepId, workspace.Ids with { Columns = 1, Stride = 1 });
        }

        _stepPosition.AsSpan().Fill(position);
        device.Upload<int>(_stepPosition, workspace.Positions.Slice(0, 1));
        SetFrequencies(workspace, position + 1);
        bool probes = policy.ProbesStep(state.Step);
        if (probes || policy.PlansSteps)
        {
            _watched.Begin(policy, state, probes);
            RunStep(workspace, kv, policy.CompactPositions, sampler, _watched);
        }
        else
        {
            _recording.Run(workspace, kv, policy.CompactPositions, sampler, _step ??= RunStep);
        }

        kv.CommitStep();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _recording.Dispose();
        _schedule.Dispose();
    }

    /// <summary>The name of a layer's tensor in a dump.</summary>
    public static string Stage(string name, int layer) => name + "." + layer.ToString(CultureInfo.InvariantCulture);

    // All that a step reads, its length and position included, lies in device memory: the same operations for every step.
    private void RunStep(DecoderWorkspace workspace, KvStore kv, bool compact, DeviceSampler? sampler) =>
        RunStep(workspace, kv, compact, sampler, watched: null);

    private void RunStep(DecoderWorkspace workspace, KvStore kv, bool compact, DeviceSampler? sampler, WatchedStep? watched)
    {
        Tensor token = sampler?.Token ?? workspace.Ids with { Columns = 1, Stride = 1 };
        device.Embed(weights.Embedding, token, workspace.Hidden.Slice(0, 1));
        Tensor rotary = workspace.Rotary.Slice(0, 1);
        if (!compact)
            device.RotaryTable(workspace.Positions.Slice(0, 1), workspace.Frequencies, rotary);
        for (int layer = 0; layer < weights.Layers.Length; layer++)
        {
            using ProfileRanges.Scope range = ranges.Begin(RangeKind.Layer, 1, layer);
            KvLayer held = kv.StepLayer(layer);
            if (compact)
                device.RotaryTable(new Tensor(held.LengthAt, TensorType.I32, 1, 1), workspace.Frequencies, rotary);
            watched?.Enter(layer, held.Length);
            RunLayer(workspace, weights.Layers[layer], held, 1, KvLayer.AtLength, state: null, watched);
        }

        ComputeLogits(workspace, 0);
        device.Increment(kv.DeviceLengths);
        sampler?.Choose(workspace.Logits);
    }

    private void SetPositions(DecoderWorkspace workspace, ReadOnlySpan<int> rope)
    {
        int rows = rope.Length / 3;
        int length = 0;
        foreach (int position in rope)
            length = Math.Max(length, position + 1);
        SetFrequencies(workspace, length);
        Tensor positions = workspace.Positions.Slice(0, rows);
        device.Upload(rope, positions);
        device.RotaryTable(positions, workspace.Frequencies, workspace.Rotary.Slice(0, rows));
    }

    private void SetFrequencies(DecoderWorkspace workspace, int length)
    {
        _rotary.ForLength(length, _frequencies);
        device.Upload<float>(_frequencies, workspace.Frequencies);
    }

    private void ProbeStep(DecoderWorkspace workspace, WatchedStep watched, in KvLayer held)
    {
        int keys = held.Length + 1;
        _stepId[0] = 0;
        Tensor ids = workspace.Ids with { Columns = 1, Stride = 1 };
        device.Upload<int>(_stepId, ids);
        Tensor scores = workspace.Scores with { Columns = keys, Stride = keys };
        device.PreProbe(
            workspace.Query.Slice(0, 1), held with { Length = keys }, watched.Plan, _scale, ids, ProbeReduction.RowsAndHeads, scores);
        device.Download(scores, watched.Probabilities(keys));
    }

    /// <summary>Runs one layer; returns the FLOPs that its operations counted, what was only measured left out.</summary>
    private long RunLayer(
        DecoderWorkspace workspace, DecoderLayer layer, in KvLayer kv, int rows, int firstRow, ScheduleState? state,
        WatchedStep? watched = null)
    {
        long before = device.Counters.Flops;
        float epsilon = (float)config.NormEpsilon;
        Tensor hidden = workspace.Hidden.Slice(0, rows);
        Tensor rotary = workspace.Rotary.Slice(0, rows);
        bool frozen = state is { IsFrozen: true };
        bool ownKeys = !frozen || !state!.FrozenGiveKeys;
        if (!ownKeys)
            StoreKeys(workspace, layer, kv, hidden, rotary, firstRow);
        if (frozen)
        {
            (hidden, rotary) = _schedule.GatherComputed(workspace, state!);
            rows = hidden.Rows;
        }

        Tensor normed = workspace.Normed.Slice(0, rows);
        Tensor query = workspace.Query.Slice(0, rows);
        Tensor attended = workspace.Attended.Slice(0, rows);
        device.RmsNorm(hidden, layer.AttentionNorm, epsilon, normed);
        device.MatMul(normed, layer.Query, layer.QueryBias, query);
        if (ownKeys)
        {
            Tensor key = workspace.Key.Slice(0, rows);
            Tensor value = workspace.Value.Slice(0, rows);
            device.MatMul(normed, layer.Key, layer.KeyBias, key);
            device.MatMul(normed, layer.Value, layer.ValueBias, value);
            device.RopeStore(query, key, value, rotary, kv, firstRow);
        }
        else
        {
            device.RopeStore(query, default, default, rotary, kv, firstRow);
        }

        if (watched is { Plans: true })
            device.SegmentAttention(query, kv with { Length = kv.Length + 1 }, watched.Plan, _scale, attended);
        else if (state is null)
            device.DecodeAttention(query, kv, _scale, attended);
        else
            device.SegmentAttention(query, kv, state.Plan, _scale, attended, _schedule.LogSumExp(workspace, state));
        device.MatMul(attended, layer.Output, layer.OutputBias, hidden, accumulate: true);

        // Queries are still there, and the attention's output is free: the moment to measure.
        if (watched is { Probes: true })
            ProbeStep(workspace, watched, kv);
        long measured = state is null ? 0 : _schedule.Measure(workspace, kv, state, _scale);

        device.RmsNorm(hidden, layer.MlpNorm, epsilon, normed);
        if (state is null || state.MlpShare == 1 || frozen)
            RunMlp(workspace, layer, normed, hidden, config.IntermediateSize);
        else
            RunThinMlp(workspace, layer, state, normed, hidden);
        if (frozen)
            _schedule.ScatterComputed(workspace, state!);
        return device.Counters.Flops - before - measured;
    }

    // Visual rows go through the first of the inner channels alone.
    private void RunThinMlp(DecoderWorkspace workspace, DecoderLayer layer, ScheduleState state, in Tensor normed, in Tensor hidden)
    {
        foreach (RowRun run in state.Runs())
        {
            int count = run.End - run.Start;
            int channels = run.Role == RowRole.Visual ? config.IntermediateSize / state.MlpShare : config.IntermediateSize;
            RunMlp(workspace, layer, normed.Slice(run.Start, count), hidden.Slice(run.Start, count), channels);
        }
    }

    private void RunMlp(DecoderWorkspace workspace, DecoderLayer layer, in Tensor normed, in Tensor hidden, int channels)
    {
        if (channels == 0)
            return;
        Tensor gate = workspace.Gate.Slice(0, hidden.Rows) with { Columns = channels };
        Tensor up = workspace.Up.Slice(0, hidden.Rows) with { Columns = channels };
        Tensor inner = workspace.Inner.Slice(0, hidden.Rows) with { Columns = channels };
        device.MatMul(normed, layer.Gate.Slice(0, channels), Part(layer.GateBias, channels), gate);
        device.MatMul(normed, layer.Up.Slice(0, channels), Part(layer.UpBias, channels), up);
        device.GatedActivate(gate, up, config.Activation, inner);
        device.MatMul(inner, layer.Down with { Columns = channels }, layer.DownBias, hidden, accumulate: true);
    }

    private static Tensor Part(in Tensor bias, int count) => bias.IsEmpty ? bias : bias with { Columns = count };

    // Keys and values of all rows as they are: what a frozen layer's visual rows give the others.
    private void StoreKeys(
        DecoderWorkspace workspace, DecoderLayer layer, in KvLayer kv, in Tensor hidden, in Tensor rotary, int firstRow)
    {
        Tensor normed = workspace.Normed.Slice(0, hidden.Rows);
        Tensor key = workspace.Key.Slice(0, hidden.Rows);
        Tensor value = workspace.Value.Slice(0, hidden.Rows);
        device.RmsNorm(hidden, layer.AttentionNorm, (float)config.NormEpsilon, normed);
        device.MatMul(normed, layer.Key, layer.KeyBias, key);
        device.MatMul(normed, layer.Value, layer.ValueBias, value);
        device.RopeStore(default, key, value, rotary, kv, firstRow);
    }

    private void ComputeLogits(DecoderWorkspace workspace, int row)
    {
        Tensor normed = workspace.Normed.Slice(0, 1);
        device.RmsNorm(workspace.Hidden.Slice(row, 1), weights.Norm, (float)config.NormEpsilon, normed);
        device.MatMul(normed, weights.Head, default, workspace.Logits);
    }
}

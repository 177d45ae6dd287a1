using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>
/// A vision transformer, CLIP's (arXiv 2103.00020) or SigLIP's (arXiv 2303.15343): patches, and CLIP's class token, through
/// pre-norm blocks. One caller at a time.
/// </summary>
internal sealed class VisionTower
{
    private readonly ComputeDevice _device;
    private readonly VisionWeights _weights;
    private readonly VisionConfig _config;
    private readonly ProfileRanges _ranges;
    private readonly int[] _ids;
    private readonly float _scale;
    private readonly AttentionPlan _plan = new();
    private readonly TowerMeasures _measures;

    public VisionTower(ComputeDevice device, VisionWeights weights, VisionConfig config, ProfileRanges ranges)
    {
        _device = device;
        _weights = weights;
        _config = config;
        _ranges = ranges;
        _ids = Enumerable.Range(0, config.Rows).ToArray();
        _scale = 1f / MathF.Sqrt(config.HiddenSize / config.Heads);
        _measures = new TowerMeasures(device, weights, config);
    }

    /// <summary>Runs one picture; the result is the first rows of <see cref="VisionWorkspace.Hidden"/>, class token first.</summary>
    /// <param name="workspace">The activations.</param>
    /// <param name="kv">A store of one layer, which every block writes anew.</param>
    /// <param name="pixels">[3, H, W], normalised.</param>
    /// <param name="policy">May merge rows between blocks, and says what is to be measured.</param>
    /// <param name="state">The state of this picture.</param>
    /// <returns>Rows of the result.</returns>
    public int Run(VisionWorkspace workspace, KvStore kv, ReadOnlySpan<float> pixels, VisualTokenPolicy policy, VisionState state)
    {
        using ProfileRanges.Scope whole = _ranges.Begin(RangeKind.Vision, _ids.Length);
        Embed(workspace, pixels);
        state.Rows = _ids.Length;
        state.IsFinal = false;
        state.ClassRows = _config.ClassRows;
        state.Blocks = _weights.Layers.Length;
        state.Width = _config.HiddenSize;
        state.Heads = _config.Heads;
        state.KeyBias = null;
        state.Labels = null;
        state.Measures = _measures;
        state.ReadClassAttention = rows =>
        {
            float[] scores = new float[rows];
            _device.Download<float>(workspace.Scores with { Columns = rows, Stride = rows }, scores);
            return scores;
        };
        for (int block = 0; block < _weights.Layers.Length; block++)
        {
            state.Block = block;
            using ProfileRanges.Scope range = _ranges.Begin(RangeKind.Block, state.Rows, block);
            bool measure = block == _weights.Layers.Length - 1 && policy.Needs.HasFlag(PolicyNeeds.ClassAttention);
            RunBlock(workspace, _weights.Layers[block], kv, policy, state, measure);
        }

        state.Block = _weights.Layers.Length;
        _measures.Begin(workspace, state.Rows);
        policy.InVisionLayer(state);
        Merge(workspace, state);
        return state.Rows;
    }

    private void Embed(VisionWorkspace workspace, ReadOnlySpan<float> pixels)
    {
        _device.Upload(pixels, workspace.Pixels);
        _device.Upload<int>(_ids, workspace.Ids);
        _device.Patchify(workspace.Pixels, _config.PatchSize, workspace.Patches);
        Tensor patches = workspace.Hidden.Slice(_config.ClassRows, workspace.Patches.Rows);
        if (_config.HasClassToken)
            _device.Embed(_weights.ClassToken, workspace.Ids with { Columns = 1, Stride = 1 }, workspace.Hidden.Slice(0, 1));
        _device.MatMul(workspace.Patches, _weights.Patch, _weights.PatchBias, patches);
        _device.Embed(_weights.Positions, workspace.Ids, workspace.Hidden, accumulate: true);
        if (!_weights.PreNorm.IsEmpty)
        {
            float epsilon = (float)_config.NormEpsilon;
            _device.LayerNorm(workspace.Hidden, _weights.PreNorm, _weights.PreNormBias, epsilon, workspace.Hidden);
        }
    }

    private void RunBlock(
        VisionWorkspace workspace, VisionLayer layer, KvStore kv, VisualTokenPolicy policy, VisionState state, bool measure)
    {
        int rows = state.Rows;
        float epsilon = (float)_config.NormEpsilon;
        Tensor query = workspace.Query.Slice(0, rows);
        Tensor key = workspace.Key.Slice(0, rows);
        Tensor value = workspace.Value.Slice(0, rows);
        Tensor attended = workspace.Attended.Slice(0, rows);
        Tensor normed = workspace.Normed.Slice(0, rows);
        Tensor hidden = workspace.Hidden.Slice(0, rows);
        kv.Truncate(0, 0);
        kv.Extend(0, rows);
        _plan.SetFull(rows);
        if (state.KeyBias is float[] bias)
            _plan.SetKeyBias(bias);
        _device.LayerNorm(hidden, layer.Norm1, layer.Norm1Bias, epsilon, normed);
        _device.MatMul(normed, layer.Query, layer.QueryBias, query);
        _device.MatMul(normed, layer.Key, layer.KeyBias, key);
        _device.MatMul(normed, layer.Value, layer.ValueBias, value);
        _device.RopeStore(query, key, value, default, kv.Layer(0), 0);
        _device.SegmentAttention(
            query, kv.Layer(0), _plan, _scale, attended, measure ? workspace.LogSumExp.Slice(0, rows) : default);
        _device.MatMul(attended, layer.Output, layer.OutputBias, hidden, accumulate: true);
        if (measure)
            MeasureClassAttention(workspace, kv.Layer(0), rows);
        _measures.Begin(workspace, rows);
        policy.InVisionLayer(state);
        Merge(workspace, state);

        hidden = workspace.Hidden.Slice(0, state.Rows);
        normed = workspace.Normed.Slice(0, state.Rows);
        Tensor mlp = workspace.Mlp.Slice(0, state.Rows);
        _device.LayerNorm(hidden, layer.Norm2, layer.Norm2Bias, epsilon, normed);
        _device.MatMul(normed, layer.Up, layer.UpBias, mlp);
        Tensor inner = workspace.Inner.Slice(0, state.Rows);
        _device.Activate(mlp, _config.Activation, inner);
        _device.MatMul(inner, layer.Down, layer.DownBias, hidden, accumulate: true);
    }

    private void MeasureClassAttention(VisionWorkspace workspace, in KvLayer kv, int rows)
    {
        int asked = _config.HasClassToken ? 1 : rows;
        Tensor ids = workspace.Ids with { Columns = asked, Stride = asked };
        Tensor scores = workspace.Scores with { Columns = rows, Stride = rows };
        _device.Upload<int>(_ids.AsSpan(0, asked), ids);
        _device.Probe(
            workspace.Query.Slice(0, rows), kv, _plan, _scale, workspace.LogSumExp.Slice(0, rows), ids,
            ProbeReduction.RowsAndHeads, scores);
    }

    private void Merge(VisionWorkspace workspace, VisionState state)
    {
        if (state.Map is not RowMap map)
            return;
        state.Map = null;
        workspace.Upload(_device, map, out Tensor offsets, out Tensor sources, out Tensor weights);
        Tensor merged = workspace.Moved.Slice(0, map.Rows);
        _device.MergeRows(workspace.Hidden.Slice(0, state.Rows), offsets, sources, weights, merged);

        // Back to where the residual stream lives.
        Tensor same = workspace.Ids with { Columns = map.Rows, Stride = map.Rows };
        _device.Upload<int>(_ids.AsSpan(0, map.Rows), same);
        _device.GatherRows(merged, same, workspace.Hidden.Slice(0, map.Rows));
        state.Rows = map.Rows;
    }
}

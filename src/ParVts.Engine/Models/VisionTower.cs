using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>One block of the tower.</summary>
internal sealed record VisionLayer(
    Tensor Norm1, Tensor Norm1Bias, Tensor Query, Tensor QueryBias, Tensor Key, Tensor KeyBias, Tensor Value,
    Tensor ValueBias, Tensor Output, Tensor OutputBias, Tensor Norm2, Tensor Norm2Bias, Tensor Up, Tensor UpBias,
    Tensor Down, Tensor DownBias);

/// <summary>A CLIP vision tower's weights, up to the layer whose output is used. Immutable; any thread.</summary>
internal sealed class VisionWeights
{
    public required Tensor ClassToken { get; init; }

    public required Tensor Patch { get; init; }

    public required Tensor Positions { get; init; }

    public required Tensor PreNorm { get; init; }

    public required Tensor PreNormBias { get; init; }

    public required VisionLayer[] Layers { get; init; }

    /// <summary>Binds them under any of the published namings.</summary>
    public static VisionWeights Bind(WeightBinder binder, VisionConfig config, int featureLayer)
    {
        string prefix = binder.FindPrefix(
            "vision tower", "embeddings.patch_embedding.weight",
            "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.", "model.vision_tower.");
        int d = config.HiddenSize;
        int p = config.PatchSize;
        int rows = config.PatchesPerSide * config.PatchesPerSide + 1;
        var layers = new VisionLayer[featureLayer];
        for (int layer = 0; layer < layers.Length; layer++)
            layers[layer] = BindLayer(binder, config, $"{prefix}encoder.layers.{layer}.");

        // Blocks behind the feature layer and the pooled output's norm are in every checkpoint, and unused.
        binder.Ignore(name => IsBehind(name, prefix, featureLayer, config.Layers));
        return new VisionWeights
        {
            ClassToken = binder.Matrix(prefix + "embeddings.class_embedding", 1, d, d),
            Patch = binder.Matrix(prefix + "embeddings.patch_embedding.weight", d, 3 * p * p, d, 3, p, p),
            Positions = binder.Matrix(prefix + "embeddings.position_embedding.weight", rows, d),
            PreNorm = binder.Vector(prefix + "pre_layrnorm.weight", d),
            PreNormBias = binder.Vector(prefix + "pre_layrnorm.bias", d),
            Layers = layers,
        };
    }

    private static bool IsBehind(string name, string prefix, int featureLayer, int layers)
    {
        if (!name.StartsWith(prefix, StringComparison.Ordinal))
            return false;
        string rest = name[prefix.Length..];
        if (rest.StartsWith("post_layernorm.", StringComparison.Ordinal) || rest == "embeddings.position_ids")
            return true;
        for (int layer = featureLayer; layer < layers; layer++)
        {
            if (rest.StartsWith($"encoder.layers.{layer}.", StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    private static VisionLayer BindLayer(WeightBinder binder, VisionConfig config, string prefix)
    {
        int d = config.HiddenSize;
        int f = config.IntermediateSize;
        string attention = prefix + "self_attn.";
        return new VisionLayer(
            binder.Vector(prefix + "layer_norm1.weight", d),
            binder.Vector(prefix + "layer_norm1.bias", d),
            binder.Matrix(attention + "q_proj.weight", d, d),
            binder.Vector(attention + "q_proj.bias", d),
            binder.Matrix(attention + "k_proj.weight", d, d),
            binder.Vector(attention + "k_proj.bias", d),
            binder.Matrix(attention + "v_proj.weight", d, d),
            binder.Vector(attention + "v_proj.bias", d),
            binder.Matrix(attention + "out_proj.weight", d, d),
            binder.Vector(attention + "out_proj.bias", d),
            binder.Vector(prefix + "layer_norm2.weight", d),
            binder.Vector(prefix + "layer_norm2.bias", d),
            binder.Matrix(prefix + "mlp.fc1.weight", f, d),
            binder.Vector(prefix + "mlp.fc1.bias", f),
            binder.Matrix(prefix + "mlp.fc2.weight", d, f),
            binder.Vector(prefix + "mlp.fc2.bias", d));
    }
}

/// <summary>The activations of one picture in the tower and the projector.</summary>
internal sealed class VisionWorkspace
{
    public VisionWorkspace(Arena arena, ModelConfig config)
    {
        VisionConfig vision = config.Vision;
        int patches = vision.PatchesPerSide * vision.PatchesPerSide;
        Pixels = arena.Take(TensorType.F32, 3 * vision.ImageSize, vision.ImageSize);
        Ids = arena.Take(TensorType.I32, 1, patches + 1);
        Patches = arena.Take(TensorType.F32, patches, 3 * vision.PatchSize * vision.PatchSize);
        Hidden = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        Normed = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        long mark = arena.Mark;
        Query = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        Key = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        Value = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        Attended = arena.Take(TensorType.F32, patches + 1, vision.HiddenSize);
        arena.Return(mark);
        Mlp = arena.Take(TensorType.F32, patches + 1, vision.IntermediateSize);
        arena.Return(mark);
        Projected = arena.Take(TensorType.F32, patches + 1, config.Text.HiddenSize);
    }

    public Tensor Pixels { get; }

    public Tensor Ids { get; }

    public Tensor Patches { get; }

    public Tensor Hidden { get; }

    public Tensor Normed { get; }

    public Tensor Query { get; }

    public Tensor Key { get; }

    public Tensor Value { get; }

    public Tensor Attended { get; }

    public Tensor Mlp { get; }

    public Tensor Projected { get; }
}

/// <summary>A CLIP vision transformer (arXiv 2103.00020): patches and a class token through pre-norm blocks. One caller at a time.</summary>
internal sealed class VisionTower
{
    private readonly ComputeDevice _device;
    private readonly VisionWeights _weights;
    private readonly VisionConfig _config;
    private readonly int[] _ids;
    private readonly AttentionPlan _plan = new();

    public VisionTower(ComputeDevice device, VisionWeights weights, VisionConfig config)
    {
        _device = device;
        _weights = weights;
        _config = config;
        _ids = Enumerable.Range(0, config.PatchesPerSide * config.PatchesPerSide + 1).ToArray();
        _plan.SetFull(_ids.Length);
    }

    /// <summary>Runs one picture; the result is all rows of <see cref="VisionWorkspace.Hidden"/>, class token first.</summary>
    /// <param name="workspace">The activations.</param>
    /// <param name="kv">A store of one layer, which every block writes anew.</param>
    /// <param name="pixels">[3, H, W], normalised.</param>
    public void Run(VisionWorkspace workspace, KvStore kv, ReadOnlySpan<float> pixels)
    {
        int patches = _ids.Length - 1;
        _device.Upload(pixels, workspace.Pixels);
        _device.Upload<int>(_ids, workspace.Ids);
        _device.Patchify(workspace.Pixels, _config.PatchSize, workspace.Patches);
        _device.Embed(_weights.ClassToken, workspace.Ids with { Columns = 1, Stride = 1 }, workspace.Hidden.Slice(0, 1));
        _device.MatMul(workspace.Patches, _weights.Patch, default, workspace.Hidden.Slice(1, patches));
        _device.Embed(_weights.Positions, workspace.Ids, workspace.Hidden, accumulate: true);
        float epsilon = (float)_config.NormEpsilon;
        _device.LayerNorm(workspace.Hidden, _weights.PreNorm, _weights.PreNormBias, epsilon, workspace.Hidden);
        kv.Extend(0, _ids.Length);
        foreach (VisionLayer layer in _weights.Layers)
            RunLayer(workspace, layer, kv.Layer(0), epsilon);
    }

    private void RunLayer(VisionWorkspace workspace, VisionLayer layer, in KvLayer kv, float epsilon)
    {
        float scale = 1f / MathF.Sqrt(_config.HiddenSize / _config.Heads);
        _device.LayerNorm(workspace.Hidden, layer.Norm1, layer.Norm1Bias, epsilon, workspace.Normed);
        _device.MatMul(workspace.Normed, layer.Query, layer.QueryBias, workspace.Query);
        _device.MatMul(workspace.Normed, layer.Key, layer.KeyBias, workspace.Key);
        _device.MatMul(workspace.Normed, layer.Value, layer.ValueBias, workspace.Value);
        _device.RopeStore(workspace.Query, workspace.Key, workspace.Value, default, kv, 0);
        _device.SegmentAttention(workspace.Query, kv, _plan, scale, workspace.Attended);
        _device.MatMul(workspace.Attended, layer.Output, layer.OutputBias, workspace.Hidden, accumulate: true);
        _device.LayerNorm(workspace.Hidden, layer.Norm2, layer.Norm2Bias, epsilon, workspace.Normed);
        _device.MatMul(workspace.Normed, layer.Up, layer.UpBias, workspace.Mlp);
        _device.Activate(workspace.Mlp, _config.Activation);
        _device.MatMul(workspace.Mlp, layer.Down, layer.DownBias, workspace.Hidden, accumulate: true);
    }
}

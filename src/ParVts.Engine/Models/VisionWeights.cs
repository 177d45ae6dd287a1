using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>One block of the tower.</summary>
internal sealed record VisionLayer(
    Tensor Norm1, Tensor Norm1Bias, Tensor Query, Tensor QueryBias, Tensor Key, Tensor KeyBias, Tensor Value,
    Tensor ValueBias, Tensor Output, Tensor OutputBias, Tensor Norm2, Tensor Norm2Bias, Tensor Up, Tensor UpBias,
    Tensor Down, Tensor DownBias);

/// <summary>
/// A CLIP or SigLIP vision tower's weights, up to the layer whose output is used. CLIP has a class token and a norm before
/// the first block, SigLIP a bias on its patches. Immutable; any thread.
/// </summary>
internal sealed class VisionWeights
{
    /// <summary>Default where there is none.</summary>
    public required Tensor ClassToken { get; init; }

    public required Tensor Patch { get; init; }

    public required Tensor PatchBias { get; init; }

    public required Tensor Positions { get; init; }

    public required Tensor PreNorm { get; init; }

    public required Tensor PreNormBias { get; init; }

    public required VisionLayer[] Layers { get; init; }

    /// <summary>The block behind them, whose keys a policy may ask for; null where there is none.</summary>
    public required VisionLayer? Next { get; init; }

    /// <summary>Binds them under any of the published namings.</summary>
    public static VisionWeights Bind(WeightBinder binder, VisionConfig config, int featureLayer)
    {
        string prefix = binder.FindPrefix(
            "vision tower", "embeddings.patch_embedding.weight",
            "vision_tower.vision_model.", "vision_tower.", "model.vision_tower.vision_model.", "model.vision_tower.");
        int d = config.HiddenSize;
        int p = config.PatchSize;
        bool clip = config.HasClassToken;
        var layers = new VisionLayer[featureLayer];
        for (int layer = 0; layer < layers.Length; layer++)
            layers[layer] = BindLayer(binder, config, $"{prefix}encoder.layers.{layer}.");

        // Of the blocks behind the feature layer one is asked for by name; the others, and what pools the output, are unused.
        VisionLayer? next = featureLayer < config.Layers ? BindKeys(binder, config, $"{prefix}encoder.layers.{featureLayer}.") : null;
        binder.Ignore(name => IsBehind(name, prefix, featureLayer, config.Layers));
        return new VisionWeights
        {
            ClassToken = clip ? binder.Matrix(prefix + "embeddings.class_embedding", 1, d, d) : default,
            Patch = binder.Matrix(prefix + "embeddings.patch_embedding.weight", d, 3 * p * p, d, 3, p, p),
            PatchBias = clip ? default : binder.Vector(prefix + "embeddings.patch_embedding.bias", d),
            Positions = binder.Matrix(prefix + "embeddings.position_embedding.weight", config.Rows, d),
            PreNorm = clip ? binder.Vector(prefix + "pre_layrnorm.weight", d) : default,
            PreNormBias = clip ? binder.Vector(prefix + "pre_layrnorm.bias", d) : default,
            Layers = layers,
            Next = next,
        };
    }

    private static bool IsBehind(string name, string prefix, int featureLayer, int layers)
    {
        if (!name.StartsWith(prefix, StringComparison.Ordinal))
            return false;
        string rest = name[prefix.Length..];
        if (rest.StartsWith("post_layernorm.", StringComparison.Ordinal)
            || rest.StartsWith("head.", StringComparison.Ordinal)
            || rest == "embeddings.position_ids")
            return true;
        for (int layer = featureLayer; layer < layers; layer++)
        {
            if (rest.StartsWith($"encoder.layers.{layer}.", StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    // The first norm, queries and keys alone.
    private static VisionLayer BindKeys(WeightBinder binder, VisionConfig config, string prefix)
    {
        int d = config.HiddenSize;
        string attention = prefix + "self_attn.";
        Tensor none = default;
        return new VisionLayer(
            binder.Vector(prefix + "layer_norm1.weight", d),
            binder.Vector(prefix + "layer_norm1.bias", d),
            binder.Matrix(attention + "q_proj.weight", d, d),
            binder.Vector(attention + "q_proj.bias", d),
            binder.Matrix(attention + "k_proj.weight", d, d),
            binder.Vector(attention + "k_proj.bias", d),
            none, none, none, none, none, none, none, none, none, none);
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

using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>The matrices of one decoder layer; biases are default where the model has none.</summary>
internal sealed record DecoderLayer
{
    public required Tensor AttentionNorm { get; init; }

    public required Tensor Query { get; init; }

    public required Tensor Key { get; init; }

    public required Tensor Value { get; init; }

    public Tensor QueryBias { get; init; }

    public Tensor KeyBias { get; init; }

    public Tensor ValueBias { get; init; }

    public required Tensor Output { get; init; }

    public Tensor OutputBias { get; init; }

    public required Tensor MlpNorm { get; init; }

    public required Tensor Gate { get; init; }

    public required Tensor Up { get; init; }

    public required Tensor Down { get; init; }

    public Tensor GateBias { get; init; }

    public Tensor UpBias { get; init; }

    public Tensor DownBias { get; init; }
}

/// <summary>A Llama-type decoder's weights (Llama, Mistral, Qwen2). Immutable; any thread.</summary>
internal sealed class DecoderWeights
{
    private DecoderWeights(Tensor embedding, DecoderLayer[] layers, Tensor norm, Tensor head)
    {
        Embedding = embedding;
        Layers = layers;
        Norm = norm;
        Head = head;
    }

    public Tensor Embedding { get; }

    public DecoderLayer[] Layers { get; }

    public Tensor Norm { get; }

    /// <summary>[vocabulary, D]; the embedding itself where they are tied.</summary>
    public Tensor Head { get; }

    /// <summary>Binds them under any of the published namings.</summary>
    public static DecoderWeights Bind(WeightBinder binder, TextConfig config, bool tied)
    {
        string prefix = binder.FindPrefix(
            "decoder", "embed_tokens.weight", "language_model.model.", "model.language_model.", "model.");
        int d = config.HiddenSize;
        var layers = new DecoderLayer[config.Layers];
        for (int layer = 0; layer < layers.Length; layer++)
            layers[layer] = BindLayer(binder, config, $"{prefix}layers.{layer}.");
        Tensor embedding = binder.Matrix(prefix + "embed_tokens.weight", config.VocabularySize, d);
        Tensor norm = binder.Vector(prefix + "norm.weight", d);
        string[] headNames = ["language_model.lm_head.", "lm_head.", "model.lm_head."];
        Tensor head = embedding;
        if (tied)
            binder.Ignore(name => headNames.Contains(name.Replace("weight", "", StringComparison.Ordinal)));
        else
            head = binder.Matrix(binder.FindPrefix("language-model head", "weight", headNames) + "weight", config.VocabularySize, d);
        binder.Ignore(name => name.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal));
        return new DecoderWeights(embedding, layers, norm, head);
    }

    private static DecoderLayer BindLayer(WeightBinder binder, TextConfig config, string prefix)
    {
        int d = config.HiddenSize;
        int query = config.Heads * config.HeadDim;
        int keyValue = config.KeyValueHeads * config.HeadDim;
        string attention = prefix + "self_attn.";
        string mlp = prefix + "mlp.";
        Tensor Bias(bool present, string name, int length) => present ? binder.Vector(name, length) : default;
        return new DecoderLayer
        {
            AttentionNorm = binder.Vector(prefix + "input_layernorm.weight", d),
            Query = binder.Matrix(attention + "q_proj.weight", query, d),
            Key = binder.Matrix(attention + "k_proj.weight", keyValue, d),
            Value = binder.Matrix(attention + "v_proj.weight", keyValue, d),
            Output = binder.Matrix(attention + "o_proj.weight", d, query),
            QueryBias = Bias(config.QkvBias, attention + "q_proj.bias", query),
            KeyBias = Bias(config.QkvBias, attention + "k_proj.bias", keyValue),
            ValueBias = Bias(config.QkvBias, attention + "v_proj.bias", keyValue),
            OutputBias = Bias(config.OutputBias, attention + "o_proj.bias", d),
            MlpNorm = binder.Vector(prefix + "post_attention_layernorm.weight", d),
            Gate = binder.Matrix(mlp + "gate_proj.weight", config.IntermediateSize, d),
            Up = binder.Matrix(mlp + "up_proj.weight", config.IntermediateSize, d),
            Down = binder.Matrix(mlp + "down_proj.weight", d, config.IntermediateSize),
            GateBias = Bias(config.MlpBias, mlp + "gate_proj.bias", config.IntermediateSize),
            UpBias = Bias(config.MlpBias, mlp + "up_proj.bias", config.IntermediateSize),
            DownBias = Bias(config.MlpBias, mlp + "down_proj.bias", d),
        };
    }
}

using System.Text.Json;

namespace ParVts.Engine.Formats;

/// <summary>The "text_config" of a model: the decoder.</summary>
internal static class TextConfigReader
{
    private const string Prefix = "text_config.";

    // What the families' own config classes take where a file says nothing. Key-value heads: null stands for "as many as heads".
    private static readonly Defaults[] Families =
    [
        new("llama", 32000, 4096, 11008, 32, 32, null, 2048, 1e-6),
        new("mistral", 32000, 4096, 14336, 32, 32, 8, 131072, 1e-6),
        new("qwen2", 151936, 4096, 22016, 32, 32, 32, 32768, 1e-6),
    ];

    private sealed record Defaults(
        string ModelType, int Vocabulary, int Hidden, int Intermediate, int Layers, int Heads, int? KeyValueHeads, int Positions, double Epsilon);

    public static TextConfig Convert(TextConfigJson json, in Checked check)
    {
        string type = json.ModelType ?? "llama";
        Defaults defaults = Array.Find(Families, family => family.ModelType == type)
            ?? throw check.Wrong(
                Prefix + "model_type", $"the decoder '{type}' is not supported; supported are {string.Join(", ", Families.Select(family => family.ModelType))}");

        int hidden = check.Integer(Prefix + "hidden_size", json.HiddenSize ?? defaults.Hidden, 1, 65536);
        int heads = check.Integer(Prefix + "num_attention_heads", json.NumAttentionHeads ?? defaults.Heads, 1, 1024);
        int keyValueHeads = KeyValueHeads(json, heads, defaults, check);
        int positions = check.Integer(Prefix + "max_position_embeddings", json.MaxPositionEmbeddings ?? defaults.Positions, 1, 1 << 24);
        CheckSlidingWindow(json, type, positions, check);
        return new TextConfig
        {
            ModelType = type,
            HiddenSize = hidden,
            IntermediateSize = check.Integer(Prefix + "intermediate_size", json.IntermediateSize ?? defaults.Intermediate, 1, 1 << 20),
            Layers = check.Integer(Prefix + "num_hidden_layers", json.NumHiddenLayers ?? defaults.Layers, 1, 1024),
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadDim = HeadDim(json, hidden, heads, check),
            VocabularySize = check.Integer(Prefix + "vocab_size", json.VocabSize ?? defaults.Vocabulary, 1, 1 << 22),
            MaxPositions = positions,
            NormEpsilon = check.Number(Prefix + "rms_norm_eps", json.RmsNormEps ?? defaults.Epsilon, 0, 1),
            Activation = Activations.Parse(check, Prefix + "hidden_act", json.HiddenAct ?? "silu"),
            Rope = RopeConfigReader.Convert(json, positions, Prefix, check),
            QkvBias = type == "qwen2" || (type == "llama" && json.AttentionBias is true),
            OutputBias = type == "llama" && json.AttentionBias is true,
            MlpBias = type == "llama" && json.MlpBias is true,
        };
    }

    private static int KeyValueHeads(TextConfigJson json, int heads, Defaults defaults, in Checked check)
    {
        const string Property = Prefix + "num_key_value_heads";
        int missing = json.NumKeyValueHeads.ValueKind == JsonValueKind.Undefined ? defaults.KeyValueHeads ?? heads : heads;
        int count = check.Integer(Property, ModelConfigReader.IntegerOr(json.NumKeyValueHeads, missing, Property, check), 1, heads);
        return heads % count == 0 ? count : throw check.Wrong(Property, $"is {count}, which does not divide the {heads} attention heads");
    }

    private static int HeadDim(TextConfigJson json, int hidden, int heads, in Checked check)
    {
        if (json.HeadDim is null && hidden % heads != 0)
            throw check.Wrong(Prefix + "hidden_size", $"is {hidden}, which is no multiple of the {heads} attention heads, and no head_dim is given");
        int size = check.Integer(Prefix + "head_dim", json.HeadDim ?? hidden / heads, 2, 1024);
        return size % 2 == 0 ? size : throw check.Wrong(Prefix + "head_dim", $"is {size}; rotary positions need an even number");
    }

    /// <summary>A window that is as long as the context hides nothing; a shorter one is not supported.</summary>
    private static void CheckSlidingWindow(TextConfigJson json, string type, int positions, in Checked check)
    {
        const string Property = Prefix + "sliding_window";
        const int Default = 4096;
        bool inUse = type switch
        {
            // Mistral's config class has a window of 4096 unless the file says null.
            "mistral" => json.SlidingWindow.ValueKind != JsonValueKind.Null,
            "qwen2" => json.UseSlidingWindow is true && json.SlidingWindow.ValueKind != JsonValueKind.Null,
            _ => false,
        };
        if (!inUse)
            return;
        int window = check.Integer(Property, ModelConfigReader.IntegerOr(json.SlidingWindow, Default, Property, check), 1, int.MaxValue);
        if (window < positions)
        {
            throw check.Wrong(
                Property, $"sliding-window attention is not supported: the window is {window}, the context {positions}. Set it to null, or max_position_embeddings to {window} or less");
        }
    }
}

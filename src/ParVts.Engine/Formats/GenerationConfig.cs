namespace ParVts.Engine.Formats;

/// <summary>How a model's makers want text to be generated: generation_config.json, completed from config.json.</summary>
public sealed record GenerationConfig
{
    /// <summary>The file's name in a model folder.</summary>
    public const string FileName = "generation_config.json";

    /// <summary>The token that begins a text, or null.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>The tokens that end a text; empty where none is named.</summary>
    public int[] EosTokenIds { get; init; } = [];

    /// <summary>The padding token, or null.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>Whether tokens are drawn; greedy otherwise.</summary>
    public bool DoSample { get; init; }

    /// <summary>Divides the logits; at least 0.</summary>
    public float? Temperature { get; init; }

    /// <summary>How many of the likeliest tokens may be drawn; 0 means all.</summary>
    public int? TopK { get; init; }

    /// <summary>The probability that the drawn tokens make up together, 0 to 1.</summary>
    public float? TopP { get; init; }

    /// <summary>The least probability of a drawn token, as a part of the likeliest one's, 0 to 1.</summary>
    public float? MinP { get; init; }

    /// <summary>Above 1, tokens that were there before become less likely; greater than 0.</summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>How many tokens are generated at most.</summary>
    public int? MaxNewTokens { get; init; }

    /// <summary>
    /// Reads the settings of a model folder. Where generation_config.json is missing or names no special tokens, those of
    /// config.json count, then those of its text_config, then the decoder family's own. Any thread.
    /// </summary>
    /// <exception cref="ModelFormatException">A file is malformed, or a value out of range.</exception>
    public static GenerationConfig Read(string modelDirectory)
    {
        GenerationConfigJson? json = JsonFile.ReadIfThere(modelDirectory, FileName, ConfigJson.Default.GenerationConfigJson);
        ModelTokensJson? model = JsonFile.ReadIfThere(modelDirectory, ModelConfigReader.FileName, ConfigJson.Default.ModelTokensJson);
        return Convert(json ?? new(), Path.Combine(modelDirectory, FileName), model ?? new(), Path.Combine(modelDirectory, ModelConfigReader.FileName));
    }

    /// <summary>Reads the settings from the bytes of the file alone.</summary>
    internal static GenerationConfig Parse(ReadOnlySpan<byte> json, string file) =>
        Convert(JsonFile.Parse(json, file, ConfigJson.Default.GenerationConfigJson), file, new(), file);

    private static GenerationConfig Convert(GenerationConfigJson json, string file, ModelTokensJson model, string modelFile)
    {
        var check = new Checked(file);
        var modelCheck = new Checked(modelFile);
        ModelTokensJson text = model.TextConfig ?? new();

        // Llama's and Mistral's config classes have <s> and </s> where a file says nothing; Qwen2's has none.
        bool llamaLike = model.ModelType is not null && text.ModelType is null or "llama" or "mistral";
        return new GenerationConfig
        {
            BosTokenId = Single("bos_token_id", json.BosTokenId, check)
                ?? Single("bos_token_id", model.BosTokenId, modelCheck)
                ?? Single("text_config.bos_token_id", text.BosTokenId, modelCheck)
                ?? (llamaLike ? 1 : null),
            EosTokenIds = Several("eos_token_id", json.EosTokenId, check)
                ?? Several("eos_token_id", model.EosTokenId, modelCheck)
                ?? Several("text_config.eos_token_id", text.EosTokenId, modelCheck)
                ?? (llamaLike ? [2] : []),
            PadTokenId = Single("pad_token_id", json.PadTokenId, check)
                ?? Single("pad_token_id", model.PadTokenId, modelCheck)
                ?? Single("text_config.pad_token_id", text.PadTokenId, modelCheck),
            DoSample = json.DoSample ?? false,
            Temperature = Number("temperature", json.Temperature, 0, 1e6, check),
            TopK = json.TopK is int topK ? check.Integer("top_k", topK, 0, int.MaxValue) : null,
            TopP = Number("top_p", json.TopP, 0, 1, check),
            MinP = Number("min_p", json.MinP, 0, 1, check),
            RepetitionPenalty = Number("repetition_penalty", json.RepetitionPenalty, 1e-3, 1e3, check),
            MaxNewTokens = json.MaxNewTokens is int most ? check.Integer("max_new_tokens", most, 1, int.MaxValue) : null,
        };
    }

    private static float? Number(string property, double? value, double least, double most, in Checked check) =>
        value is double number ? (float)check.Number(property, number, least, most) : null;

    private static int? Single(string property, TokenIds? ids, in Checked check) =>
        Several(property, ids, check) switch
        {
            null => null,
            [int id] => id,
            _ => throw check.Wrong(property, "must be one token id"),
        };

    /// <summary>The ids, or null where there are none: old files write -1 for that.</summary>
    private static int[]? Several(string property, TokenIds? ids, in Checked check)
    {
        if (ids is null or { Ids: [] or [-1] })
            return null;
        foreach (int id in ids.Ids)
            check.Integer(property, id, 0, int.MaxValue);
        return ids.Ids;
    }
}

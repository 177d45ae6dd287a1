namespace ParVts.Engine.Formats;

/// <summary>How text and pictures are brought together: processor_config.json.</summary>
public sealed record ProcessorConfig
{
    /// <summary>The file's name in a model folder.</summary>
    public const string FileName = "processor_config.json";

    /// <summary>"processor_class", or null.</summary>
    public string? ProcessorClass { get; init; }

    /// <summary>The placeholder for a picture in the prompt's text; "&lt;image&gt;" where the file says nothing.</summary>
    public string ImageToken { get; init; } = "<image>";

    /// <summary>The vision tower's patch size, or null where the file leaves it out.</summary>
    public int? PatchSize { get; init; }

    /// <summary>"default" or "full", or null where the file leaves it out.</summary>
    public string? VisionFeatureSelectStrategy { get; init; }

    /// <summary>How many tokens the tower adds to the patches (the class token).</summary>
    public int NumAdditionalImageTokens { get; init; }

    /// <summary>Reads the file in a model folder; where it is missing, everything has its default. Any thread.</summary>
    /// <exception cref="ModelFormatException">The file is malformed, or a value out of range.</exception>
    public static ProcessorConfig Read(string modelDirectory)
    {
        ProcessorConfigJson? json = JsonFile.ReadIfThere(modelDirectory, FileName, ConfigJson.Default.ProcessorConfigJson);
        return Convert(json ?? new(), new Checked(Path.Combine(modelDirectory, FileName)));
    }

    /// <summary>Reads the settings from the bytes of the file.</summary>
    internal static ProcessorConfig Parse(ReadOnlySpan<byte> json, string file) =>
        Convert(JsonFile.Parse(json, file, ConfigJson.Default.ProcessorConfigJson), new Checked(file));

    private static ProcessorConfig Convert(ProcessorConfigJson json, in Checked check)
    {
        if (json.VisionFeatureSelectStrategy is not (null or "default" or "full"))
            throw check.Wrong("vision_feature_select_strategy", $"is '{json.VisionFeatureSelectStrategy}', but must be 'default' or 'full'");
        if (json.ImageToken is { Content: "" })
            throw check.Wrong("image_token", "is empty");
        return new ProcessorConfig
        {
            ProcessorClass = json.ProcessorClass,
            ImageToken = json.ImageToken?.Content ?? "<image>",
            PatchSize = json.PatchSize is int patch ? check.Integer("patch_size", patch, 1, 1024) : null,
            VisionFeatureSelectStrategy = json.VisionFeatureSelectStrategy,
            NumAdditionalImageTokens = check.Integer("num_additional_image_tokens", json.NumAdditionalImageTokens ?? 0, 0, 1024),
        };
    }
}

using System.Text.Json;

namespace ParVts.Engine.Formats;

/// <summary>What stands beside a tokenizer: tokenizer_config.json and the chat template.</summary>
public sealed record TokenizerConfig
{
    /// <summary>The file's name in a model folder.</summary>
    public const string FileName = "tokenizer_config.json";

    private const string DefaultTemplate = "default";
    private const int MaxTemplates = 64;

    /// <summary>"tokenizer_class", or null.</summary>
    public string? TokenizerClass { get; init; }

    /// <summary>The text of the token that begins a text, or null.</summary>
    public string? BosToken { get; init; }

    /// <summary>The text of the token that ends a text, or null.</summary>
    public string? EosToken { get; init; }

    /// <summary>The text of the padding token, or null.</summary>
    public string? PadToken { get; init; }

    /// <summary>The text of the token for what the vocabulary does not have, or null.</summary>
    public string? UnkToken { get; init; }

    /// <summary>The text of the picture placeholder, or null.</summary>
    public string? ImageToken { get; init; }

    /// <summary>Whether the beginning token is put in front, or null where the file leaves it to the tokenizer.</summary>
    public bool? AddBosToken { get; init; }

    /// <summary>Whether the end token is put behind, or null where the file leaves it to the tokenizer.</summary>
    public bool? AddEosToken { get; init; }

    /// <summary>"legacy": Llama's old rule for the space in front of a text; null where the file says nothing.</summary>
    public bool? Legacy { get; init; }

    /// <summary>"clean_up_tokenization_spaces", or null.</summary>
    public bool? CleanUpTokenizationSpaces { get; init; }

    /// <summary>The greatest number of tokens, or null where there is no limit (files write 1e30 for that).</summary>
    public int? ModelMaxLength { get; init; }

    /// <summary>
    /// The chat template (Jinja), or null: chat_template.jinja, else chat_template.json, else that of tokenizer_config.json
    /// (of several, the one named "default"), else that of processor_config.json.
    /// </summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Reads the files of a model folder; where tokenizer_config.json is missing, everything is null. Any thread.</summary>
    /// <exception cref="ModelFormatException">A file is malformed.</exception>
    public static TokenizerConfig Read(string modelDirectory)
    {
        TokenizerConfigJson? json = JsonFile.ReadIfThere(modelDirectory, FileName, ConfigJson.Default.TokenizerConfigJson);
        TokenizerConfig config = Convert(json ?? new(), new Checked(Path.Combine(modelDirectory, FileName)));
        string? template = TemplateFile(modelDirectory) ?? config.ChatTemplate
            ?? JsonFile.ReadIfThere(modelDirectory, ProcessorConfig.FileName, ConfigJson.Default.ProcessorConfigJson)?.ChatTemplate;
        return config with { ChatTemplate = template };
    }

    /// <summary>Reads the settings from the bytes of tokenizer_config.json alone.</summary>
    internal static TokenizerConfig Parse(ReadOnlySpan<byte> json, string file) =>
        Convert(JsonFile.Parse(json, file, ConfigJson.Default.TokenizerConfigJson), new Checked(file));

    private static TokenizerConfig Convert(TokenizerConfigJson json, in Checked check)
    {
        if (json.ModelMaxLength is double length)
            check.Number("model_max_length", length, 1, double.MaxValue);
        return new TokenizerConfig
        {
            TokenizerClass = json.TokenizerClass,
            BosToken = json.BosToken?.Content,
            EosToken = json.EosToken?.Content,
            PadToken = json.PadToken?.Content,
            UnkToken = json.UnkToken?.Content,
            ImageToken = json.ImageToken?.Content,
            AddBosToken = json.AddBosToken,
            AddEosToken = json.AddEosToken,
            Legacy = json.Legacy,
            CleanUpTokenizationSpaces = json.CleanUpTokenizationSpaces,
            ModelMaxLength = json.ModelMaxLength is double limit and < int.MaxValue ? (int)limit : null,
            ChatTemplate = Template(json.ChatTemplate, check),
        };
    }

    private static string? TemplateFile(string folder)
    {
        string jinja = Path.Combine(folder, "chat_template.jinja");
        if (File.Exists(jinja))
            return JsonFile.ReadText(jinja);
        const string Name = "chat_template.json";
        ChatTemplateJson? json = JsonFile.ReadIfThere(folder, Name, ConfigJson.Default.ChatTemplateJson);
        return json is null ? null : Template(json.ChatTemplate, new Checked(Path.Combine(folder, Name)));
    }

    /// <summary>A text, or a list of {name, template}: then the one named "default", or the only one.</summary>
    private static string? Template(JsonElement value, in Checked check)
    {
        const string Property = "chat_template";
        if (value.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null)
            return null;
        if (value.ValueKind == JsonValueKind.String)
            return value.GetString();
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() > MaxTemplates)
            throw check.Wrong(Property, $"must be a text, or a list of at most {MaxTemplates} objects with name and template");

        var templates = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (JsonElement entry in value.EnumerateArray())
        {
            if (entry.ValueKind != JsonValueKind.Object
                || !entry.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String
                || !entry.TryGetProperty("template", out JsonElement template) || template.ValueKind != JsonValueKind.String)
            {
                throw check.Wrong(Property, "must be a text, or a list of objects with name and template");
            }

            if (!templates.TryAdd(name.GetString()!, template.GetString()!))
                throw check.Wrong(Property, $"'{name.GetString()}' occurs twice");
        }

        return templates.TryGetValue(DefaultTemplate, out string? chosen) ? chosen
            : templates.Count == 1 ? templates.Values.First()
            : null;
    }
}

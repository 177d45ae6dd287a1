using System.Text.Json;

namespace ParVts.Engine.Formats;

/// <summary>Reads config.json, fills in the defaults that public files leave out, and holds every number against sane limits.</summary>
/// <remarks>
/// The limits (hidden size at most 65,536, vocabulary at most 4,194,304 …) are beyond every published model; with them,
/// the product of any two sizes fits 64 bits, and rows × hidden of one prompt does as well.
/// </remarks>
public static class ModelConfigReader
{
    /// <summary>The file's name in a model folder.</summary>
    public const string FileName = "config.json";

    private const string SupportedModels = "llava (LlavaForConditionalGeneration: a CLIP vision tower with a llama, mistral or qwen2 decoder)";
    private const string SupportedArchitecture = "LlavaForConditionalGeneration";

    /// <summary>Reads <c>config.json</c> in <paramref name="modelDirectory"/>. Any thread.</summary>
    /// <exception cref="ModelFormatException">It is missing, malformed, out of range or of a kind that is not supported.</exception>
    public static ModelConfig Read(string modelDirectory)
    {
        string path = Path.Combine(modelDirectory, FileName);
        return Parse(JsonFile.ReadBytes(path), path);
    }

    /// <summary>Reads a config by its own path, or its folder's.</summary>
    internal static ModelConfig ReadFile(string path) => Parse(JsonFile.ReadBytes(PathOf(path)), PathOf(path));

    /// <summary>The config's own path, where its folder may be given.</summary>
    internal static string PathOf(string path) => Directory.Exists(path) ? Path.Combine(path, FileName) : path;

    /// <summary>Reads a config from the bytes of its file.</summary>
    internal static ModelConfig Parse(ReadOnlySpan<byte> json, string file)
    {
        var check = new Checked(file);
        ModelKindJson kind = JsonFile.Parse(json, file, ConfigJson.Default.ModelKindJson);
        CheckKind(kind, check);
        return Convert(JsonFile.Parse(json, file, ConfigJson.Default.ModelConfigJson), kind.ModelType!, check);
    }

    private static ModelConfig Convert(ModelConfigJson json, string modelType, in Checked check)
    {
        TextConfig text = TextConfigReader.Convert(json.TextConfig ?? new TextConfigJson(), check);
        VisionConfig vision = VisionConfigReader.Convert(json.VisionConfig, check);
        return new ModelConfig
        {
            Family = ModelFamily.Llava,
            ModelType = modelType,
            Text = text,
            Vision = vision,
            ImageTokenId = check.Integer("image_token_index", json.ImageTokenIndex ?? json.ImageTokenId ?? 32000, 0, int.MaxValue - 1),
            VisionFeatureLayer = FeatureLayer(json.VisionFeatureLayer, vision.Layers, check),
            KeepClassToken = (json.VisionFeatureSelectStrategy ?? "default") switch
            {
                "default" when !vision.HasClassToken => throw check.Wrong(
                    "vision_feature_select_strategy", "is 'default', which drops the class token, but the vision tower has none; 'full' was expected"),
                "default" => false,
                "full" => true,
                string other => throw check.Wrong("vision_feature_select_strategy", $"is '{other}', but must be 'default' or 'full'"),
            },
            ProjectorActivation = Activations.Parse(check, "projector_hidden_act", json.ProjectorHiddenAct ?? "gelu"),
            ProjectorBias = json.MultimodalProjectorBias ?? true,

            // The default false at the top says nothing: then it is the decoder's own setting that counts.
            TieWordEmbeddings = json.TieWordEmbeddings is true || json.TextConfig?.TieWordEmbeddings is true,
            WeightType = TypeNamed(json.Dtype) ?? TypeNamed(json.TorchDtype) ?? TypeNamed(json.TextConfig?.Dtype) ?? TypeNamed(json.TextConfig?.TorchDtype),
        };
    }

    private static TensorType? TypeNamed(JsonElement? name) => name is not { ValueKind: JsonValueKind.String } text ? null : text.GetString() switch
    {
        "float32" => TensorType.F32,
        "float16" => TensorType.F16,
        "bfloat16" => TensorType.BF16,
        _ => null,
    };

    private static void CheckKind(ModelKindJson json, in Checked check)
    {
        if (json.ModelType is null)
            throw check.Wrong("model_type", $"is missing; supported is {SupportedModels}");
        if (json.ModelType != "llava")
            throw check.Wrong("model_type", $"'{json.ModelType}' is not supported; supported is {SupportedModels}");
        if (json.Architectures is { Length: > 0 } architectures && !architectures.Contains(SupportedArchitecture))
        {
            throw check.Wrong(
                "architectures",
                $"'{string.Join(", ", architectures.Take(4))}' is not supported; supported is {SupportedModels}. "
                + "Original LLaVA checkpoints must be converted to the Hugging Face form first");
        }

        if (json.QuantizationConfig.ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null))
            throw check.Wrong("quantization_config", "quantized checkpoints are not supported; take the bfloat16, float16 or float32 weights");
    }

    /// <summary>An index into the tower's hidden states 0..layers; negatives count from the end.</summary>
    private static int FeatureLayer(JsonElement value, int layers, in Checked check)
    {
        const string Property = "vision_feature_layer";
        if (value.ValueKind == JsonValueKind.Array)
            throw check.Wrong(Property, "is a list: joining the features of several layers is not supported; one whole number is");
        int layer = IntegerOr(value, -2, Property, check);
        check.Integer(Property, layer, -layers - 1, layers);
        return layer < 0 ? layers + 1 + layer : layer;
    }

    /// <summary>The number in an element, or a default where the property is missing or null.</summary>
    internal static int IntegerOr(JsonElement value, int missing, string property, in Checked check) => value.ValueKind switch
    {
        JsonValueKind.Undefined or JsonValueKind.Null => missing,
        JsonValueKind.Number when value.TryGetInt32(out int number) => number,
        _ => throw check.Wrong(property, $"must be a whole number of at most {int.MaxValue}"),
    };
}

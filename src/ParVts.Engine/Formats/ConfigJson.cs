using System.Text.Json;
using System.Text.Json.Serialization;

namespace ParVts.Engine.Formats;

// The configs as they are written: every property may be missing or null. Names are snake_case in the files.
// A JsonElement stands where "missing" and "null" mean different things, or where several shapes occur.

/// <summary>What says whether a config is worth reading on: other families give other shapes to the same names.</summary>
internal sealed class ModelKindJson
{
    public string? ModelType { get; set; }

    public string?[]? Architectures { get; set; }

    public JsonElement QuantizationConfig { get; set; }
}

internal sealed class ModelConfigJson
{
    public TextConfigJson? TextConfig { get; set; }

    public VisionConfigJson? VisionConfig { get; set; }

    public int? ImageTokenIndex { get; set; }

    public int? ImageTokenId { get; set; }

    public JsonElement VisionFeatureLayer { get; set; }

    public string? VisionFeatureSelectStrategy { get; set; }

    public string? ProjectorHiddenAct { get; set; }

    public bool? MultimodalProjectorBias { get; set; }

    public bool? TieWordEmbeddings { get; set; }

    public JsonElement Dtype { get; set; }

    public JsonElement TorchDtype { get; set; }
}

/// <summary>The special tokens' ids in config.json, which stand in for those of generation_config.json.</summary>
internal sealed class ModelTokensJson
{
    public TokenIds? BosTokenId { get; set; }

    public TokenIds? EosTokenId { get; set; }

    public TokenIds? PadTokenId { get; set; }

    public ModelTokensJson? TextConfig { get; set; }

    public string? ModelType { get; set; }
}

internal sealed class TextConfigJson
{
    public string? ModelType { get; set; }

    public int? HiddenSize { get; set; }

    public int? IntermediateSize { get; set; }

    public int? NumHiddenLayers { get; set; }

    public int? NumAttentionHeads { get; set; }

    public JsonElement NumKeyValueHeads { get; set; }

    public int? HeadDim { get; set; }

    public int? VocabSize { get; set; }

    public int? MaxPositionEmbeddings { get; set; }

    public double? RmsNormEps { get; set; }

    public string? HiddenAct { get; set; }

    public double? RopeTheta { get; set; }

    public RopeJson? RopeScaling { get; set; }

    public RopeJson? RopeParameters { get; set; }

    public double? PartialRotaryFactor { get; set; }

    public bool? AttentionBias { get; set; }

    public bool? MlpBias { get; set; }

    public bool? TieWordEmbeddings { get; set; }

    public JsonElement SlidingWindow { get; set; }

    public bool? UseSlidingWindow { get; set; }

    public JsonElement Dtype { get; set; }

    public JsonElement TorchDtype { get; set; }
}

internal sealed class RopeJson
{
    public string? RopeType { get; set; }

    public string? Type { get; set; }

    public double? RopeTheta { get; set; }

    public double? Factor { get; set; }

    public double? LowFreqFactor { get; set; }

    public double? HighFreqFactor { get; set; }

    public int? OriginalMaxPositionEmbeddings { get; set; }

    public double? PartialRotaryFactor { get; set; }
}

internal sealed class VisionConfigJson
{
    public string? ModelType { get; set; }

    public int? HiddenSize { get; set; }

    public int? IntermediateSize { get; set; }

    public int? NumHiddenLayers { get; set; }

    public int? NumAttentionHeads { get; set; }

    public int? ImageSize { get; set; }

    public int? PatchSize { get; set; }

    public int? NumChannels { get; set; }

    public double? LayerNormEps { get; set; }

    public string? HiddenAct { get; set; }
}

internal sealed class GenerationConfigJson
{
    public TokenIds? BosTokenId { get; set; }

    public TokenIds? EosTokenId { get; set; }

    public TokenIds? PadTokenId { get; set; }

    public bool? DoSample { get; set; }

    public double? Temperature { get; set; }

    public int? TopK { get; set; }

    public double? TopP { get; set; }

    public double? MinP { get; set; }

    public double? RepetitionPenalty { get; set; }

    public int? MaxNewTokens { get; set; }
}

internal sealed class PreprocessorConfigJson
{
    public string? ImageProcessorType { get; set; }

    public bool? DoConvertRgb { get; set; }

    public bool? DoResize { get; set; }

    public PictureSize? Size { get; set; }

    public int? Resample { get; set; }

    public bool? DoCenterCrop { get; set; }

    public PictureSize? CropSize { get; set; }

    public bool? DoRescale { get; set; }

    public double? RescaleFactor { get; set; }

    public bool? DoNormalize { get; set; }

    public double[]? ImageMean { get; set; }

    public double[]? ImageStd { get; set; }

    public bool? DoPad { get; set; }
}

internal sealed class ProcessorConfigJson
{
    public string? ProcessorClass { get; set; }

    public PreprocessorConfigJson? ImageProcessor { get; set; }

    public TokenText? ImageToken { get; set; }

    public int? PatchSize { get; set; }

    public string? VisionFeatureSelectStrategy { get; set; }

    public int? NumAdditionalImageTokens { get; set; }

    public string? ChatTemplate { get; set; }
}

internal sealed class TokenizerConfigJson
{
    public string? TokenizerClass { get; set; }

    public TokenText? BosToken { get; set; }

    public TokenText? EosToken { get; set; }

    public TokenText? PadToken { get; set; }

    public TokenText? UnkToken { get; set; }

    public TokenText? ImageToken { get; set; }

    public bool? AddBosToken { get; set; }

    public bool? AddEosToken { get; set; }

    public bool? Legacy { get; set; }

    public bool? CleanUpTokenizationSpaces { get; set; }

    public double? ModelMaxLength { get; set; }

    public JsonElement ChatTemplate { get; set; }
}

/// <summary>chat_template.json.</summary>
internal sealed class ChatTemplateJson
{
    public JsonElement ChatTemplate { get; set; }
}

/// <summary>model.safetensors.index.json.</summary>
internal sealed class ShardIndexJson
{
    public Dictionary<string, string?>? WeightMap { get; set; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    GenerationMode = JsonSourceGenerationMode.Metadata,
    Converters = [typeof(WholeNumberConverter), typeof(NumberConverter), typeof(BooleanConverter), typeof(TextConverter)])]
[JsonSerializable(typeof(ModelKindJson))]
[JsonSerializable(typeof(ModelConfigJson))]
[JsonSerializable(typeof(ModelTokensJson))]
[JsonSerializable(typeof(GenerationConfigJson))]
[JsonSerializable(typeof(PreprocessorConfigJson))]
[JsonSerializable(typeof(ProcessorConfigJson))]
[JsonSerializable(typeof(TokenizerConfigJson))]
[JsonSerializable(typeof(ChatTemplateJson))]
[JsonSerializable(typeof(ShardIndexJson))]
internal sealed partial class ConfigJson : JsonSerializerContext;

namespace ParVts.Engine.Formats;

/// <summary>The supported model families.</summary>
public enum ModelFamily
{
    /// <summary>LLaVA-1.5: CLIP tower, two-layer projector, Llama-type decoder.</summary>
    Llava,
}

/// <summary>The activation functions that configs name.</summary>
public enum Activation
{
    /// <summary>x·σ(x): "silu", "swish".</summary>
    Silu,

    /// <summary>The exact, erf form: "gelu".</summary>
    Gelu,

    /// <summary>The tanh form: "gelu_pytorch_tanh", "gelu_new", "gelu_fast".</summary>
    GeluTanh,

    /// <summary>x·σ(1.702·x): "quick_gelu".</summary>
    QuickGelu,

    /// <summary>max(0, x): "relu".</summary>
    Relu,
}

/// <summary>Which scaling a config asks of the rotary frequencies.</summary>
public enum RopeScaling
{
    /// <summary>None.</summary>
    Default,

    /// <summary>Positions divided by the factor.</summary>
    Linear,

    /// <summary>"dynamic" NTK: the base grows once a sequence is longer than the trained length.</summary>
    Dynamic,

    /// <summary>Llama 3: low frequencies divided, a smooth ramp between.</summary>
    Llama3,
}

/// <summary>Rotary position settings: rope_theta and rope_scaling / rope_parameters.</summary>
public sealed record RopeConfig(double Theta = 10000.0)
{
    /// <summary>The scaling rule.</summary>
    public RopeScaling Scaling { get; init; } = RopeScaling.Default;

    /// <summary>"factor".</summary>
    public double Factor { get; init; } = 1.0;

    /// <summary>"low_freq_factor" (Llama 3).</summary>
    public double LowFrequencyFactor { get; init; } = 1.0;

    /// <summary>"high_freq_factor" (Llama 3).</summary>
    public double HighFrequencyFactor { get; init; } = 4.0;

    /// <summary>"original_max_position_embeddings"; the model's max_position_embeddings where it is not given.</summary>
    public int OriginalMaxPositions { get; init; }
}

/// <summary>The decoder's settings, every default of the family's config class filled in.</summary>
public sealed record TextConfig
{
    /// <summary>"llama", "mistral" or "qwen2".</summary>
    public required string ModelType { get; init; }

    /// <summary>hidden_size.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>intermediate_size.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>num_hidden_layers.</summary>
    public required int Layers { get; init; }

    /// <summary>num_attention_heads.</summary>
    public required int Heads { get; init; }

    /// <summary>num_key_value_heads.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>head_dim.</summary>
    public required int HeadDim { get; init; }

    /// <summary>vocab_size.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>max_position_embeddings.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>rms_norm_eps.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>hidden_act.</summary>
    public required Activation Activation { get; init; }

    /// <summary>Rotary positions.</summary>
    public required RopeConfig Rope { get; init; }

    /// <summary>Biases on the q, k and v projections (Qwen2; attention_bias).</summary>
    public bool QkvBias { get; init; }

    /// <summary>A bias on the output projection (Llama with attention_bias).</summary>
    public bool OutputBias { get; init; }

    /// <summary>Biases on the MLP's projections (Llama with mlp_bias).</summary>
    public bool MlpBias { get; init; }
}

/// <summary>The vision tower's settings.</summary>
public sealed record VisionConfig
{
    /// <summary>hidden_size.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>intermediate_size.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>num_hidden_layers.</summary>
    public required int Layers { get; init; }

    /// <summary>num_attention_heads.</summary>
    public required int Heads { get; init; }

    /// <summary>image_size: the side of the square picture.</summary>
    public required int ImageSize { get; init; }

    /// <summary>patch_size.</summary>
    public required int PatchSize { get; init; }

    /// <summary>num_channels; always 3 for the supported families.</summary>
    public int Channels { get; init; } = 3;

    /// <summary>layer_norm_eps.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>hidden_act.</summary>
    public required Activation Activation { get; init; }

    /// <summary>A class token stands before the patches (CLIP); SigLIP has none.</summary>
    public bool HasClassToken { get; init; } = true;

    /// <summary>Patches along one side.</summary>
    public int PatchesPerSide => ImageSize / PatchSize;

    /// <summary>Rows before the patches: the class token's, where there is one.</summary>
    public int ClassRows => HasClassToken ? 1 : 0;

    /// <summary>Rows of a picture in the tower.</summary>
    public int Rows => PatchesPerSide * PatchesPerSide + ClassRows;
}

/// <summary>config.json of a vision-language model, with the defaults that public files leave out.</summary>
public sealed record ModelConfig
{
    /// <summary>The family, from "model_type".</summary>
    public required ModelFamily Family { get; init; }

    /// <summary>"model_type" as written.</summary>
    public required string ModelType { get; init; }

    /// <summary>The decoder.</summary>
    public required TextConfig Text { get; init; }

    /// <summary>The vision tower.</summary>
    public required VisionConfig Vision { get; init; }

    /// <summary>image_token_index / image_token_id: the id that stands for image tokens.</summary>
    public required int ImageTokenId { get; init; }

    /// <summary>vision_feature_layer as an index into the tower's hidden states 0..layers (0 is the embedding), negatives resolved.</summary>
    public required int VisionFeatureLayer { get; init; }

    /// <summary>vision_feature_select_strategy is "full": the class token stays among the features.</summary>
    public required bool KeepClassToken { get; init; }

    /// <summary>projector_hidden_act.</summary>
    public required Activation ProjectorActivation { get; init; }

    /// <summary>multimodal_projector_bias.</summary>
    public bool ProjectorBias { get; init; } = true;

    /// <summary>tie_word_embeddings: the head is the embedding matrix.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>
    /// dtype / torch_dtype, of the whole or of the decoder: float32, float16 or bfloat16. What the weights are is said by their files; null
    /// where the config does not say.
    /// </summary>
    public TensorType? WeightType { get; init; }

    /// <summary>Visual tokens that one picture makes (contract D2).</summary>
    public int VisualTokensPerImage => Vision.Rows - DroppedRows;

    /// <summary>Rows of the tower's output that are no visual tokens: the class token's, unless it is kept.</summary>
    public int DroppedRows => KeepClassToken ? 0 : Vision.ClassRows;
}

namespace ParVts.Engine.Formats;

/// <summary>The "vision_config" of a model: a CLIP tower, or a SigLIP one, which has no class token.</summary>
internal static class VisionConfigReader
{
    private const string Prefix = "vision_config.";
    private const string Clip = "clip_vision_model";
    private const string Siglip = "siglip_vision_model";

    // LLaVA-1.5's tower: what its config class takes where a file has no vision_config at all.
    private static readonly VisionConfigJson Llava = new()
    {
        HiddenSize = 1024,
        IntermediateSize = 4096,
        NumHiddenLayers = 24,
        NumAttentionHeads = 16,
        ImageSize = 336,
        PatchSize = 14,
    };

    public static VisionConfig Convert(VisionConfigJson? given, in Checked check)
    {
        VisionConfigJson json = given ?? Llava;
        if (json.ModelType is not (null or Clip or Siglip))
            throw check.Wrong(Prefix + "model_type", $"the vision tower '{json.ModelType}' is not supported; supported are {Clip}, {Siglip}");
        bool siglip = json.ModelType == Siglip;

        int hidden = check.Integer(Prefix + "hidden_size", json.HiddenSize ?? 768, 1, 65536);
        int heads = check.Integer(Prefix + "num_attention_heads", json.NumAttentionHeads ?? 12, 1, 1024);
        if (hidden % heads != 0)
            throw check.Wrong(Prefix + "hidden_size", $"is {hidden}, which is no multiple of the {heads} attention heads");
        int patch = check.Integer(Prefix + "patch_size", json.PatchSize ?? (siglip ? 16 : 32), 1, 1024);
        int image = check.Integer(Prefix + "image_size", json.ImageSize ?? 224, 1, 8192);
        if (image % patch != 0)
            throw check.Wrong(Prefix + "image_size", $"is {image}, which is no multiple of the patch size, {patch}");
        return new VisionConfig
        {
            HiddenSize = hidden,
            IntermediateSize = check.Integer(Prefix + "intermediate_size", json.IntermediateSize ?? 3072, 1, 1 << 20),
            Layers = check.Integer(Prefix + "num_hidden_layers", json.NumHiddenLayers ?? 12, 1, 1024),
            Heads = heads,
            ImageSize = image,
            PatchSize = patch,
            Channels = check.Integer(Prefix + "num_channels", json.NumChannels ?? 3, 3, 3),
            NormEpsilon = check.Number(Prefix + "layer_norm_eps", json.LayerNormEps ?? (siglip ? 1e-6 : 1e-5), 0, 1),
            Activation = Activations.Parse(check, Prefix + "hidden_act", json.HiddenAct ?? (siglip ? "gelu_pytorch_tanh" : "quick_gelu")),
            HasClassToken = !siglip,
        };
    }
}

using System.Runtime.InteropServices;
using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Bench;

/// <summary>The shape of a random LLaVA checkpoint.</summary>
internal sealed record RandomModelShape
{
    public required int Layers { get; init; }

    public required int Hidden { get; init; }

    public required int Mlp { get; init; }

    public required int Heads { get; init; }

    public required int KvHeads { get; init; }

    public required int Vocabulary { get; init; }

    /// <summary>Patches along a side of the picture.</summary>
    public required int Grid { get; init; }

    public int VisionHidden { get; init; } = 64;

    public int VisionMlp { get; init; } = 128;

    public int VisionHeads { get; init; } = 1;

    public int VisionLayers { get; init; } = 2;

    public int Patch { get; init; } = 14;

    /// <summary>CLIP's tower; else SigLIP's, without a class token.</summary>
    public bool HasClassToken { get; init; } = true;

    public int Seed { get; init; } = 1;

    /// <summary>Multiplies the projections to queries and keys: above 1, attention is sharp.</summary>
    public float Sharpness { get; init; } = 1;
}

/// <summary>
/// Writes a LLaVA checkpoint of random bf16 weights, with the public tensor names and config: for measurements, and for
/// tests on shapes that no trained model has.
/// </summary>
internal static class RandomModel
{
    public static void Write(string directory, RandomModelShape shape)
    {
        Directory.CreateDirectory(directory);
        var random = new Random(shape.Seed);
        SafetensorsWriter.Write(
            Path.Combine(directory, "model.safetensors"),
            Shapes(shape).Select(tensor => TensorToWrite.Filled(
                tensor.Name, TensorType.BF16, bytes => Fill(bytes, random, tensor.Name, tensor.Extents, shape.Sharpness), tensor.Extents)));
        WriteConfig(directory, shape);
    }

    private static IEnumerable<(string Name, long[] Extents)> Shapes(RandomModelShape shape) =>
        [.. DecoderShapes(shape), .. ProjectorShapes(shape), .. TowerShapes(shape)];

    private static IEnumerable<(string Name, long[] Extents)> DecoderShapes(RandomModelShape shape)
    {
        int hidden = shape.Hidden;
        long keyValue = (long)hidden / shape.Heads * shape.KvHeads;
        const string decoder = "language_model.model.";
        yield return (decoder + "embed_tokens.weight", [shape.Vocabulary, hidden]);
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            string prefix = $"{decoder}layers.{layer}.";
            yield return (prefix + "input_layernorm.weight", [hidden]);
            yield return (prefix + "self_attn.q_proj.weight", [hidden, hidden]);
            yield return (prefix + "self_attn.k_proj.weight", [keyValue, hidden]);
            yield return (prefix + "self_attn.v_proj.weight", [keyValue, hidden]);
            yield return (prefix + "self_attn.o_proj.weight", [hidden, hidden]);
            yield return (prefix + "post_attention_layernorm.weight", [hidden]);
            yield return (prefix + "mlp.gate_proj.weight", [shape.Mlp, hidden]);
            yield return (prefix + "mlp.up_proj.weight", [shape.Mlp, hidden]);
            yield return (prefix + "mlp.down_proj.weight", [hidden, shape.Mlp]);
        }

        yield return (decoder + "norm.weight", [hidden]);
        yield return ("language_model.lm_head.weight", [shape.Vocabulary, hidden]);
    }

    private static IEnumerable<(string Name, long[] Extents)> ProjectorShapes(RandomModelShape shape)
    {
        int hidden = shape.Hidden;
        yield return ("multi_modal_projector.linear_1.weight", [hidden, shape.VisionHidden]);
        yield return ("multi_modal_projector.linear_1.bias", [hidden]);
        yield return ("multi_modal_projector.linear_2.weight", [hidden, hidden]);
        yield return ("multi_modal_projector.linear_2.bias", [hidden]);
    }

    private static IEnumerable<(string Name, long[] Extents)> TowerShapes(RandomModelShape shape)
    {
        int width = shape.VisionHidden;
        const string tower = "vision_tower.vision_model.";
        if (shape.HasClassToken)
        {
            yield return (tower + "embeddings.class_embedding", [width]);
            yield return (tower + "pre_layrnorm.weight", [width]);
            yield return (tower + "pre_layrnorm.bias", [width]);
        }
        else
        {
            yield return (tower + "embeddings.patch_embedding.bias", [width]);
        }

        yield return (tower + "embeddings.patch_embedding.weight", [width, 3, shape.Patch, shape.Patch]);
        yield return (tower + "embeddings.position_embedding.weight", [shape.Grid * shape.Grid + (shape.HasClassToken ? 1 : 0), width]);
        yield return (tower + "post_layernorm.weight", [width]);
        yield return (tower + "post_layernorm.bias", [width]);
        for (int layer = 0; layer < shape.VisionLayers; layer++)
        {
            string prefix = $"{tower}encoder.layers.{layer}.";
            foreach (string name in new[] { "layer_norm1", "layer_norm2" })
            {
                yield return ($"{prefix}{name}.weight", [width]);
                yield return ($"{prefix}{name}.bias", [width]);
            }

            foreach (string name in new[] { "q_proj", "k_proj", "v_proj", "out_proj" })
            {
                yield return ($"{prefix}self_attn.{name}.weight", [width, width]);
                yield return ($"{prefix}self_attn.{name}.bias", [width]);
            }

            yield return (prefix + "mlp.fc1.weight", [shape.VisionMlp, width]);
            yield return (prefix + "mlp.fc1.bias", [shape.VisionMlp]);
            yield return (prefix + "mlp.fc2.weight", [width, shape.VisionMlp]);
            yield return (prefix + "mlp.fc2.bias", [width]);
        }
    }

    // Norm weights are one; matrices are uniform with the variance that keeps the rows' size.
    private static void Fill(Span<byte> bytes, Random random, string name, long[] shape, float sharpness)
    {
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(bytes);
        if (name.Contains("norm", StringComparison.Ordinal) && name.EndsWith("weight", StringComparison.Ordinal))
        {
            values.Fill(0x3F80);
            return;
        }

        float width = MathF.Sqrt(3f / shape[^1]);
        if (name.Contains("q_proj", StringComparison.Ordinal) || name.Contains("k_proj", StringComparison.Ordinal))
            width *= sharpness;
        ulong state = (ulong)random.NextInt64();
        for (int i = 0; i < values.Length; i++)
        {
            state = state * 6364136223846793005 + 1442695040888963407;
            float value = ((int)(state >> 40) / 8388608f - 1f) * width;
            values[i] = (ushort)(BitConverter.SingleToInt32Bits(value) >> 16);
        }
    }

    private static void WriteConfig(string directory, RandomModelShape shape)
    {
        int imageSize = shape.Grid * shape.Patch;
        using (FileStream stream = File.Create(Path.Combine(directory, "config.json")))
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("model_type", "llava");
            json.WriteNumber("image_token_index", shape.Vocabulary - 1);
            json.WriteNumber("vision_feature_layer", -2);
            json.WriteString("vision_feature_select_strategy", shape.HasClassToken ? "default" : "full");
            json.WriteStartObject("text_config");
            json.WriteString("model_type", "llama");
            json.WriteNumber("hidden_size", shape.Hidden);
            json.WriteNumber("intermediate_size", shape.Mlp);
            json.WriteNumber("num_hidden_layers", shape.Layers);
            json.WriteNumber("num_attention_heads", shape.Heads);
            json.WriteNumber("num_key_value_heads", shape.KvHeads);
            json.WriteNumber("vocab_size", shape.Vocabulary);
            json.WriteNumber("max_position_embeddings", 8192);
            json.WriteEndObject();
            json.WriteStartObject("vision_config");
            json.WriteString("model_type", shape.HasClassToken ? "clip_vision_model" : "siglip_vision_model");
            json.WriteNumber("hidden_size", shape.VisionHidden);
            json.WriteNumber("intermediate_size", shape.VisionMlp);
            json.WriteNumber("num_hidden_layers", shape.VisionLayers);
            json.WriteNumber("num_attention_heads", shape.VisionHeads);
            json.WriteNumber("image_size", imageSize);
            json.WriteNumber("patch_size", shape.Patch);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        File.WriteAllText(
            Path.Combine(directory, "preprocessor_config.json"),
            $$"""{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": {{imageSize}}}, "crop_size": {{imageSize}}}""");
    }
}

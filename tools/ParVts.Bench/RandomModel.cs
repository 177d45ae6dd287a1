using System.Runtime.InteropServices;
using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Bench;

/// <summary>
/// Writes a LLaVA checkpoint of random bf16 weights: the public tensor names and config, for measurements. The vision
/// tower is the smallest that the format allows; only the decoder's shape is of interest.
/// </summary>
internal static class RandomModel
{
    private const int VisionWidth = 64;
    private const int VisionMlp = 128;
    private const int VisionSize = 28;
    private const int Patch = 14;

    public static void Write(string directory, int layers, int hidden, int mlp, int heads, int kvHeads, int vocabulary)
    {
        Directory.CreateDirectory(directory);
        var random = new Random(1);
        SafetensorsWriter.Write(
            Path.Combine(directory, "model.safetensors"),
            Shapes(layers, hidden, mlp, heads, kvHeads, vocabulary).Select(shape => TensorToWrite.Filled(
                shape.Name, TensorType.BF16, bytes => Fill(bytes, random, shape.Name, shape.Extents), shape.Extents)));
        WriteConfig(directory, layers, hidden, mlp, heads, kvHeads, vocabulary);
    }

    private static IEnumerable<(string Name, long[] Extents)> Shapes(
        int layers, int hidden, int mlp, int heads, int kvHeads, int vocabulary)
    {
        long keyValue = (long)hidden / heads * kvHeads;
        const string decoder = "language_model.model.";
        yield return (decoder + "embed_tokens.weight", [vocabulary, hidden]);
        for (int layer = 0; layer < layers; layer++)
        {
            string prefix = $"{decoder}layers.{layer}.";
            yield return (prefix + "input_layernorm.weight", [hidden]);
            yield return (prefix + "self_attn.q_proj.weight", [hidden, hidden]);
            yield return (prefix + "self_attn.k_proj.weight", [keyValue, hidden]);
            yield return (prefix + "self_attn.v_proj.weight", [keyValue, hidden]);
            yield return (prefix + "self_attn.o_proj.weight", [hidden, hidden]);
            yield return (prefix + "post_attention_layernorm.weight", [hidden]);
            yield return (prefix + "mlp.gate_proj.weight", [mlp, hidden]);
            yield return (prefix + "mlp.up_proj.weight", [mlp, hidden]);
            yield return (prefix + "mlp.down_proj.weight", [hidden, mlp]);
        }

        yield return (decoder + "norm.weight", [hidden]);
        yield return ("language_model.lm_head.weight", [vocabulary, hidden]);
        yield return ("multi_modal_projector.linear_1.weight", [hidden, VisionWidth]);
        yield return ("multi_modal_projector.linear_1.bias", [hidden]);
        yield return ("multi_modal_projector.linear_2.weight", [hidden, hidden]);
        yield return ("multi_modal_projector.linear_2.bias", [hidden]);
        const string tower = "vision_tower.vision_model.";
        yield return (tower + "embeddings.class_embedding", [VisionWidth]);
        yield return (tower + "embeddings.patch_embedding.weight", [VisionWidth, 3, Patch, Patch]);
        yield return (tower + "embeddings.position_embedding.weight", [VisionSize / Patch * (VisionSize / Patch) + 1, VisionWidth]);
        foreach (string norm in new[] { "pre_layrnorm", "post_layernorm" })
        {
            yield return ($"{tower}{norm}.weight", [VisionWidth]);
            yield return ($"{tower}{norm}.bias", [VisionWidth]);
        }

        for (int layer = 0; layer < 2; layer++)
        {
            string prefix = $"{tower}encoder.layers.{layer}.";
            foreach (string name in new[] { "layer_norm1", "layer_norm2" })
            {
                yield return ($"{prefix}{name}.weight", [VisionWidth]);
                yield return ($"{prefix}{name}.bias", [VisionWidth]);
            }

            foreach (string name in new[] { "q_proj", "k_proj", "v_proj", "out_proj" })
            {
                yield return ($"{prefix}self_attn.{name}.weight", [VisionWidth, VisionWidth]);
                yield return ($"{prefix}self_attn.{name}.bias", [VisionWidth]);
            }

            yield return (prefix + "mlp.fc1.weight", [VisionMlp, VisionWidth]);
            yield return (prefix + "mlp.fc1.bias", [VisionMlp]);
            yield return (prefix + "mlp.fc2.weight", [VisionWidth, VisionMlp]);
            yield return (prefix + "mlp.fc2.bias", [VisionWidth]);
        }
    }

    // Norm weights are one; matrices are uniform with the variance that keeps the rows' size.
    private static void Fill(Span<byte> bytes, Random random, string name, long[] shape)
    {
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(bytes);
        if (name.Contains("norm", StringComparison.Ordinal) && name.EndsWith("weight", StringComparison.Ordinal))
        {
            values.Fill(0x3F80);
            return;
        }

        float width = MathF.Sqrt(3f / shape[^1]);
        ulong state = (ulong)random.NextInt64();
        for (int i = 0; i < values.Length; i++)
        {
            state = state * 6364136223846793005 + 1442695040888963407;
            float value = ((int)(state >> 40) / 8388608f - 1f) * width;
            values[i] = (ushort)(BitConverter.SingleToInt32Bits(value) >> 16);
        }
    }

    private static void WriteConfig(
        string directory, int layers, int hidden, int mlp, int heads, int kvHeads, int vocabulary)
    {
        using (FileStream stream = File.Create(Path.Combine(directory, "config.json")))
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("model_type", "llava");
            json.WriteNumber("image_token_index", vocabulary - 1);
            json.WriteNumber("vision_feature_layer", -2);
            json.WriteString("vision_feature_select_strategy", "default");
            json.WriteStartObject("text_config");
            json.WriteString("model_type", "llama");
            json.WriteNumber("hidden_size", hidden);
            json.WriteNumber("intermediate_size", mlp);
            json.WriteNumber("num_hidden_layers", layers);
            json.WriteNumber("num_attention_heads", heads);
            json.WriteNumber("num_key_value_heads", kvHeads);
            json.WriteNumber("vocab_size", vocabulary);
            json.WriteNumber("max_position_embeddings", 8192);
            json.WriteEndObject();
            json.WriteStartObject("vision_config");
            json.WriteString("model_type", "clip_vision_model");
            json.WriteNumber("hidden_size", VisionWidth);
            json.WriteNumber("intermediate_size", VisionMlp);
            json.WriteNumber("num_hidden_layers", 2);
            json.WriteNumber("num_attention_heads", 1);
            json.WriteNumber("image_size", VisionSize);
            json.WriteNumber("patch_size", Patch);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        File.WriteAllText(
            Path.Combine(directory, "preprocessor_config.json"),
            $$"""{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": {{VisionSize}}}, "crop_size": {{VisionSize}}}""");
    }
}

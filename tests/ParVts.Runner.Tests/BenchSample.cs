using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>A config that is measured in a moment, and results to compare.</summary>
internal static class BenchSample
{
    public const int Layers = 6;
    public const int Hidden = 64;
    public const int Mlp = 96;
    public const int Heads = 2;
    public const int KeyValueHeads = 1;
    public const int HeadDim = 32;
    public const int VisualTokens = 64;

    /// <summary>A config.json alone, in a folder of its own.</summary>
    public static string Config(string type = "float16", int layers = Layers, int hidden = Hidden, int mlp = Mlp)
    {
        string folder = Path.Combine(DemoModel.Scratch, $"bench-{type}-{layers}-{hidden}-{mlp}");
        Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, "config.json");
        File.WriteAllText(
            file,
            $$"""
            {
              "model_type": "llava", "image_token_index": 255, "torch_dtype": "{{type}}",
              "text_config": {"model_type": "llama", "hidden_size": {{hidden}}, "intermediate_size": {{mlp}}, "num_hidden_layers": {{layers}},
                "num_attention_heads": {{Heads}}, "num_key_value_heads": {{KeyValueHeads}}, "head_dim": {{HeadDim}}, "vocab_size": 256, "max_position_embeddings": 512},
              "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
                "num_attention_heads": 1, "image_size": 32, "patch_size": 4}
            }
            """);
        return file;
    }

    /// <summary>FLOPs of a layer as SCHEDULES.md counts them: rows in causal order, each a query and a key.</summary>
    public static long LayerFlops(long rows) => 2 * (
        rows * Hidden * Heads * HeadDim * 2 + rows * Hidden * 2 * KeyValueHeads * HeadDim + rows * Mlp * Hidden * 3
        + 2 * (rows * (rows + 1) / 2) * Heads * HeadDim);

    /// <summary>A result file, its prefill times given; whatever else stands in it can be replaced.</summary>
    public static string Result(string name, double[] prefill, params (string From, string To)[] replacements)
    {
        double[] others = [.. prefill.Select(_ => 1.0)];
        string text = $$"""
            {
              "format": "parvts-bench", "format_version": 1, "version": "0.1.0", "date": "2026-01-02T03:04:05Z", "command": "parvts bench",
              "machine": {"processor": "P", "logical_processors": 2, "os": "O", "architecture": "X64", "dotnet": ".NET", "memory_bytes": 1000},
              "model": "M", "warm_up": 1, "repeats": {{prefill.Length}}, "complete": true,
              "results": [{{One("dense", others)}}, {{One("vtw:layer=2", prefill)}}]
            }
            """;
        foreach ((string from, string to) in replacements)
        {
            Assert.That(text, Does.Contain(from));
            text = text.Replace(from, to, StringComparison.Ordinal);
        }

        string file = Path.Combine(DemoModel.Scratch, name);
        File.WriteAllText(file, text);
        return file;
    }

    private static string One(string policy, double[] prefill) => $$"""
        {
          "device": "cpu", "device_description": "X64, 1 threads", "threads": 1, "text_tokens": "35+29", "images": 1, "new_tokens": 1, "policy": "{{policy}}",
          "prompt_tokens": 128, "visual_tokens": 64, "flops": 7, "flops_dense": 9, "pairs_visual": 5, "kv_bytes": 3,
          "rows_by_layer": [128], "kv_rows_by_layer": [128],
          "memory_bytes": {"weights": 1, "kv": 2, "workspace": 3, "planned": 6, "peak_process": null},
          "rounds": {"vision_ms": {{Zeros(prefill)}}, "prefill_ms": {{JsonSerializer.Serialize(prefill)}}, "first_token_ms": {{Zeros(prefill)}}, "decode_ms": {{Zeros(prefill)}}}
        }
        """;

    private static string Zeros(double[] like) => JsonSerializer.Serialize(like.Select(_ => 0));
}

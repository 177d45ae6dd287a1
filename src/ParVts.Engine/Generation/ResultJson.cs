using System.Text.Json;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Generation;

/// <summary>
/// An answer and its trace as JSON members, the same for every host: the runner's <c>--json</c>, the C ABI, a server. Pure functions; any
/// thread.
/// </summary>
public static class ResultJson
{
    /// <summary>Text, tokens, why it ended, and how many tokens the prompt had; into the object that is open.</summary>
    public static void WriteAnswer(Utf8JsonWriter json, GenerationResult result)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(result);
        json.WriteString("text", result.Text);
        WriteNumbers(json, "tokens", result.Tokens);
        json.WriteString("finish", NameOf(result.Finish));
        json.WriteNumber("prompt_tokens", result.PromptTokens);
        json.WriteNumber("visual_tokens", result.VisualTokens);
        json.WriteNumber("cached_tokens", result.CachedTokens);
    }

    /// <summary>The times of an answer in milliseconds, to the microsecond; into the object that is open.</summary>
    public static void WriteTimes(Utf8JsonWriter json, GenerationTimes times)
    {
        ArgumentNullException.ThrowIfNull(json);
        Write("vision", times.Vision);
        Write("prefill", times.Prefill);
        Write("first_token", times.FirstToken);
        Write("decode_per_token", times.DecodePerToken);
        Write("total", times.Total);

        void Write(string name, double milliseconds) => json.WriteNumber(name, Math.Round(milliseconds, 3));
    }

    /// <summary>The member <c>trace</c>: rows, keys, pairs and FLOPs by layer, and every decision (contract P4).</summary>
    public static void WriteTrace(Utf8JsonWriter json, ScheduleTrace trace)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(trace);
        json.WriteStartObject("trace");
        json.WriteNumber("prefix", trace.Prefix);
        json.WriteNumber("visual", trace.Visual);
        json.WriteNumber("text", trace.Text);
        WriteNumbers(json, "rows_by_layer", trace.RowsByLayer);
        WriteNumbers(json, "keys_by_layer", trace.KeysByLayer);
        WriteNumbers(json, "kv_rows_by_layer", trace.KvRowsByLayer);
        WriteNumbers(json, "kv_bytes_by_layer", trace.KvRowsByLayer.Select(rows => rows * trace.KvRowBytes));
        WriteNumbers(json, "pairs_by_layer", trace.PairsByLayer);
        WriteNumbers(json, "flops_by_layer", trace.FlopsByLayer);
        WriteNumbers(json, "flops_counted_by_layer", trace.FlopsCountedByLayer);
        json.WriteNumber("flops", trace.Flops);
        json.WriteNumber("flops_dense", trace.FlopsDense);
        json.WriteNumber("pairs_visual", trace.PairsVisual);
        json.WriteStartArray("events");
        foreach (ScheduleEvent done in trace.Events)
            WriteEvent(json, done);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Why generation ended, as it is written: <c>stop</c>, <c>length</c> or <c>cancelled</c>.</summary>
    public static string NameOf(FinishReason finish) => finish switch
    {
        FinishReason.Stop => "stop",
        FinishReason.Length => "length",
        _ => "cancelled",
    };

    private static void WriteEvent(Utf8JsonWriter json, ScheduleEvent done)
    {
        json.WriteStartObject();
        json.WriteNumber("layer", done.Layer);
        json.WriteString("kind", done.Kind.ToString().ToLowerInvariant());
        WriteNumbers(json, "kept", done.Kept);
        if (done.Subject is not null)
            WriteNumbers(json, "subject", done.Subject);
        json.WriteString("score", done.Score);
        if (done.Margin is double margin)
            json.WriteNumber("margin", margin);
        else
            json.WriteNull("margin");
        if (done.Weights.Count > 0)
        {
            json.WriteStartArray("weights");
            foreach (float weight in done.Weights)
                json.WriteNumberValue(weight);
            json.WriteEndArray();
        }

        if (done.Note is not null)
            json.WriteString("note", done.Note);
        json.WriteEndObject();
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, IEnumerable<int> numbers) =>
        WriteNumbers(json, name, numbers.Select(number => (long)number));

    private static void WriteNumbers(Utf8JsonWriter json, string name, IEnumerable<long> numbers)
    {
        json.WriteStartArray(name);
        foreach (long number in numbers)
            json.WriteNumberValue(number);
        json.WriteEndArray();
    }
}

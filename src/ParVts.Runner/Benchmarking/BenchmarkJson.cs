using System.Globalization;
using System.Text.Json;
using ParVts.Runner.Output;

namespace ParVts.Runner.Benchmarking;

/// <summary>A run as JSON: what <c>parvts bench --json</c> prints, and <c>--compare</c> reads.</summary>
internal static class BenchmarkJson
{
    /// <summary>What the file says it is.</summary>
    public const string Format = "parvts-bench";

    /// <summary>The form that is written and read.</summary>
    public const int FormatVersion = 1;

    /// <summary>The members of the object.</summary>
    public static void Write(Utf8JsonWriter json, BenchmarkDocument document)
    {
        json.WriteString("format", Format);
        json.WriteNumber("format_version", FormatVersion);
        json.WriteString("version", document.Version);
        json.WriteString("date", document.Date.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
        json.WriteString("command", document.Command);
        json.WriteStartObject("machine");
        json.WriteString("processor", document.Machine.Processor);
        json.WriteNumber("logical_processors", document.Machine.Processors);
        json.WriteString("os", document.Machine.System);
        json.WriteString("architecture", document.Machine.Architecture);
        json.WriteString("dotnet", document.Machine.Runtime);
        json.WriteNumber("memory_bytes", document.Machine.MemoryBytes);
        json.WriteEndObject();
        json.WriteString("model", document.Model);
        json.WriteNumber("warm_up", document.WarmUp);
        json.WriteNumber("repeats", document.Repeats);
        json.WriteBoolean("complete", document.IsComplete);
        json.WriteString("spread", "smallest to largest");
        json.WriteStartArray("results");
        foreach (BenchmarkResult result in document.Results)
        {
            json.WriteStartObject();
            WriteResult(json, result, document.DenseOf(result));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>A summary as an object.</summary>
    public static void WriteSummary(this Utf8JsonWriter json, string name, IReadOnlyCollection<double> values)
    {
        if (values.Count == 0)
        {
            json.WriteNull(name);
            return;
        }

        var summary = BenchmarkSummary.Of(values);
        json.WriteStartObject(name);
        json.WriteNumber("median", Rounded(summary.Median));
        json.WriteNumber("smallest", Rounded(summary.Smallest));
        json.WriteNumber("largest", Rounded(summary.Largest));
        json.WriteEndObject();
    }

    private static void WriteResult(Utf8JsonWriter json, BenchmarkResult result, BenchmarkResult? dense)
    {
        json.WriteString("device", result.Group.Device);
        json.WriteString("device_description", result.DeviceDescription);
        json.WriteNumber("threads", result.Group.Threads);
        json.WriteString("text_tokens", result.Group.Text);
        json.WriteNumber("images", result.Group.Images);
        json.WriteNumber("new_tokens", result.Group.NewTokens);
        json.WriteString("policy", result.Policy);
        json.WriteNumber("prompt_tokens", result.PromptTokens);
        json.WriteNumber("visual_tokens", result.VisualTokens);
        foreach (BenchmarkMeasure measure in BenchmarkMeasure.All)
            json.WriteSummary(measure.Name, result.Values(measure));
        json.WriteSummary("tokens_per_s", [.. result.Values(BenchmarkMeasure.Decode).Select(milliseconds => 1000 / milliseconds)]);
        json.WriteStartObject("of_dense");
        foreach (BenchmarkMeasure measure in BenchmarkMeasure.All)
            json.WriteSummary(measure.Name, result.OfDense(measure, dense));
        json.WriteEndObject();
        WriteTrace(json, result.Trace);
        WriteMemory(json, result.Memory);
        json.WriteStartObject("rounds");
        foreach (BenchmarkMeasure measure in BenchmarkMeasure.All)
        {
            json.WriteStartArray(measure.Name);
            foreach (BenchmarkRound round in result.Rounds)
                json.WriteNumberValue(Rounded(measure.Of(round)));
            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    private static void WriteTrace(Utf8JsonWriter json, BenchmarkTrace trace)
    {
        json.WriteNumber("flops", trace.Flops);
        json.WriteNumber("flops_dense", trace.FlopsDense);
        json.WriteNumber("pairs_visual", trace.PairsVisual);
        json.WriteNumber("kv_bytes", trace.KvBytes);
        json.WriteNumbers("rows_by_layer", trace.RowsByLayer);
        json.WriteNumbers("kv_rows_by_layer", trace.KvRowsByLayer);
    }

    private static void WriteMemory(Utf8JsonWriter json, BenchmarkMemory memory)
    {
        json.WriteStartObject("memory_bytes");
        json.WriteNumber("weights", memory.Weights);
        json.WriteNumber("kv", memory.KeyValues);
        json.WriteNumber("workspace", memory.Workspace);
        json.WriteNumber("planned", memory.Planned);
        if (memory.PeakProcess is long peak)
            json.WriteNumber("peak_process", peak);
        else
            json.WriteNull("peak_process");
        json.WriteEndObject();
    }

    // To a nanosecond: more is noise.
    private static double Rounded(double value) => Math.Round(value, 6);
}

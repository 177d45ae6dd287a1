using System.Globalization;
using System.Text;
using System.Text.Json;

namespace ParVts.Bench.Gpu;

/// <summary>Results as JSON and as Markdown. Of the simulated GPU there are counts, never times.</summary>
internal static class KernelReport
{
    public static void WriteJson(string file, GpuTarget target, BenchResult result)
    {
        using FileStream stream = File.Create(file);
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("gpu", target.Info.Name);
        json.WriteNumber("architecture", target.Info.Architecture);
        json.WriteNumber("multiprocessors", target.Info.Multiprocessors);
        json.WriteNumber("memory_bytes", target.Info.TotalBytes);
        json.WriteString("nvrtc", target.Compiler.Version.ToString(2));
        json.WriteBoolean("simulated", target.Sim is not null);
        json.WriteString("model", result.Model.Name);
        if (result is { Limits: GpuLimits limits, CopyRate: double copied, EmptySeconds: double empty })
        {
            json.WriteNumber("repeats", result.Repeats);
            json.WriteNumber("copy_bytes_per_second", Math.Round(copied));
            json.WriteNumber("empty_us", Round(empty * 1e6));
            json.WriteStartObject("limits");
            json.WriteNumber("bytes_per_second", Math.Round(limits.Bandwidth));
            json.WriteNumber("flops_per_second", Math.Round(limits.Flops));
            json.WriteString("source", limits.Source);
            json.WriteEndObject();
        }

        json.WriteStartArray("cases");
        foreach (CaseResult one in result.Cases)
            WriteCase(json, one, result.Limits);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    public static void WriteMarkdown(string file, GpuTarget target, BenchResult result)
    {
        var text = new StringBuilder();
        if (result is { Limits: GpuLimits limits, CopyRate: double copied, EmptySeconds: double empty })
        {
            string peak = limits.Flops == 0 ? "" : $" and {Text(limits.Flops / 1e12)} TFLOP/s of dense bf16";
            text.AppendLine(CultureInfo.InvariantCulture, $"Operations on the shapes of {result.Model.Name}: median of {result.Repeats} repeats between two events, after warm-up, each after a flush of the");
            text.AppendLine(CultureInfo.InvariantCulture, $"caches. Two events with nothing between are {Text(empty * 1e6)} µs apart, which every time includes. Bytes are what must be moved at least,");
            text.AppendLine(CultureInfo.InvariantCulture, $"FLOPs those of the matrix products; the limit is the longer of what both take at {Text(limits.Bandwidth / 1e9)} GB/s{peak}");
            text.AppendLine(CultureInfo.InvariantCulture, $"({limits.Source}). A copy within the memory reaches {Text(copied / 1e9)} GB/s, read and written. NVRTC {target.Compiler.Version.ToString(2)}.");
            text.AppendLine();
            text.AppendLine("| stage | operation | shape | kernels | µs | GB/s | TFLOP/s | of the limit |");
            text.AppendLine("|---|---|---|---|---|---|---|---|");
        }
        else
        {
            text.AppendLine("The simulated GPU: what each operation must move and multiply, and what was counted. It says nothing about speed.");
            text.AppendLine();
            text.AppendLine("| stage | operation | shape | kernels | bytes | counted | FLOPs | counted |");
            text.AppendLine("|---|---|---|---|---|---|---|---|");
        }

        foreach (CaseResult one in result.Cases)
        {
            string[] figures = one.Time is GpuTime time ? Figures(one.Case, time, result.Limits!) : Figures(one.Case, one.Counts!.Value);
            text.AppendLine(CultureInfo.InvariantCulture, $"| {one.Case.Stage} | {one.Case.Name} | {one.Case.Shape} | {string.Join(", ", one.Kernels)} | {string.Join(" | ", figures)} |");
        }

        File.WriteAllText(file, text.ToString());
    }

    private static void WriteCase(Utf8JsonWriter json, CaseResult one, GpuLimits? limits)
    {
        json.WriteStartObject();
        json.WriteString("stage", one.Case.Stage);
        json.WriteString("operation", one.Case.Name);
        json.WriteString("shape", one.Case.Shape);
        json.WriteStartArray("kernels");
        foreach (string kernel in one.Kernels)
            json.WriteStringValue(kernel);
        json.WriteEndArray();
        json.WriteNumber("bytes", one.Case.Bytes);
        json.WriteNumber("flops", one.Case.Flops);
        if (one.Time is GpuTime time)
        {
            json.WriteNumber("median_us", Round(time.Median * 1e6));
            json.WriteNumber("least_us", Round(time.Least * 1e6));
            json.WriteNumber("most_us", Round(time.Most * 1e6));
            json.WriteNumber("bytes_per_second", Math.Round(one.Case.Bytes / time.Median));
            json.WriteNumber("flops_per_second", Math.Round(one.Case.Flops / time.Median));
            json.WriteNumber("share_of_limit", Round(limits!.Least(one.Case.Bytes, one.Case.Flops) / time.Median));
        }

        if (one.Counts is SimulatedCounts counts)
        {
            json.WriteNumber("counted_bytes", counts.Bytes);
            json.WriteNumber("counted_flops", counts.MatrixFlops);
        }

        json.WriteEndObject();
    }

    private static string[] Figures(GpuCase one, in GpuTime time, GpuLimits limits) =>
    [
        Text(time.Median * 1e6), Text(one.Bytes / time.Median / 1e9), one.Flops == 0 ? "" : Text(one.Flops / time.Median / 1e12),
        string.Create(CultureInfo.InvariantCulture, $"{100 * limits.Least(one.Bytes, one.Flops) / time.Median:0} %"),
    ];

    private static string[] Figures(GpuCase one, in SimulatedCounts counts) =>
        [$"{one.Bytes}", $"{counts.Bytes}", $"{one.Flops}", $"{counts.MatrixFlops}"];

    // Three figures.
    private static string Text(double value) => value.ToString(value >= 100 ? "0" : value >= 10 ? "0.0" : "0.00", CultureInfo.InvariantCulture);

    private static double Round(double value) => Math.Round(value, 4);
}

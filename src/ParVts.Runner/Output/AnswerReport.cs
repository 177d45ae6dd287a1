using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;

namespace ParVts.Runner.Output;

/// <summary>An answer and everything that is reported with it.</summary>
/// <param name="Engine">The model that gave it.</param>
/// <param name="Session">The session that gave it; its cache is as the answer left it.</param>
/// <param name="Result">The answer.</param>
/// <param name="ImageMilliseconds">What preparing the pictures took.</param>
internal sealed record AnswerReport(InferenceEngine Engine, Session Session, GenerationResult Result, double ImageMilliseconds)
{
    private long KeyValueBytes { get; } = Session.KeyValueBytes;

    private string Policy { get; } = Session.Policy;

    private IReadOnlyList<KernelUse> KernelUses { get; } = Session.KernelUses;

    /// <summary>The members of <c>run --json</c>.</summary>
    public void Write(Utf8JsonWriter json)
    {
        ResultJson.WriteAnswer(json, Result);
        json.WriteString("device", Engine.DeviceName);
        json.WriteString("policy", Policy);
        WriteTimes(json);
        WriteMemory(json);
        ResultJson.WriteTrace(json, Result.Trace);
        if (KernelUses.Count > 0)
            WriteKernels(json);
    }

    /// <summary>A line for people: speeds, times, memory.</summary>
    public string Summary()
    {
        GenerationTimes times = Result.Times;
        int computed = Result.PromptTokens - Result.CachedTokens;
        string cached = Result.CachedTokens > 0 ? $", {Result.CachedTokens} cached" : "";
        string decode = times.DecodePerToken > 0 ? $" ({Rate(1000 / times.DecodePerToken)})" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"[{Engine.DeviceName}, {Policy}] prompt {Result.PromptTokens} tokens ({Result.VisualTokens} visual{cached}), "
            + $"prefill {Seconds(times.Prefill)} ({Rate(1000 * computed / Math.Max(times.Prefill, 1e-3))}), vision {Seconds(times.Vision)}; "
            + $"{Result.Tokens.Count} new tokens{decode}, finish {ResultJson.NameOf(Result.Finish)}; "
            + $"load {Seconds(Engine.LoadTime.TotalMilliseconds)}, total {Seconds(times.Total)}; "
            + $"memory {Sizes.Mebibytes(PeakProcessBytes())} peak, KV {Sizes.Mebibytes(KeyValueBytes)}");
    }

    private void WriteTimes(Utf8JsonWriter json)
    {
        json.WriteStartObject("times_ms");
        json.WriteMilliseconds("load", Engine.LoadTime.TotalMilliseconds);
        json.WriteMilliseconds("image", ImageMilliseconds);
        ResultJson.WriteTimes(json, Result.Times);
        json.WriteEndObject();
    }

    private void WriteMemory(Utf8JsonWriter json)
    {
        json.WriteStartObject("memory_bytes");
        json.WriteNumber("weights", Result.Memory.Weights);
        json.WriteNumber("kv", KeyValueBytes);
        json.WriteNumber("workspace", Result.Memory.Workspace);
        json.WriteNumber("peak_process", PeakProcessBytes());
        json.WriteNumber("planned", Result.Memory.Total);
        json.WriteEndObject();
    }

    // A kernel by its name; where it ran in several specialisations, the one that ran most stands for it, and each is listed.
    private void WriteKernels(Utf8JsonWriter json)
    {
        json.WriteStartObject("kernels");
        foreach (IGrouping<string, KernelUse> kernel in KernelUses.GroupBy(use => use.Kernel).OrderBy(kernel => kernel.Key, StringComparer.Ordinal))
        {
            KernelUse[] uses = [.. kernel.OrderByDescending(use => use.Launches)];
            json.WriteStartObject(kernel.Key);
            json.WriteNumber("launches", uses.Sum(use => use.Launches));
            json.WriteString("ptx_sha256", uses[0].PtxSha256);
            json.WriteStartArray("specialisations");
            foreach (KernelUse use in uses)
            {
                json.WriteStartObject();
                json.WriteString("macros", use.Specialisation);
                json.WriteNumber("launches", use.Launches);
                json.WriteString("ptx_sha256", use.PtxSha256);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static long PeakProcessBytes()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    private static string Seconds(double milliseconds) => milliseconds < 1000
        ? string.Create(CultureInfo.InvariantCulture, $"{milliseconds:0} ms")
        : string.Create(CultureInfo.InvariantCulture, $"{milliseconds / 1000:0.00} s");

    private static string Rate(double tokensPerSecond) =>
        string.Create(CultureInfo.InvariantCulture, $"{tokensPerSecond:0.#} tokens/s");
}

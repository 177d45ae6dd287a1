using ParVts.Engine.Compute;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Benchmarking;

/// <summary>One run's times, in milliseconds.</summary>
/// <param name="Vision">Tower and projector; 0 without pictures.</param>
/// <param name="Prefill">The decoder over the prompt.</param>
/// <param name="FirstToken">From the request to the first token.</param>
/// <param name="Decode">Mean of a further token; 0 where there is none.</param>
internal readonly record struct BenchmarkRound(double Vision, double Prefill, double FirstToken, double Decode);

/// <summary>A figure of a round.</summary>
/// <param name="Name">In files.</param>
/// <param name="Title">In tables.</param>
/// <param name="Of">The figure, in milliseconds; 0 where there is none.</param>
internal sealed record BenchmarkMeasure(string Name, string Title, Func<BenchmarkRound, double> Of)
{
    public static BenchmarkMeasure Vision { get; } = new("vision_ms", "vision", round => round.Vision);

    public static BenchmarkMeasure Prefill { get; } = new("prefill_ms", "prefill", round => round.Prefill);

    public static BenchmarkMeasure FirstToken { get; } = new("first_token_ms", "first token", round => round.FirstToken);

    public static BenchmarkMeasure Decode { get; } = new("decode_ms", "decode, a token", round => round.Decode);

    /// <summary>All of them, in the order of a run.</summary>
    public static IReadOnlyList<BenchmarkMeasure> All { get; } = [Vision, Prefill, FirstToken, Decode];
}

/// <summary>What a prefill computed, which no repeat changes: the schedule's trace.</summary>
internal sealed record BenchmarkTrace(int[] RowsByLayer, int[] KvRowsByLayer, long KvBytes, long Flops, long FlopsDense, long PairsVisual)
{
    /// <summary>Takes it from a session, which will overwrite its own.</summary>
    public static BenchmarkTrace Of(ScheduleTrace trace) => new(
        [.. trace.RowsByLayer],
        [.. trace.KvRowsByLayer],
        trace.KvRowsByLayer.Sum(rows => rows * trace.KvRowBytes),
        trace.Flops,
        trace.FlopsDense,
        trace.PairsVisual);
}

/// <summary>Bytes: as planned, and as the process came to hold while this ran alone; null where the system does not say.</summary>
internal sealed record BenchmarkMemory(long Weights, long KeyValues, long Workspace, long Planned, long? PeakProcess)
{
    /// <summary>From a plan.</summary>
    public static BenchmarkMemory Of(MemoryPlan plan, long? peakProcess) =>
        new(plan.Weights, plan.KeyValues, plan.Workspace, plan.Total, peakProcess);
}

/// <summary>What was measured: the same in two runs where these are equal.</summary>
/// <param name="Device">"cpu", "cuda:0" …</param>
/// <param name="Threads">Threads that computed; 0 where that is not the CPU.</param>
/// <param name="Text">The prompt's text, as in <see cref="PromptShape.Name"/>.</param>
/// <param name="Images">Pictures.</param>
/// <param name="NewTokens">Tokens that were generated.</param>
internal sealed record BenchmarkGroup(string Device, int Threads, string Text, int Images, int NewTokens)
{
    public override string ToString() =>
        $"{Device}{(Threads > 0 ? $", {Counted(Threads, "thread")}" : "")}, {Text} text tokens, {Counted(Images, "picture")}, {Counted(NewTokens, "new token")}";

    private static string Counted(int count, string what) => $"{count} {what}{(count == 1 ? "" : "s")}";
}

/// <summary>A policy's rounds in one group.</summary>
internal sealed record BenchmarkResult
{
    /// <summary>What was measured.</summary>
    public required BenchmarkGroup Group { get; init; }

    /// <summary>The policy.</summary>
    public required string Policy { get; init; }

    /// <summary>The processor or GPU, for people.</summary>
    public required string DeviceDescription { get; init; }

    /// <summary>Rows of the prompt.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Of these, visual ones.</summary>
    public required int VisualTokens { get; init; }

    /// <summary>What the prefill computed.</summary>
    public required BenchmarkTrace Trace { get; init; }

    /// <summary>What it took.</summary>
    public required BenchmarkMemory Memory { get; init; }

    /// <summary>The times, round by round.</summary>
    public required IReadOnlyList<BenchmarkRound> Rounds { get; init; }

    /// <summary>A figure of every round; empty where there is none.</summary>
    public double[] Values(BenchmarkMeasure measure)
    {
        double[] values = [.. Rounds.Select(measure.Of)];
        return values.All(value => value > 0) ? values : [];
    }

    /// <summary>A figure of every round as a share of dense's in the same round; empty where there is none.</summary>
    public double[] OfDense(BenchmarkMeasure measure, BenchmarkResult? dense)
    {
        double[] values = Values(measure);
        double[] reference = dense?.Values(measure) ?? [];
        return values.Length == reference.Length ? [.. values.Zip(reference, (mine, full) => mine / full)] : [];
    }
}

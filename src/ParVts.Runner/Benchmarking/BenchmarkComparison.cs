namespace ParVts.Runner.Benchmarking;

/// <summary>What a difference between two runs comes to.</summary>
internal enum ComparisonVerdict
{
    /// <summary>None was shown.</summary>
    None,

    /// <summary>The second run is faster.</summary>
    Faster,

    /// <summary>The second run is slower.</summary>
    Slower,
}

/// <summary>A figure of both runs.</summary>
/// <param name="Group">What was measured.</param>
/// <param name="Policy">The policy.</param>
/// <param name="Measure">The figure's name, and whether it is a share of dense's.</param>
/// <param name="A">The first run's rounds.</param>
/// <param name="B">The second's.</param>
internal sealed record ComparedFigure(BenchmarkGroup Group, string Policy, string Measure, double[] A, double[] B)
{
    /// <summary>Medians, the second beside the first.</summary>
    public double Ratio => BenchmarkSummary.Of(B).Median / BenchmarkSummary.Of(A).Median;

    /// <summary>p of the Mann-Whitney test, exact and two-sided.</summary>
    public double Probability { get; } = BenchmarkStatistics.MannWhitney(A, B);

    /// <summary>The same, corrected for all figures that are compared (Holm).</summary>
    public double Corrected { get; init; } = 1;

    /// <summary>What it comes to.</summary>
    public ComparisonVerdict Verdict =>
        Corrected >= BenchmarkComparison.Level ? ComparisonVerdict.None : Ratio < 1 ? ComparisonVerdict.Faster : ComparisonVerdict.Slower;
}

/// <summary>Two runs side by side.</summary>
internal sealed record BenchmarkComparison
{
    /// <summary>Below this a difference counts.</summary>
    public const double Level = 0.05;

    /// <summary>Where the runs differ in what they were made on or with: their figures then differ for that reason, too.</summary>
    public required IReadOnlyList<string> Differences { get; init; }

    /// <summary>What only one of them measured.</summary>
    public required IReadOnlyList<string> Unpaired { get; init; }

    /// <summary>Where they computed something else: FLOPs or the KV cache.</summary>
    public required IReadOnlyList<string> Computed { get; init; }

    /// <summary>The figures that both have.</summary>
    public required IReadOnlyList<ComparedFigure> Figures { get; init; }

    /// <summary>Even the clearest outcome would not have counted: there are too few rounds for so many figures.</summary>
    public bool TooFewRounds => Figures.Count > 0
        && Figures.Min(figure => BenchmarkStatistics.LeastProbability(figure.A.Length, figure.B.Length)) * Figures.Count >= Level;

    /// <summary>Compares the second with the first.</summary>
    public static BenchmarkComparison Of(BenchmarkDocument a, BenchmarkDocument b)
    {
        var pairs = new List<(BenchmarkResult A, BenchmarkResult B)>();
        foreach (BenchmarkResult mine in a.Results)
        {
            if (b.Results.FirstOrDefault(other => Key(other) == Key(mine)) is BenchmarkResult other)
                pairs.Add((mine, other));
        }

        ComparedFigure[] figures = [.. pairs.SelectMany(pair => FiguresOf(pair.A, a.DenseOf(pair.A), pair.B, b.DenseOf(pair.B)))];
        double[] corrected = BenchmarkStatistics.Holm([.. figures.Select(figure => figure.Probability)]);
        return new BenchmarkComparison
        {
            Differences = [.. SettingsOf(a, b), .. pairs.Where(pair => pair.A.DeviceDescription != pair.B.DeviceDescription)
                .Select(pair => Differ($"device {pair.A.Group.Device}", pair.A.DeviceDescription, pair.B.DeviceDescription)).Distinct()],
            Unpaired =
            [
                .. Only("the first", a.Results, b.Results),
                .. Only("the second", b.Results, a.Results),
            ],
            Computed = [.. pairs.SelectMany(pair => ComputedOf(pair.A, pair.B))],
            Figures = [.. figures.Select((figure, i) => figure with { Corrected = corrected[i] })],
        };
    }

    private static (BenchmarkGroup Group, string Policy) Key(BenchmarkResult result) => (result.Group, result.Policy);

    private static IEnumerable<string> SettingsOf(BenchmarkDocument a, BenchmarkDocument b)
    {
        (string Name, object A, object B)[] all =
        [
            ("model", a.Model, b.Model), ("warm-up", a.WarmUp, b.WarmUp), ("processor", a.Machine.Processor, b.Machine.Processor),
            ("logical processors", a.Machine.Processors, b.Machine.Processors), ("system", a.Machine.System, b.Machine.System),
            ("architecture", a.Machine.Architecture, b.Machine.Architecture), (".NET", a.Machine.Runtime, b.Machine.Runtime),
            ("memory", a.Machine.MemoryBytes, b.Machine.MemoryBytes),
        ];
        return all.Where(one => !one.A.Equals(one.B)).Select(one => Differ(one.Name, one.A, one.B));
    }

    private static string Differ(string name, object a, object b) => $"{name}: {a} and {b}";

    private static IEnumerable<string> Only(string which, IEnumerable<BenchmarkResult> results, IReadOnlyList<BenchmarkResult> others) =>
        results.Where(result => others.All(other => Key(other) != Key(result))).Select(result => $"only {which} run has {result.Policy} on {result.Group}");

    private static IEnumerable<string> ComputedOf(BenchmarkResult a, BenchmarkResult b)
    {
        (string Name, long A, long B)[] all =
            [("prompt tokens", a.PromptTokens, b.PromptTokens), ("FLOPs", a.Trace.Flops, b.Trace.Flops), ("KV bytes", a.Trace.KvBytes, b.Trace.KvBytes)];
        return all.Where(one => one.A != one.B).Select(one => $"{a.Policy} on {a.Group}: {Differ(one.Name, one.A, one.B)}");
    }

    private static IEnumerable<ComparedFigure> FiguresOf(BenchmarkResult a, BenchmarkResult? denseA, BenchmarkResult b, BenchmarkResult? denseB)
    {
        foreach (BenchmarkMeasure measure in BenchmarkMeasure.All)
        {
            if (a.Values(measure) is { Length: > 0 } mine && b.Values(measure) is { Length: > 0 } other)
                yield return new ComparedFigure(a.Group, a.Policy, measure.Name, mine, other);
        }

        // A machine's speed on the day is in both of a round's times, and not in their ratio.
        if (a.Policy != BenchmarkSettings.Dense && a.OfDense(BenchmarkMeasure.Prefill, denseA) is { Length: > 0 } share
            && b.OfDense(BenchmarkMeasure.Prefill, denseB) is { Length: > 0 } otherShare)
            yield return new ComparedFigure(a.Group, a.Policy, "prefill_of_dense", share, otherShare);
    }
}

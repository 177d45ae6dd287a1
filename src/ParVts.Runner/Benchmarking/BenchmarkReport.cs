using System.Globalization;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Output;

namespace ParVts.Runner.Benchmarking;

/// <summary>A run as tables for people, as a page and as CSV.</summary>
internal static class BenchmarkReport
{
    private const string None = "–";

    /// <summary>The tables, on standard output.</summary>
    public static void WriteTables(BenchmarkDocument document)
    {
        foreach (IGrouping<string, TextTable> tables in Tables(document, policy => policy).GroupBy(table => table.Title))
        {
            Console.Out.WriteLine(tables.Key);
            foreach (TextTable table in tables)
                table.Print();
        }

        Console.Out.WriteLine(HowToRead(document));
    }

    /// <summary>The same as a page, with the machine, the command and the date.</summary>
    public static void WriteMarkdown(string file, BenchmarkDocument document, string? plot)
    {
        using var writer = new StreamWriter(file) { NewLine = "\n" };
        writer.WriteLine($"# {document.Model.Split(' ')[0]}, {document.Day}");
        writer.WriteLine();
        writer.WriteLine($"    {document.Command}");
        writer.WriteLine();
        writer.WriteLine(HowToRead(document));
        writer.WriteLine();
        writer.WriteLine($"- model: {document.Model}");
        writer.WriteLine($"- machine: {document.Machine.Processor}, {document.Machine.Processors} logical processors, {Sizes.Mebibytes(document.Machine.MemoryBytes)}");
        writer.WriteLine($"- system: {document.Machine.System} ({document.Machine.Architecture}), {document.Machine.Runtime}");
        foreach (string device in document.Results.Select(result => $"{result.Group.Device}: {result.DeviceDescription}").Distinct())
            writer.WriteLine($"- {device}");
        writer.WriteLine($"- parvts {document.Version}, {document.Date:yyyy-MM-dd HH:mm} UTC");
        foreach (IGrouping<string, TextTable> tables in Tables(document, policy => $"`{policy}`").GroupBy(table => table.Title))
        {
            writer.WriteLine();
            writer.WriteLine($"## {tables.Key}");
            foreach (TextTable table in tables)
            {
                writer.WriteLine();
                table.WriteMarkdown(writer);
            }
        }

        if (plot is null)
            return;
        writer.WriteLine();
        writer.WriteLine($"![Prefill time over visual tokens]({Path.GetRelativePath(Path.GetDirectoryName(Path.GetFullPath(file))!, plot).Replace('\\', '/')})");
    }

    /// <summary>Every round as a line.</summary>
    public static void WriteCsv(string file, BenchmarkDocument document)
    {
        using var writer = new StreamWriter(file);
        writer.Write(Csv.Line(
        [
            "device", "threads", "text_tokens", "images", "new_tokens", "policy", "round", .. BenchmarkMeasure.All.Select(measure => measure.Name),
            "prefill_of_dense", "prompt_tokens", "visual_tokens", "flops", "flops_dense", "kv_bytes", "planned_bytes", "peak_process_bytes",
        ]));
        foreach (BenchmarkResult result in document.Results)
        {
            double[] ofDense = result.OfDense(BenchmarkMeasure.Prefill, document.DenseOf(result));
            for (int round = 0; round < result.Rounds.Count; round++)
            {
                writer.Write(Csv.Line(
                [
                    result.Group.Device, Whole(result.Group.Threads), result.Group.Text, Whole(result.Group.Images), Whole(result.Group.NewTokens),
                    result.Policy, Whole(round + 1),
                    .. BenchmarkMeasure.All.Select(measure => Value(measure.Of(result.Rounds[round]))),
                    ofDense.Length > 0 ? Value(ofDense[round]) : "",
                    Whole(result.PromptTokens), Whole(result.VisualTokens), Whole(result.Trace.Flops), Whole(result.Trace.FlopsDense),
                    Whole(result.Trace.KvBytes), Whole(result.Memory.Planned), result.Memory.PeakProcess is long peak ? Whole(peak) : "",
                ]));
            }
        }
    }

    /// <summary>"11197 (11070 to 12008)": median, smallest, largest.</summary>
    public static string Spread(IReadOnlyCollection<double> values)
    {
        if (values.Count == 0)
            return None;
        var summary = BenchmarkSummary.Of(values);
        return $"{TextTable.Figure(summary.Median)} ({TextTable.Figure(summary.Smallest)} to {TextTable.Figure(summary.Largest)})";
    }

    private static string HowToRead(BenchmarkDocument document)
    {
        int rounds = document.Results.Min(result => result.Rounds.Count);
        string coverage = rounds < 2 ? "" : string.Create(
            CultureInfo.InvariantCulture,
            $": between these lies the median of another run like this one in {Math.Floor(100 * BenchmarkStatistics.Coverage(rounds)):0} of 100, as far as chance goes");
        string cut = document.IsComplete ? "" : $" Cut off before all {document.Repeats} rounds had run.";
        return $"Median of {rounds} rounds (smallest to largest{coverage}). In every round each policy ran once, in turn, after {document.WarmUp} that did not count; "
            + $"shares of dense are of the same round.{cut}";
    }

    private static IEnumerable<TextTable> Tables(BenchmarkDocument document, Func<string, string> title)
    {
        foreach (IGrouping<BenchmarkGroup, BenchmarkResult> group in document.Results.GroupBy(result => result.Group))
        {
            BenchmarkResult first = group.First();
            string heading = $"{group.Key}: {first.PromptTokens} rows, {first.VisualTokens} of them visual";
            yield return new TextTable(
                heading,
                ["ms", .. BenchmarkMeasure.All.Select(measure => measure.Title), "tokens/s"],
                [.. group.Select(result => Times(result, title))]);
            yield return new TextTable(
                heading,
                ["of dense", "prefill", "decode", "FLOPs", "KV rows", "KV, MiB", "peak, MiB", "rows by layer"],
                [.. group.Select(result => Costs(result, document.DenseOf(result), title))]);
        }
    }

    private static string[] Times(BenchmarkResult result, Func<string, string> title)
    {
        double[] decode = result.Values(BenchmarkMeasure.Decode);
        return
        [
            title(result.Policy),
            .. BenchmarkMeasure.All.Select(measure => Spread(result.Values(measure))),
            decode.Length == 0 ? None : TextTable.Figure(1000 / BenchmarkSummary.Of(decode).Median),
        ];
    }

    private static string[] Costs(BenchmarkResult result, BenchmarkResult? dense, Func<string, string> title)
    {
        BenchmarkTrace trace = result.Trace;
        double rows = (double)result.PromptTokens * trace.KvRowsByLayer.Length;
        return
        [
            title(result.Policy),
            Share(BenchmarkMeasure.Prefill),
            Share(BenchmarkMeasure.Decode),
            Ratio((double)trace.Flops / trace.FlopsDense),
            Ratio(trace.KvRowsByLayer.Sum(kept => (long)kept) / rows),
            TextTable.Figure(trace.KvBytes / 1048576.0),
            result.Memory.PeakProcess is long peak ? TextTable.Figure(peak / 1048576.0) : None,
            Sizes.Runs(trace.RowsByLayer),
        ];

        string Share(BenchmarkMeasure measure)
        {
            double[] shares = result.OfDense(measure, dense);
            if (shares.Length == 0 || result.Policy == BenchmarkSettings.Dense)
                return shares.Length == 0 ? None : "1";
            var summary = BenchmarkSummary.Of(shares);
            return $"{Ratio(summary.Median)} ({Ratio(summary.Smallest)} to {Ratio(summary.Largest)})";
        }
    }

    private static string Ratio(double value) => value.ToString("0.000", CultureInfo.InvariantCulture);

    private static string Value(double value) => Math.Round(value, 6).ToString(CultureInfo.InvariantCulture);

    private static string Whole(long value) => value.ToString(CultureInfo.InvariantCulture);
}

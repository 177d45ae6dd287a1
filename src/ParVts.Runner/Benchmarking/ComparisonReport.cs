using System.Globalization;
using System.Text.Json;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Output;

namespace ParVts.Runner.Benchmarking;

/// <summary>Two runs side by side: as a table, as a page, as CSV and as JSON.</summary>
/// <param name="FileA">The first run's file.</param>
/// <param name="FileB">The second's.</param>
/// <param name="Comparison">What was found.</param>
internal sealed record ComparisonReport(string FileA, string FileB, BenchmarkComparison Comparison)
{
    private static readonly string[] s_columns = ["measured", "policy", "figure", "first", "second", "second / first", "p", "p, corrected", "second is"];

    private string Test => $"p: Mann-Whitney, exact, two-sided; corrected for {Comparison.Figures.Count} figures (Holm), of which those below "
        + $"{BenchmarkComparison.Level.ToString(CultureInfo.InvariantCulture)} count. It says whether the runs differ; a machine, too, differs from day to day, less so in shares of dense.";

    /// <summary>On standard output.</summary>
    public void WriteTable()
    {
        foreach (string note in Notes())
            Console.Out.WriteLine($"note: {note}");
        foreach (TextTable table in Tables())
        {
            Console.Out.WriteLine(table.Title);
            table.Print();
        }

        Console.Out.WriteLine(Test);
    }

    /// <summary>As a page.</summary>
    public void WriteMarkdown(string file, string command)
    {
        using var writer = new StreamWriter(file) { NewLine = "\n" };
        writer.WriteLine($"# {Path.GetFileName(FileB)} beside {Path.GetFileName(FileA)}");
        writer.WriteLine();
        writer.WriteLine($"    {command}");
        writer.WriteLine();
        writer.WriteLine(Test);
        foreach (string note in Notes())
            writer.WriteLine($"- {note}");
        foreach (TextTable table in Tables())
        {
            writer.WriteLine();
            writer.WriteLine($"## {table.Title}");
            writer.WriteLine();
            table.WriteMarkdown(writer);
        }
    }

    /// <summary>A figure a line.</summary>
    public void WriteCsv(string file)
    {
        using var writer = new StreamWriter(file);
        writer.Write(Csv.Line(s_columns));
        foreach (ComparedFigure figure in Comparison.Figures)
            writer.Write(Csv.Line(Cells(figure)));
    }

    /// <summary>The members of the object.</summary>
    public void WriteJson(Utf8JsonWriter json)
    {
        json.WriteString("a", FileA);
        json.WriteString("b", FileB);
        json.WriteString("test", Test);
        json.WriteNumber("level", BenchmarkComparison.Level);
        json.WriteStrings("differences", Comparison.Differences);
        json.WriteStrings("unpaired", Comparison.Unpaired);
        json.WriteStrings("computed", Comparison.Computed);
        json.WriteBoolean("too_few_rounds", Comparison.TooFewRounds);
        json.WriteStartArray("figures");
        foreach (ComparedFigure figure in Comparison.Figures)
        {
            json.WriteStartObject();
            json.WriteString("device", figure.Group.Device);
            json.WriteNumber("threads", figure.Group.Threads);
            json.WriteString("text_tokens", figure.Group.Text);
            json.WriteNumber("images", figure.Group.Images);
            json.WriteNumber("new_tokens", figure.Group.NewTokens);
            json.WriteString("policy", figure.Policy);
            json.WriteString("figure", figure.Measure);
            json.WriteSummary("a", figure.A);
            json.WriteSummary("b", figure.B);
            json.WriteNumber("ratio", figure.Ratio);
            json.WriteNumber("p", figure.Probability);
            json.WriteNumber("p_corrected", figure.Corrected);
            json.WriteString("verdict", Verdict(figure));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private IEnumerable<TextTable> Tables() => Comparison.Figures.GroupBy(figure => figure.Group)
        .Select(group => new TextTable(group.Key.ToString(), s_columns[1..], [.. group.Select(figure => Cells(figure)[1..])]));

    private IEnumerable<string> Notes()
    {
        foreach (string difference in Comparison.Differences)
            yield return $"not the same: {difference}";
        foreach (string note in Comparison.Unpaired.Concat(Comparison.Computed))
            yield return note;
        if (Comparison.TooFewRounds)
            yield return $"too few rounds for {Comparison.Figures.Count} figures: no difference, however clear, would count; measure with more --repeats";
    }

    private static string[] Cells(ComparedFigure figure) =>
    [
        figure.Group.ToString(),
        figure.Policy,
        figure.Measure,
        BenchmarkReport.Spread(figure.A),
        BenchmarkReport.Spread(figure.B),
        figure.Ratio.ToString("0.000", CultureInfo.InvariantCulture),
        figure.Probability.ToString("0.0000", CultureInfo.InvariantCulture),
        figure.Corrected.ToString("0.0000", CultureInfo.InvariantCulture),
        Verdict(figure),
    ];

    private static string Verdict(ComparedFigure figure) => figure.Verdict switch
    {
        ComparisonVerdict.Faster => "faster",
        ComparisonVerdict.Slower => "slower",
        _ => "not shown to differ",
    };
}

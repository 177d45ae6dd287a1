using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Runner.Benchmarking;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts bench</c>: times and memory of policies beside dense, from a model or a config alone.</summary>
internal static class BenchCommand
{
    public static Command Create()
    {
        var options = new BenchOptions();
        var command = new CommandWithExamples(
            "bench",
            "Measure times and memory of policies beside dense, on a model or on random weights.",
            """
            parvts bench --model llava-1.5-7b --policy dense,parvts:keep=64
            parvts bench --config llava-1.5-7b/config.json --images 1,2,5 --policy parvts:keep=64,migrate=3,vtw --markdown page.md --plot growth.svg
            parvts bench --config config.json --images 0 --prompt-tokens 128,640 --new-tokens 32 --threads 1,2 --out before.json
            parvts bench --compare before.json after.json
            """);
        options.AddTo(command);
        command.SetAction(parse => options.Compare(parse) is (string a, string b) ? Compare(parse, options, a, b) : Measure(parse, options));
        return command;
    }

    private static int Measure(ParseResult parse, BenchOptions options)
    {
        BenchmarkSettings settings = options.Read(parse);
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        var benchmarker = new Benchmarker(settings)
        {
            Progress = step => progress.Report(new GenerationProgress("runs", step.Done, step.Total)),
            Warning = text => Terminal.Note($"warning: {text}"),
        };
        (IReadOnlyList<BenchmarkResult> results, bool complete) = benchmarker.Run(interrupt.Token);
        progress.Finish();
        var document = new BenchmarkDocument
        {
            Version = MachineInfo.Version,
            Date = DateTime.UtcNow,
            Command = CommandLine(),
            Machine = BenchmarkMachine.Current(),
            Model = settings.Model.Identity(),
            WarmUp = settings.WarmUp,
            Repeats = settings.Repeats,
            IsComplete = complete,
            Results = results,
        };
        Write(parse, options, document);
        if (complete)
            return (int)ExitCode.Done;
        Terminal.Note($"cancelled after {results.Min(result => result.Rounds.Count)} of {settings.Repeats} rounds");
        return (int)ExitCode.Failed;
    }

    private static void Write(ParseResult parse, BenchOptions options, BenchmarkDocument document)
    {
        string? plot = options.PlotFileName(parse);
        if (options.ResultFile(parse) is string result)
            File.WriteAllText(result, JsonOutput.ToText(json => BenchmarkJson.Write(json, document)) + "\n");
        if (options.CsvFile(parse) is string csv)
            BenchmarkReport.WriteCsv(csv, document);
        if (plot is not null)
            PlotFile.Save(plot, BenchmarkPlot.Draw(document));
        if (options.MarkdownFile(parse) is string markdown)
            BenchmarkReport.WriteMarkdown(markdown, document, plot);
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => BenchmarkJson.Write(json, document));
        else
            BenchmarkReport.WriteTables(document);
    }

    private static int Compare(ParseResult parse, BenchOptions options, string a, string b)
    {
        BenchmarkComparison comparison = BenchmarkComparison.Of(BenchmarkReader.Read(a), BenchmarkReader.Read(b));
        if (comparison.Differences.Count > 0 && !options.Anyway(parse))
        {
            throw new UsageException(
                $"{a} and {b} were not made on the same machine with the same settings ({string.Join("; ", comparison.Differences)}); --anyway compares them all the same");
        }

        if (comparison.Figures.Count == 0)
            throw new UsageException($"{a} and {b} have nothing in common: {string.Join("; ", comparison.Unpaired)}");
        var report = new ComparisonReport(a, b, comparison);
        if (options.CsvFile(parse) is string csv)
            report.WriteCsv(csv);
        if (options.MarkdownFile(parse) is string markdown)
            report.WriteMarkdown(markdown, CommandLine());
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(report.WriteJson);
        else
            report.WriteTable();
        return (int)ExitCode.Done;
    }

    // As it can be typed again.
    private static string CommandLine() => string.Join(
        ' ',
        Environment.GetCommandLineArgs().Skip(1).Select(word => word.Length > 0 && word.All(c => char.IsLetterOrDigit(c) || "-_./,:=+@".Contains(c, StringComparison.Ordinal))
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'").Prepend("parvts"));
}

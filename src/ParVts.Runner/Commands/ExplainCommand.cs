using System.CommandLine;
using ParVts.Runner.Explaining;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts explain</c>: a page that shows what a policy does with the visual tokens, beside dense.</summary>
internal static class ExplainCommand
{
    public static Command Create()
    {
        var options = new RunOptions();
        var output = new Option<string>("--out") { Description = "The page to write.", HelpName = "report.html", Required = true };
        var pictures = new Option<string?>("--png")
        {
            Description = "Also write each picture as the layers see it, a PNG wherever that changes.",
            HelpName = "DIR",
        };
        var command = new CommandWithExamples(
            "explain",
            "Answer a question, and write a page that shows where its visual tokens went, beside the dense policy.",
            """
            parvts explain --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --policy parvts --out report.html
            parvts explain --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --policy fastv --out report.html --png overlays
            """);
        options.AddTo(command);
        command.Options.Add(output);
        command.Options.Add(pictures);
        command.SetAction(parse => Run(parse, options, parse.GetRequiredValue(output), parse.GetValue(pictures)));
        return command;
    }

    private static int Run(ParseResult parse, RunOptions options, string file, string? folder)
    {
        OutputFile.Require("--out", file);
        using Request request = options.Open(parse);
        using var run = new ExplainRun(request);
        ExplainReport.Save(run.Data, file);
        IReadOnlyList<string> overlays = folder is null ? [] : TokenOverlay.Save(run.Data, run.Pictures, folder);
        var report = new AnswerReport(request.Engine, run.Session, run.Result, request.ImageMilliseconds);
        if (parse.GetValue(CommonOptions.Json))
        {
            JsonOutput.Write(json =>
            {
                report.Write(json);
                json.WriteString("dense_text", run.DenseResult.Text);
                if (double.IsFinite(run.Data.Kl))
                    json.WriteNumber("kl", run.Data.Kl);
                else
                    json.WriteNull("kl");
                json.WriteString("out", file);
                json.WriteStrings("png", overlays);
            });
            return (int)ExitCode.Done;
        }

        Console.Out.WriteLine(run.Result.Text);
        Terminal.Note(report.Summary());
        Terminal.Note(overlays.Count == 0 ? $"wrote {file}" : $"wrote {file}, and {overlays.Count} pictures into {folder}");
        return (int)ExitCode.Done;
    }
}

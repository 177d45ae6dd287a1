using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts eval</c>: accuracy on a set of questions, policy by policy.</summary>
internal static class EvalCommand
{
    // What public evaluations of short answers (VQAv2, GQA, TextVQA) allow.
    private const int MaxTokens = 16;

    public static Command Create()
    {
        var model = new ModelOptions();
        var data = new Option<string>("--data")
        {
            Description = "Questions, one JSON object a line: image, question, answer, and optionally kind, id. An answer is right when it "
                + "equals the expected one after trimming, lower-casing and dropping punctuation at its end.",
            HelpName = "eval.jsonl",
            Required = true,
        };
        var policies = new Option<string[]>("--policy")
        {
            Description = "A policy to measure; may be repeated. Every figure is compared with dense, which runs too where it is not named.",
            HelpName = "POLICY",
            DefaultValueFactory = _ => ["dense"],
        };
        var limit = new Option<int?>("--limit") { Description = "Only so many questions, from the first on.", HelpName = "N" };
        var output = new Option<string?>("--out")
        {
            Description = "Every question and answer, as CSV, written as they come. Where the file is there already, its answers are "
                + "not asked for again: the evaluation goes on where it was stopped, or takes further policies in.",
            HelpName = "table.csv",
        };
        var restart = new Option<bool>("--restart") { Description = "Start the table of --out over." };
        var markdown = new Option<string?>("--markdown") { Description = "The table of figures as a page.", HelpName = "page.md" };
        var maxTokens = new Option<int>("--max-tokens")
        {
            Description = "New tokens at most; decoding is greedy.",
            HelpName = "N",
            DefaultValueFactory = _ => MaxTokens,
        };
        Option<string> template = PromptOptions.CreateTemplate();
        Option<string> aspect = PromptOptions.CreateAspect();
        var command = new CommandWithExamples(
            "eval",
            "Measure accuracy, agreement and speed of policies on a set of questions.",
            """
            parvts eval --model demo --data eval.jsonl
            parvts eval --model demo --data eval.jsonl --policy fastv:layer=2,keep=0.5 --policy vtw:layer=4 --out table.csv
            parvts eval --model demo --data eval.jsonl --policy parvts:keep=36,migrate=1 --out table.csv --markdown page.md
            """);
        model.AddTo(command);
        foreach (Option option in new Option[] { data, policies, limit, output, restart, markdown, maxTokens, template, aspect })
            command.Options.Add(option);
        command.SetAction(parse =>
        {
            string file = parse.GetRequiredValue(data);
            var settings = new EvaluationSettings(
                parse.GetRequiredValue(policies),
                parse.GetValue(maxTokens),
                PromptOptions.RequireTemplate(parse.GetRequiredValue(template)),
                PromptOptions.ParseAspect(parse.GetRequiredValue(aspect)),
                Path.GetDirectoryName(Path.GetFullPath(file))!);
            var files = new Files(file, parse.GetValue(output), parse.GetValue(restart), parse.GetValue(markdown));
            return Run(parse, model, settings, files, parse.GetValue(limit));
        });
        return command;
    }

    private static int Run(ParseResult parse, ModelOptions model, EvaluationSettings settings, Files files, int? limit)
    {
        foreach (string policy in settings.Policies)
            _ = PolicyRegistry.Create(policy);
        if (limit < 1)
            throw new UsageException($"--limit is {limit}; it must be at least 1");
        if (files is { Restart: true, Output: null })
            throw new UsageException("--restart starts a table over; name it with --out");
        OutputFile.Require("--markdown", files.Markdown);
        IReadOnlyList<EvaluationQuestion> all = EvaluationQuestion.Read(files.Data);
        IReadOnlyList<EvaluationQuestion> questions = [.. all.Take(limit ?? int.MaxValue)];
        using InferenceEngine engine = model.Open(parse);
        using var evaluator = new Evaluator(engine, settings);
        var identity = new EvaluationIdentity(
            ModelFingerprint.Of(engine.Directory), Path.GetFileName(files.Data),
            settings.Template, settings.Aspect.ToString().ToLowerInvariant(), settings.MaxTokens);

        // Not before everything else is known to be right: a restart drops what the table holds.
        using AnswerTable table = AnswerTable.Open(files.Output, identity, all, files.Restart);
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        evaluator.Run(
            questions, table, done => progress.Report(new GenerationProgress("questions", done, questions.Count)), interrupt.Token);
        progress.Finish();
        EvaluationScores scores = evaluator.Score(questions, table);
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => EvaluationReport.WriteJson(json, engine, scores));
        else
            EvaluationReport.WriteTable(scores);
        if (files.Markdown is not null)
            EvaluationReport.WriteMarkdown(files.Markdown, engine, identity, scores);
        int answered = scores.Policies.Min(score => score.Answers.Count);
        if (answered == questions.Count)
            return (int)ExitCode.Done;
        string next = files.Output is null ? "" : "; the same command, without --restart, goes on from there";
        Terminal.Note($"cancelled after {answered} of {questions.Count} questions{next}");
        return (int)ExitCode.Failed;
    }

    /// <summary>The files that are read and written.</summary>
    private sealed record Files(string Data, string? Output, bool Restart, string? Markdown);
}

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
            Description = "A policy to measure; may be repeated. Agreement is with the first one.",
            HelpName = "POLICY",
            DefaultValueFactory = _ => ["dense"],
        };
        var limit = new Option<int?>("--limit") { Description = "Only so many questions, from the first on.", HelpName = "N" };
        var output = new Option<string?>("--out") { Description = "Every question and answer, as CSV.", HelpName = "table.csv" };
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
            parvts eval --model demo --data eval.jsonl --policy dense --policy fastv:layer=2,keep=0.5 --out table.csv
            """);
        model.AddTo(command);
        foreach (Option option in new Option[] { data, policies, limit, output, maxTokens, template, aspect })
            command.Options.Add(option);
        command.SetAction(parse =>
        {
            var settings = new EvaluationSettings(
                parse.GetRequiredValue(policies),
                new GenerationOptions { MaxTokens = parse.GetValue(maxTokens) },
                PromptOptions.RequireTemplate(parse.GetRequiredValue(template)),
                PromptOptions.ParseAspect(parse.GetRequiredValue(aspect)));
            return Run(parse, model, settings, parse.GetRequiredValue(data), parse.GetValue(limit), parse.GetValue(output));
        });
        return command;
    }

    private static int Run(
        ParseResult parse, ModelOptions model, EvaluationSettings settings, string data, int? limit, string? output)
    {
        settings.Options.Validate();
        foreach (string policy in settings.Policies)
            _ = PolicyRegistry.Create(policy);
        if (limit < 1)
            throw new UsageException($"--limit is {limit}; it must be at least 1");
        IReadOnlyList<EvaluationQuestion> questions = EvaluationQuestion.Read(data, limit ?? int.MaxValue);
        using InferenceEngine engine = model.Open(parse);
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        IReadOnlyList<PolicyScore> scores = Evaluator.Run(
            engine, questions, settings, done => progress.Report(new GenerationProgress("questions", done, questions.Count)),
            interrupt.Token);
        progress.Finish();
        if (output is not null)
            EvaluationReport.WriteCsv(output, questions, scores);
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => EvaluationReport.WriteJson(json, engine, scores));
        else
            EvaluationReport.WriteTable(scores);
        if (!interrupt.Token.IsCancellationRequested)
            return (int)ExitCode.Done;
        Terminal.Note($"cancelled after {scores[0].Answers.Count} of {questions.Count} questions");
        return (int)ExitCode.Failed;
    }
}

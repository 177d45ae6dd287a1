using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts eval</c>: accuracy on a set of questions, policy by policy.</summary>
internal static class EvalCommand
{
    public static Command Create()
    {
        var options = new EvalOptions();
        var command = new CommandWithExamples(
            "eval",
            "Measure accuracy, agreement and speed of policies on a set of questions.",
            """
            parvts eval --model demo --data eval.jsonl
            parvts eval --model demo --data eval.jsonl --policy fastv:layer=2,keep=0.5 --policy vtw:layer=4 --out table.csv
            parvts eval --model demo --data eval.jsonl --policy parvts --policy fastv --equal tokens=36 --plot plot.svg
            parvts eval --model llava-1.5-7b --data pope/coco --images val2014 --published --shard 1/4 --out pope-1.csv
            """);
        options.AddTo(command);
        command.SetAction(parse => Run(parse, options.Model, options.Read(parse)));
        return command;
    }

    private static int Run(ParseResult parse, ModelOptions model, EvalRequest request)
    {
        IReadOnlyList<EvaluationQuestion> all = [.. request.Data.Questions.Take(request.Limit)];
        IReadOnlyList<EvaluationQuestion> questions = request.Shard.Of(all);
        IReadOnlyList<EvaluationQuestion> sample = request.Budgets.Count > 0 ? Sample(all) : [];
        if (questions.Count == 0)
            throw new UsageException($"shard {request.Shard.Number} of {request.Shard.Count} holds none of {all.Count} questions");
        request.Data.RequirePictures(questions.Concat(sample));
        using InferenceEngine engine = model.Open(parse);
        var prompts = new QuestionPrompts(engine, request.Data, request.Settings);
        BudgetedPolicy[] policies = Policies(request, engine, [.. sample.Select(prompts.Create)]);
        EvaluationSettings settings = request.Settings with { Policies = [.. policies.Select(policy => policy.Policy)] };
        using var evaluator = new Evaluator(engine, request.Data, prompts, settings);
        var identity = new EvaluationIdentity(
            ModelFingerprint.Of(engine.Directory), request.Data.Name, settings.Template, settings.Aspect.ToString().ToLowerInvariant(), settings.MaxTokens);

        // Not before everything else is known to be right: a restart drops what the table holds.
        using AnswerTable table = AnswerTable.Open(request.Output, identity, request.Data.Questions, request.Restart);
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        evaluator.Run(
            questions, table, done => progress.Report(new GenerationProgress("questions", done, questions.Count)), interrupt.Token);
        progress.Finish();
        EvaluationScores scores = evaluator.Score(questions, table) with { Notes = [.. policies.Select(policy => policy.Note).OfType<string>().Distinct()] };
        Write(parse, request, engine, identity, scores);
        int answered = scores.Policies.Min(score => score.Answers.Count);
        if (answered == questions.Count)
            return (int)ExitCode.Done;
        string next = request.Output is null ? "" : "; the same command, without --restart, goes on from there";
        Terminal.Note($"cancelled after {answered} of {questions.Count} questions{next}");
        return (int)ExitCode.Failed;
    }

    // The same for every shard, so that all of them set policies alike.
    private static IReadOnlyList<EvaluationQuestion> Sample(IReadOnlyList<EvaluationQuestion> questions)
    {
        int count = Math.Min(BudgetSolver.Sample, questions.Count);
        return [.. Enumerable.Range(0, count).Select(i => questions[(int)((long)questions.Count * i / count)])];
    }

    private static BudgetedPolicy[] Policies(EvalRequest request, InferenceEngine engine, IReadOnlyList<Prompt> sample)
    {
        if (request.Budgets.Count == 0)
            return [.. request.Policies.Select(policy => new BudgetedPolicy(policy, null))];
        var solver = new BudgetSolver(engine, sample);
        using var progress = new ProgressDisplay();
        int done = 0;
        int count = request.Policies.Count * request.Budgets.Count;
        var solved = new List<BudgetedPolicy>();
        foreach (string policy in request.Policies)
        {
            foreach (EvaluationBudget budget in request.Budgets)
            {
                solved.Add(solver.Solve(policy, budget));
                progress.Report(new GenerationProgress("budgets", ++done, count));
            }
        }

        progress.Finish();
        return [.. solved.GroupBy(one => one.Policy).Select(same => same.First() with { Note = string.Join("; ", same.Select(one => one.Note).OfType<string>().Distinct()) is { Length: > 0 } note ? note : null })];
    }

    private static void Write(ParseResult parse, EvalRequest request, InferenceEngine engine, EvaluationIdentity identity, EvaluationScores scores)
    {
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => EvaluationReport.WriteJson(json, engine, scores));
        else
            EvaluationReport.WriteTable(scores);
        if (request.Markdown is not null)
            EvaluationReport.WriteMarkdown(request.Markdown, engine, identity, scores);
        if (request.Plot is not null)
            PlotFile.Save(request.Plot, EvaluationPlot.Draw(scores, $"{identity.Model.Split(' ')[0]} on {identity.Data}"));
    }
}

using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;
using ParVts.Runner.Analyzing;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts analyze</c>: what each layer does with visual tokens, and what becomes of answers when it may not.</summary>
internal sealed class AnalyzeCommand
{
    private const int MaxTokens = 16;

    private readonly ModelOptions _model = new();
    private readonly PromptOptions _prompt = new();

    private readonly Option<string?> _data = new("--data")
    {
        Description = "Questions in place of --image and --prompt, one JSON object a line: image, question, answer.",
        HelpName = "eval.jsonl",
    };

    private readonly Option<int?> _limit = new("--limit") { Description = "Of --data only so many questions, from the first on.", HelpName = "N" };

    private readonly Option<string?> _output = new("--out") { Description = "The figures as CSV, a line a request and layer.", HelpName = "figures.csv" };

    private readonly Option<string?> _plot = new("--plot")
    {
        Description = "The stages as a plot: mass and deviation over the layers, thresholds, and where VisiPruner filters and exits; as SVG or PNG.",
        HelpName = "stages.svg",
    };

    private readonly Option<string?> _visiPruner = new("--visipruner")
    {
        Description = "Parameters of the VisiPruner whose thresholds and layers are shown, where they are not the defaults.",
        HelpName = "KEY=VALUE,...",
    };

    private readonly Option<string[]> _knockOuts = new("--knock-out")
    {
        Description = "Ask again where text may not look at visual tokens, or these not at each other, in a range of layers; may be repeated. "
            + "WHO is text-visual, visual-visual or both; with :after behind it, what is taken away is not made up for by other tokens.",
        HelpName = "WHO:FROM-TO",
        DefaultValueFactory = _ => [],
    };

    private readonly Option<int> _maxTokens = new("--max-tokens")
    {
        Description = "New tokens at most; decoding is greedy.",
        HelpName = "N",
        DefaultValueFactory = _ => MaxTokens,
    };

    private AnalyzeCommand()
    {
    }

    public static Command Create()
    {
        var options = new AnalyzeCommand();
        var command = new CommandWithExamples(
            "analyze",
            "Measure layer by layer what attention does with visual tokens, as VisiPruner's analysis does.",
            """
            parvts analyze --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --out figures.csv --plot stages.svg
            parvts analyze --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --policy visipruner:shallow=4
            parvts analyze --model demo --data eval.jsonl --limit 50 --knock-out text-visual:0-3 --knock-out text-visual:4-7 --knock-out visual-visual:0-7
            """);
        options._model.AddTo(command);
        options._prompt.AddTo(command, withText: true);
        foreach (Option option in new Option[]
        {
            options._data, options._limit, options._output, options._plot, options._visiPruner, options._knockOuts, options._maxTokens,
        })
        {
            command.Options.Add(option);
        }

        command.SetAction(parse => options.Run(parse));
        return command;
    }

    private int Run(ParseResult parse)
    {
        string policy = _prompt.Policy(parse);
        _ = PolicyRegistry.Create(policy);
        string? parameters = parse.GetValue(_visiPruner);
        var visiPruner = (VisiPrunerPolicy)PolicyRegistry.Create(parameters is null ? "visipruner" : VisiPrunerString(parameters));
        KnockOut[] knockOuts = [.. parse.GetRequiredValue(_knockOuts).Select(KnockOut.Parse)];
        OutputFile.Require("--out", parse.GetValue(_output));
        PlotFile.Require("--plot", parse.GetValue(_plot));
        AnalysisQuestions questions = ReadQuestions(parse);
        using InferenceEngine engine = _model.Open(parse);
        using var analyzer = new Analyzer(engine, policy, visiPruner, knockOuts, parse.GetValue(_maxTokens));
        List<RequestAnalysis> requests = Ask(analyzer, questions, engine);
        var analysis = new Analysis(analyzer.Policy, visiPruner, knockOuts, requests);
        if (!analysis.Layers.Any())
            throw new UsageException($"policy '{analysis.Policy}' keeps no visual tokens' keys in any layer: there is nothing to measure");
        Write(parse, analysis);
        if (requests.Count == questions.Count)
            return (int)ExitCode.Done;
        Terminal.Note($"cancelled after {requests.Count} of {questions.Count} requests");
        return (int)ExitCode.Failed;
    }

    private static List<RequestAnalysis> Ask(Analyzer analyzer, AnalysisQuestions questions, InferenceEngine engine)
    {
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        var done = new List<RequestAnalysis>();
        foreach (AnalysisRequest request in questions.Requests(engine))
        {
            if (analyzer.Ask(request, interrupt.Token) is not RequestAnalysis found)
                break;
            done.Add(found);
            progress.Report(new GenerationProgress("requests", done.Count, questions.Count));
        }

        progress.Finish();
        return done.Count > 0 ? done : throw new OperationCanceledException();
    }

    private void Write(ParseResult parse, Analysis analysis)
    {
        string? table = parse.GetValue(_output);
        string? plot = parse.GetValue(_plot);
        if (table is not null)
            AnalysisReport.WriteCsv(table, analysis);
        if (plot is not null)
            PlotFile.Save(plot, StagePlot.Draw(analysis));
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => AnalysisReport.WriteJson(json, analysis));
        else
            AnalysisReport.WriteTables(analysis);
    }

    private AnalysisQuestions ReadQuestions(ParseResult parse)
    {
        string? data = parse.GetValue(_data);
        int? limit = parse.GetValue(_limit);
        string template = _prompt.Template(parse);
        if (limit < 1)
            throw new UsageException($"--limit is {limit}; it must be at least 1");
        if (data is null)
        {
            PromptText text = _prompt.Text(parse);
            IReadOnlyList<Picture> pictures = _prompt.Pictures(parse);
            if (pictures.Count == 0)
                throw new UsageException("there is nothing to analyse without a picture: give --image, or --data");
            return new AnalysisQuestions(1, Single);

            IEnumerable<AnalysisRequest> Single(InferenceEngine engine)
            {
                PromptImage[] images = [.. pictures.Select(picture => engine.PrepareImage(picture.Image, _prompt.Aspect(parse)))];
                yield return new AnalysisRequest("1", text.Create(engine, images, template), Expected: null);
            }
        }

        if (_prompt.IsGiven(parse))
            throw new UsageException("--data brings its own pictures and questions: leave --image and --prompt out");
        IReadOnlyList<EvaluationQuestion> questions = [.. EvaluationQuestion.Read(data).Take(limit ?? int.MaxValue)];
        string folder = Path.GetDirectoryName(Path.GetFullPath(data))!;
        return new AnalysisQuestions(questions.Count, engine => questions.Select(question =>
        {
            PromptImage image = engine.PrepareImage(Picture.Load(Path.Combine(folder, question.Image)).Image, _prompt.Aspect(parse));
            Prompt prompt = engine.CreatePrompt([PromptText.UserMessage(question.Question, 1)], [image], template);
            return new AnalysisRequest(question.Id, prompt, question.Answer);
        }));
    }

    // Stacked policies are no parameters.
    private static string VisiPrunerString(string parameters) => parameters.Contains('+', StringComparison.Ordinal)
        ? throw new UsageException($"--visipruner {parameters}: write parameters of visipruner, as in tcos=0.99,texit=0.999")
        : $"visipruner:{parameters}";

    /// <summary>Requests that are made one by one: their pictures need not be in memory together.</summary>
    private sealed record AnalysisQuestions(int Count, Func<InferenceEngine, IEnumerable<AnalysisRequest>> Requests);
}

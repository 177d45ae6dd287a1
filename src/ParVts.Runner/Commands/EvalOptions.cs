using System.CommandLine;
using ParVts.Engine.Imaging;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Evaluation.Benchmarks;
using ParVts.Runner.Options;

namespace ParVts.Runner.Commands;

/// <summary>The options of <c>parvts eval</c>.</summary>
internal sealed class EvalOptions
{
    // What public evaluations of short answers (VQAv2, GQA, TextVQA) need.
    private const int MaxTokens = 16;

    // What the published runs of LLaVA-1.5 ask with.
    private const string PublishedTemplate = "vicuna_v1";

    private readonly Option<string> _data = new("--data")
    {
        Description = "The questions: a file or folder of POPE, GQA, TextVQA, MME, ScienceQA or MMBench as it is published, or one's own, a JSON object "
            + "a line: image, question, answer, and optionally kind, id. One's own answers are right when they equal the expected one after trimming, "
            + "lower-casing and dropping punctuation at the end.",
        HelpName = "FILE|DIR",
        Required = true,
    };

    private readonly Option<string?> _format = new("--format")
    {
        Description = $"What the questions are, where that cannot be seen: {string.Join(", ", Benchmark.All.Select(one => one.Name))}.",
        HelpName = "NAME",
    };

    private readonly Option<string?> _images = new("--images") { Description = "Where the pictures lie, if not beside the questions.", HelpName = "DIR" };

    private readonly Option<string[]> _policies = new("--policy")
    {
        Description = "A policy to measure; may be repeated. Every figure is compared with dense, which runs too where it is not named.",
        HelpName = "POLICY",
        DefaultValueFactory = _ => ["dense"],
    };

    private readonly Option<string?> _equal = new("--equal")
    {
        Description = "Set every policy to the same budget by its own parameter, unless its string gives that: tokens=64 (visual tokens, mean of the "
            + "layers), flops=0.3 (of dense's prefill); several as flops=0.2/0.3.",
        HelpName = "BUDGET",
    };

    private readonly Option<bool> _published = new("--published")
    {
        Description = $"Ask as the published runs of LLaVA-1.5 do: --template {PublishedTemplate}, --image-aspect pad, their number of new tokens.",
    };

    private readonly Option<bool> _reconstruction = new("--reconstruction")
    {
        Description = "Measure what is lost of the visual features before the decoder: each of dense's rows is replaced by the nearest one that is "
            + "left, and the squared distances are summed, as a share of the rows' spread. Takes one more prefill a question and policy.",
    };

    private readonly Option<int?> _limit = new("--limit") { Description = "Only so many questions, from the first on.", HelpName = "N" };

    private readonly Option<string?> _shard = new("--shard")
    {
        Description = "Only a part of the questions, say 2/8. The shards' --out tables, one behind the other in a file, are the table of all.",
        HelpName = "I/N",
    };

    private readonly Option<string?> _output = new("--out")
    {
        Description = "Every question and answer, as CSV, written as they come. Where the file is there already, its answers are "
            + "not asked for again: the evaluation goes on where it was stopped, or takes further policies in.",
        HelpName = "table.csv",
    };

    private readonly Option<bool> _restart = new("--restart") { Description = "Start the table of --out over." };

    private readonly Option<string?> _markdown = new("--markdown") { Description = "The table of figures as a page.", HelpName = "page.md" };

    private readonly Option<string?> _plot = new("--plot") { Description = "Accuracy over prefill FLOPs, a point a policy, as SVG or PNG.", HelpName = "plot.svg" };

    private readonly Option<int?> _maxTokens = new("--max-tokens") { Description = $"New tokens at most ({MaxTokens}); decoding is greedy.", HelpName = "N" };

    private readonly Option<string> _template = PromptOptions.CreateTemplate();

    private readonly Option<string> _aspect = PromptOptions.CreateAspect();

    /// <summary>Which model, on which device.</summary>
    public ModelOptions Model { get; } = new();

    /// <summary>Adds the options to the command.</summary>
    public void AddTo(Command command)
    {
        Model.AddTo(command);
        Option[] all =
            [_data, _format, _images, _policies, _equal, _published, _reconstruction, _limit, _shard, _output, _restart, _markdown, _plot, _maxTokens, _template, _aspect];
        foreach (Option option in all)
            command.Options.Add(option);
    }

    /// <summary>Reads them; what is quick to refuse is refused before the questions are read.</summary>
    public EvalRequest Read(ParseResult parse)
    {
        bool published = parse.GetValue(_published);
        string template = PromptOptions.RequireTemplate(published && IsImplicit(_template) ? PublishedTemplate : parse.GetRequiredValue(_template));
        ImageAspect aspect = published && IsImplicit(_aspect) ? ImageAspect.Pad : PromptOptions.ParseAspect(parse.GetRequiredValue(_aspect));
        if (parse.GetValue(_limit) is < 1)
            throw new UsageException($"--limit is {parse.GetValue(_limit)}; it must be at least 1");
        var request = new EvalRequest
        {
            Policies = parse.GetRequiredValue(_policies),
            Budgets = parse.GetValue(_equal) is string equal ? EvaluationBudget.Parse(equal) : [],
            Limit = parse.GetValue(_limit) ?? int.MaxValue,
            Shard = parse.GetValue(_shard) is string shard ? Shard.Parse(shard) : Shard.All,
            Output = parse.GetValue(_output),
            Restart = parse.GetValue(_restart),
            Markdown = parse.GetValue(_markdown),
            Plot = parse.GetValue(_plot),
        };
        request.Require();
        EvaluationData data = EvaluationData.Open(parse.GetRequiredValue(_data), parse.GetValue(_format), parse.GetValue(_images));
        int tokens = parse.GetValue(_maxTokens) ?? (published ? data.Benchmark.PublishedTokens : MaxTokens);
        return request with { Data = data, Settings = new EvaluationSettings([], tokens, template, aspect, parse.GetValue(_reconstruction)) };

        bool IsImplicit(Option option) => parse.GetResult(option) is null or { Implicit: true };
    }
}

using System.CommandLine;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Benchmarking;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary>The options of <c>parvts bench</c>.</summary>
internal sealed class BenchOptions
{
    private const int MostImages = 1000;
    private const int MostNewTokens = 1 << 20;
    private const int MostThreads = 1024;

    private readonly Option<string?> _model = new("--model") { Description = "The checkpoint's folder. It needs no tokenizer: prompts are random ids, pictures noise.", HelpName = "DIR" };

    private readonly Option<string?> _config = new("--config")
    {
        Description = "In place of --model, a config alone: random weights of its shapes and its type (bfloat16 where it names none) are made in memory.",
        HelpName = "FILE|DIR",
    };

    private readonly Option<int> _seed = new("--seed") { Description = "Of random weights, prompts and pictures.", HelpName = "N", DefaultValueFactory = _ => 1 };

    private readonly Option<string[]> _promptTokens = List(
        "--prompt-tokens", "Text tokens: 35+29 has 35 before the pictures and 29 behind each; 64 is all of them, up to 35 before and the rest spread behind.", "LIST", "35+29");

    private readonly Option<string[]> _images = List("--images", "Pictures in the prompt.", "LIST", "1");

    private readonly Option<string[]> _newTokens = List("--new-tokens", "Tokens that are generated.", "LIST", "16");

    private readonly Option<string[]> _policies = List(
        "--policy",
        "Policies: set apart with commas, or the option again. A comma ends a policy where another's name follows, as in dense,parvts:keep=64,migrate=3,vtw. "
            + "Every figure is set beside dense's, which runs too where it is not named.",
        "LIST",
        "parvts");

    private readonly Option<string[]> _devices = List("--device", "Devices: auto, cpu, cuda:N, cuda:UUID, GPU-UUID, sim.", "LIST", "auto");

    private readonly Option<string[]> _threads = List("--threads", "Threads that compute on the CPU; 0 for one a physical core.", "LIST", "0");

    private readonly Option<int> _warmUp = new("--warm-up")
    {
        Description = "Rounds before those that count, after one that measures memory.",
        HelpName = "N",
        DefaultValueFactory = _ => 1,
    };

    private readonly Option<int> _repeats = new("--repeats") { Description = "Rounds that count; in each, everything runs once.", HelpName = "N", DefaultValueFactory = _ => 9 };

    private readonly Option<bool> _noGraphs = new("--no-graphs") { Description = "On a GPU, launch every kernel of a decode step by itself." };

    private readonly Option<string?> _output = new("--out") { Description = "What --json prints, as a file: for --compare.", HelpName = "result.json" };

    private readonly Option<string?> _csv = new("--csv") { Description = "Every round as a line.", HelpName = "rounds.csv" };

    private readonly Option<string?> _markdown = new("--markdown") { Description = "The tables as a page, with the machine, the command and the date.", HelpName = "page.md" };

    private readonly Option<string?> _plot = new("--plot") { Description = "Prefill time over visual tokens, a line a policy, as SVG or PNG.", HelpName = "plot.svg" };

    private readonly Option<string[]> _compare = new("--compare")
    {
        Description = "Measure nothing: set two result files side by side, with significance.",
        HelpName = "A.json B.json",
        Arity = new ArgumentArity(2, 2),
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<bool> _anyway = new("--anyway") { Description = "Compare also what was measured on different machines or with different settings; the differences are named." };

    /// <summary>Adds the options to the command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in Measuring)
            command.Options.Add(option);
        foreach (Option option in new Option[] { _csv, _markdown, _compare, _anyway })
            command.Options.Add(option);
    }

    /// <summary>--csv.</summary>
    public string? CsvFile(ParseResult parse) => parse.GetValue(_csv);

    /// <summary>--markdown.</summary>
    public string? MarkdownFile(ParseResult parse) => parse.GetValue(_markdown);

    /// <summary>--out.</summary>
    public string? ResultFile(ParseResult parse) => parse.GetValue(_output);

    /// <summary>--plot.</summary>
    public string? PlotFileName(ParseResult parse) => parse.GetValue(_plot);

    /// <summary>--anyway.</summary>
    public bool Anyway(ParseResult parse) => parse.GetValue(_anyway);

    /// <summary>The files of --compare, or null where something is to be measured.</summary>
    public (string A, string B)? Compare(ParseResult parse)
    {
        RequireFiles(parse);
        if (parse.GetValue(_compare) is not [string a, string b])
            return parse.GetValue(_anyway) ? throw new UsageException("--anyway is for --compare") : null;
        if (Measuring.FirstOrDefault(option => parse.GetResult(option) is { Implicit: false }) is Option given)
            throw new UsageException($"--compare measures nothing: leave {given.Name} out");
        return (a, b);
    }

    /// <summary>What is to be measured; what is quick to refuse is refused here.</summary>
    public BenchmarkSettings Read(ParseResult parse)
    {
        int[] images = OptionLists.Numbers(_images.Name, parse.GetRequiredValue(_images), 0, MostImages);
        int[] newTokens = OptionLists.Numbers(_newTokens.Name, parse.GetRequiredValue(_newTokens), 1, MostNewTokens);
        PromptShape[] texts = [.. OptionLists.Texts(_promptTokens.Name, parse.GetRequiredValue(_promptTokens)).Select(PromptShape.Parse)];
        var settings = new BenchmarkSettings
        {
            Model = ReadModel(parse),
            Cases = [.. from text in texts from image in images from tokens in newTokens select new BenchmarkCase(text, image, tokens)],
            Policies = ReadPolicies(parse),
            Devices = [.. OptionLists.Texts(_devices.Name, parse.GetRequiredValue(_devices)).Select(ModelOptions.RequireDevice)],
            Threads = OptionLists.Numbers(_threads.Name, parse.GetRequiredValue(_threads), 0, MostThreads),
            WarmUp = Within(_warmUp, parse, 0, BenchmarkStatistics.MostRounds),
            Repeats = Within(_repeats, parse, 1, BenchmarkStatistics.MostRounds),
            Cuda = new CudaOptions { Graphs = !parse.GetValue(_noGraphs) },
        };
        if (parse.GetValue(_plot) is not null)
            BenchmarkPlot.Require(settings);
        return settings;
    }

    private IEnumerable<Option> Measuring =>
        [_model, _config, _seed, _promptTokens, _images, _newTokens, _policies, _devices, _threads, _warmUp, _repeats, _noGraphs, _output, _plot];

    private static Option<string[]> List(string name, string description, string helpName, string standard) => new(name)
    {
        Description = description,
        HelpName = helpName,
        DefaultValueFactory = _ => [standard],
    };

    private static int Within(Option<int> option, ParseResult parse, int least, int most) => parse.GetValue(option) is int value && value >= least && value <= most
        ? value
        : throw new UsageException($"{option.Name} is {parse.GetValue(option)}; it must be from {least} to {most}");

    private BenchmarkModel ReadModel(ParseResult parse) => (parse.GetValue(_model), parse.GetValue(_config)) switch
    {
        (string model, null) => new BenchmarkModel(model, IsRandom: false, parse.GetValue(_seed)),
        (null, string config) => new BenchmarkModel(config, IsRandom: true, parse.GetValue(_seed)),
        _ => throw new UsageException("give exactly one of --model and --config; or --compare with two results"),
    };

    private string[] ReadPolicies(ParseResult parse)
    {
        string[] policies = OptionLists.Policies(_policies.Name, parse.GetRequiredValue(_policies));
        foreach (string policy in policies)
            _ = PolicyRegistry.Create(policy);
        return [BenchmarkSettings.Dense, .. policies.Where(policy => policy != BenchmarkSettings.Dense)];
    }

    private void RequireFiles(ParseResult parse)
    {
        OutputFile.Require(_output.Name, parse.GetValue(_output));
        OutputFile.Require(_csv.Name, parse.GetValue(_csv));
        OutputFile.Require(_markdown.Name, parse.GetValue(_markdown));
        PlotFile.Require(_plot.Name, parse.GetValue(_plot));
    }
}

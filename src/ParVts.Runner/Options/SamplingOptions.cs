using System.CommandLine;
using ParVts.Engine.Generation;

namespace ParVts.Runner.Options;

/// <summary>How tokens are chosen, and when an answer ends.</summary>
internal sealed class SamplingOptions
{
    private static readonly GenerationOptions Defaults = new();

    private readonly Option<int> _maxTokens;

    private readonly Option<float> _temperature = new("--temperature")
    {
        Description = "0 takes the most probable token each time; above 0 samples.",
        HelpName = "T",
        DefaultValueFactory = _ => Defaults.Temperature,
    };

    private readonly Option<int> _topK = new("--top-k")
    {
        Description = "Sample among the K most probable tokens; 0 for all.",
        HelpName = "K",
        DefaultValueFactory = _ => Defaults.TopK,
    };

    private readonly Option<float> _topP = new("--top-p")
    {
        Description = "Sample among the fewest tokens that hold this share of the probability.",
        HelpName = "P",
        DefaultValueFactory = _ => Defaults.TopP,
    };

    private readonly Option<float> _minP = new("--min-p")
    {
        Description = "Leave out tokens below this share of the most probable one's probability.",
        HelpName = "P",
        DefaultValueFactory = _ => Defaults.MinP,
    };

    private readonly Option<float> _repetitionPenalty = new("--repetition-penalty")
    {
        Description = "Above 1 makes tokens that occurred less likely.",
        HelpName = "R",
        DefaultValueFactory = _ => Defaults.RepetitionPenalty,
    };

    private readonly Option<ulong> _seed = new("--seed")
    {
        Description = "The same seed gives the same text.",
        HelpName = "N",
        DefaultValueFactory = _ => Defaults.Seed,
    };

    private readonly Option<string[]> _stop = new("--stop")
    {
        Description = "A text that ends the answer and is not part of it; may be repeated.",
        HelpName = "TEXT",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<bool> _ignoreEos = new("--ignore-eos")
    {
        Description = "Go on after the model's end-of-sequence token, up to --max-tokens.",
    };

    private readonly Option<double?> _timeout = new("--timeout")
    {
        Description = "Cut the answer off after so many seconds.",
        HelpName = "S",
    };

    /// <summary>Options with a default number of new tokens.</summary>
    public SamplingOptions(int? maxTokens = null) => _maxTokens = new("--max-tokens")
    {
        Description = "New tokens at most.",
        HelpName = "N",
        DefaultValueFactory = _ => maxTokens ?? Defaults.MaxTokens,
    };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Options.Add(_maxTokens);
        command.Options.Add(_temperature);
        command.Options.Add(_topK);
        command.Options.Add(_topP);
        command.Options.Add(_minP);
        command.Options.Add(_repetitionPenalty);
        command.Options.Add(_seed);
        command.Options.Add(_stop);
        command.Options.Add(_ignoreEos);
        command.Options.Add(_timeout);
    }

    /// <summary>The engine's options; refused here already where a value is out of range, before a model is loaded.</summary>
    public GenerationOptions Read(ParseResult parse)
    {
        double? timeout = parse.GetValue(_timeout);
        if (timeout is not (null or > 0 and < 1e9))
            throw new UsageException($"--timeout is {timeout} s; it must be above 0");
        var options = new GenerationOptions
        {
            MaxTokens = parse.GetValue(_maxTokens),
            Temperature = parse.GetValue(_temperature),
            TopK = parse.GetValue(_topK),
            TopP = parse.GetValue(_topP),
            MinP = parse.GetValue(_minP),
            RepetitionPenalty = parse.GetValue(_repetitionPenalty),
            Seed = parse.GetValue(_seed),
            Stop = parse.GetValue(_stop) ?? [],
            IgnoreEndOfSequence = parse.GetValue(_ignoreEos),
            Deadline = timeout is double seconds ? TimeSpan.FromSeconds(seconds) : null,
        };
        options.Validate();
        return options;
    }
}

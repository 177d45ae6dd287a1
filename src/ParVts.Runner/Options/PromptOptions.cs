using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Runner.Options;

/// <summary>What is asked: the text, the pictures, and how they are put before the model.</summary>
internal sealed class PromptOptions
{
    private readonly Option<string[]> _image = new("--image")
    {
        Description = "A picture, or - for standard input; may be repeated.",
        HelpName = "FILE",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string?> _prompt = new("--prompt")
    {
        Description = "The question. The model's template is put round it, pictures in front unless it holds <image> itself.",
        HelpName = "TEXT",
    };

    private readonly Option<string?> _promptFile = new("--prompt-file")
    {
        Description = "The same from a file, or - for standard input.",
        HelpName = "FILE",
    };

    private readonly Option<string?> _rawPrompt = new("--raw-prompt")
    {
        Description = "The whole prompt as it stands: no template; <image> and special tokens count.",
        HelpName = "TEXT",
    };

    private readonly Option<string> _policy = new("--policy")
    {
        Description = "The visual-token policy, see 'parvts policies'.",
        HelpName = "POLICY",
        DefaultValueFactory = _ => "dense",
    };

    private readonly Option<string> _template = CreateTemplate();

    private readonly Option<string> _aspect = CreateAspect();

    /// <summary>--template, which other commands have too.</summary>
    public static Option<string> CreateTemplate() => new("--template")
    {
        Description = "The chat template: auto for the checkpoint's own, or a built-in's name.",
        HelpName = "NAME",
        DefaultValueFactory = _ => "auto",
    };

    /// <summary>--image-aspect, which other commands have too.</summary>
    public static Option<string> CreateAspect()
    {
        var option = new Option<string>("--image-aspect")
        {
            Description = "How a picture becomes square: model as its preprocessor says, pad, crop or stretch.",
            HelpName = "HOW",
            DefaultValueFactory = _ => "model",
        };
        return option.AcceptOnlyFromAmong("model", "pad", "crop", "stretch");
    }

    /// <summary>The engine's word for --image-aspect.</summary>
    public static ImageAspect ParseAspect(string name) => name switch
    {
        "pad" => ImageAspect.Pad,
        "crop" => ImageAspect.Crop,
        "stretch" => ImageAspect.Stretch,
        _ => ImageAspect.Model,
    };

    /// <summary>Adds the options to a command; a conversation needs no first question, so its prompts are left out.</summary>
    public void AddTo(Command command, bool withText = true)
    {
        command.Options.Add(_image);
        if (withText)
        {
            command.Options.Add(_prompt);
            command.Options.Add(_promptFile);
            command.Options.Add(_rawPrompt);
        }

        command.Options.Add(_policy);
        command.Options.Add(_template);
        command.Options.Add(_aspect);
    }

    /// <summary>A picture or a text is given.</summary>
    public bool IsGiven(ParseResult parse) => parse.GetValue(_image) is { Length: > 0 }
        || (parse.GetValue(_prompt) ?? parse.GetValue(_promptFile) ?? parse.GetValue(_rawPrompt)) is not null;

    /// <summary>--policy.</summary>
    public string Policy(ParseResult parse) => parse.GetRequiredValue(_policy);

    /// <summary>--template, which must be one that there is.</summary>
    public string Template(ParseResult parse) => RequireTemplate(parse.GetRequiredValue(_template));

    /// <summary>Refuses a template that there is not.</summary>
    public static string RequireTemplate(string name) => name == "auto" || ChatTemplate.BuiltInNames.Contains(name)
        ? name
        : throw new UsageException($"there is no template '{name}'; there are: auto, {string.Join(", ", ChatTemplate.BuiltInNames)}");

    /// <summary>--image-aspect.</summary>
    public ImageAspect Aspect(ParseResult parse) => ParseAspect(parse.GetRequiredValue(_aspect));

    /// <summary>Reads and decodes every --image.</summary>
    public IReadOnlyList<Picture> Pictures(ParseResult parse)
    {
        string[] names = parse.GetValue(_image) ?? [];
        int standardInputs = names.Count(name => name == "-") + (parse.GetValue(_promptFile) == "-" ? 1 : 0);
        if (standardInputs > 1)
            throw new UsageException("standard input (-) is asked for more than once, but can be read only once");
        return [.. names.Select(Picture.Load)];
    }

    /// <summary>The text that is asked; exactly one of its three options must be given.</summary>
    public PromptText Text(ParseResult parse)
    {
        string? prompt = parse.GetValue(_prompt);
        string? file = parse.GetValue(_promptFile);
        string? raw = parse.GetValue(_rawPrompt);
        if (new[] { prompt, file, raw }.Count(text => text is not null) != 1)
            throw new UsageException("give exactly one of --prompt, --prompt-file and --raw-prompt");
        if (raw is not null)
            return new PromptText(raw, IsRaw: true);

        // An editor ends a file with a newline that nobody means to ask.
        return new PromptText(prompt ?? ReadFile(file!).TrimEnd('\r', '\n'), IsRaw: false);
    }

    private static string ReadFile(string file) => file == "-" ? Console.In.ReadToEnd() : File.ReadAllText(file);
}

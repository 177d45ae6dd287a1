using System.CommandLine;
using System.Diagnostics;
using ParVts.Engine.Generation;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Options;

/// <summary>The options of run, and of every command that takes "run's options".</summary>
internal sealed class RunOptions
{
    /// <summary>The model and the machine.</summary>
    public ModelOptions Model { get; } = new();

    /// <summary>The question.</summary>
    public PromptOptions Prompt { get; } = new();

    /// <summary>The answer.</summary>
    public SamplingOptions Sampling { get; } = new();

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command, bool withText = true)
    {
        Model.AddTo(command);
        Prompt.AddTo(command, withText);
        Sampling.AddTo(command);
    }

    /// <summary>Reads everything that the command line names; what is quick to refuse comes first, the model last.</summary>
    public Request Open(ParseResult parse, bool capped = true, ProfileRecorder? profile = null)
    {
        GenerationOptions options = Sampling.Read(parse);
        PromptText text = Prompt.Text(parse);
        string template = Prompt.Template(parse);
        string policy = Prompt.Policy(parse);
        _ = PolicyRegistry.Create(policy);
        IReadOnlyList<Picture> pictures = Prompt.Pictures(parse);
        InferenceEngine engine = Model.Open(parse, capped, profile);
        try
        {
            var watch = Stopwatch.StartNew();
            PromptImage[] images = [.. pictures.Select(picture => engine.PrepareImage(picture.Image, Prompt.Aspect(parse)))];
            double imageMilliseconds = watch.Elapsed.TotalMilliseconds + pictures.Sum(picture => picture.DecodeTime.TotalMilliseconds);
            return new Request(engine, text.Create(engine, images, template), options, policy)
            {
                Text = text,
                Pictures = pictures,
                ImageMilliseconds = imageMilliseconds,
            };
        }
        catch
        {
            engine.Dispose();
            throw;
        }
    }
}

/// <summary>An open model and what it is to answer.</summary>
internal sealed record Request(InferenceEngine Engine, Prompt Prompt, GenerationOptions Options, string Policy) : IDisposable
{
    /// <summary>The question as it was asked.</summary>
    public required PromptText Text { get; init; }

    /// <summary>The pictures, in order.</summary>
    public required IReadOnlyList<Picture> Pictures { get; init; }

    /// <summary>Reading, decoding, resizing and normalising the pictures took so long.</summary>
    public required double ImageMilliseconds { get; init; }

    /// <inheritdoc/>
    public void Dispose() => Engine.Dispose();
}

using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Engine.Profiling;
using ParVts.Runner.Output;

namespace ParVts.Runner.Options;

/// <summary>What is measured of a run, and what of it is written down.</summary>
internal sealed class ProfileOptions
{
    // Ranges of the runner's own, around answers.
    private const string WarmUp = "warm up";
    private const string Steady = "steady";

    private readonly Option<string?> _file = new("--profile")
    {
        Description = "Write what ran when, phase by phase and layer by layer, as trace events that Perfetto (ui.perfetto.dev) shows.",
        HelpName = "out.json",
    };

    private readonly Option<int> _warmUp = new("--warm-up")
    {
        Description = "Answer so often beforehand, unseen: profilers are started behind that (docs/profiling.md).",
        HelpName = "N",
    };

    private readonly Option<int> _repeat = new("--repeat")
    {
        Description = "Answer so often, each time from the beginning; the last answer is shown.",
        HelpName = "N",
        DefaultValueFactory = _ => 1,
    };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        AtLeast(_warmUp, 0);
        AtLeast(_repeat, 1);
        command.Options.Add(_file);
        command.Options.Add(_warmUp);
        command.Options.Add(_repeat);
    }

    /// <summary>What an engine is to record into; null where nothing is to be written.</summary>
    /// <exception cref="UsageException">The file cannot be written.</exception>
    public ProfileRecorder? Recorder(ParseResult parse)
    {
        OutputFile.Require(_file.Name, parse.GetValue(_file));
        return parse.GetValue(_file) is null ? null : new ProfileRecorder();
    }

    /// <summary>Answers as often as is asked for, and tells profilers which answers are to be measured: those after the warm-up.</summary>
    /// <param name="parse">The command line.</param>
    /// <param name="request">The question.</param>
    /// <param name="session">The session, whose cache is empty.</param>
    /// <param name="onText">Receives the last answer.</param>
    /// <returns>The last answer; an earlier one that was cut off.</returns>
    public GenerationResult Generate(ParseResult parse, Request request, Session session, TextSink? onText)
    {
        int warmUp = parse.GetValue(_warmUp);
        if (warmUp > 0 && Answer(request, session, WarmUp, warmUp) is { Finish: FinishReason.Cancelled } cut)
            return cut;

        // The device's profilers wait for these calls, the others for the range. After an error the device may take no more calls.
        session.Device.Profile(true);
        GenerationResult result = Answer(request, session, Steady, parse.GetValue(_repeat), onText);
        session.Device.Profile(false);
        return result;
    }

    // Each time with an empty cache.
    private static GenerationResult Answer(Request request, Session session, string range, int times, TextSink? onText = null)
    {
        using ProfileRanges.Scope scope = request.Engine.Ranges.Begin(range, times);
        for (int i = 1; ; i++)
        {
            session.Reset();
            GenerationResult result = Answering.Generate(session, request.Prompt, request.Options, i == times ? onText : null);
            if (i == times || result.Finish == FinishReason.Cancelled)
                return result;
        }
    }

    /// <summary>Writes the file, where one was asked for.</summary>
    public void Save(ParseResult parse, ProfileRecorder? recorder, Request request, Session session)
    {
        if (recorder is null)
            return;
        string file = parse.GetValue(_file)!;
        using (FileStream output = File.Create(file))
        {
            recorder.WriteTraceEvents(
                output,
                new("model", Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(request.Engine.Directory)))),
                new("device", request.Engine.DeviceName),
                new("policy", session.Policy));
        }

        Terminal.Note($"wrote {file}");
    }

    private static void AtLeast(Option<int> option, int least) => option.Validators.Add(result =>
    {
        // A value that is no number was reported already.
        if (result.Tokens.Count == 1 && int.TryParse(result.Tokens[0].Value, out int count) && count < least)
            result.AddError($"{option.Name} is {count}; it must be {least} or more");
    });
}

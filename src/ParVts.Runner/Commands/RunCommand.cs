using System.CommandLine;
using ParVts.Engine.Generation;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Explaining;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts run</c>: a question, an answer.</summary>
internal static class RunCommand
{
    public static Command Create()
    {
        var options = new RunOptions();
        var profile = new ProfileOptions();
        var show = new Option<bool>("--show")
        {
            Description = "Show the pictures (as blocks, where the terminal can), the question, and which visual tokens stayed, on standard error.",
        };
        var command = new CommandWithExamples(
            "run",
            "Answer a question about pictures; the answer goes to standard output as it comes.",
            """
            parvts run --model llava-1.5-7b --image cat.jpg --prompt "What is on the sofa?"
            parvts run --model llava-1.5-7b --image a.png --image b.png --prompt "First <image>, then <image>: what has changed?"
            curl -s https://example.org/cat.jpg | parvts run --model llava-1.5-7b --image - --prompt "Describe it." --json
            parvts run --model llava-1.5-7b --image cat.jpg --raw-prompt "USER: <image>\nWhat is it? ASSISTANT:" --temperature 0.7 --seed 1
            parvts run --model llava-1.5-7b --image cat.jpg --prompt "What is it?" --policy parvts --warm-up 1 --profile trace.json
            """);
        options.AddTo(command);
        profile.AddTo(command);
        command.Options.Add(show);
        command.SetAction(parse => Run(parse, options, profile, parse.GetValue(show)));
        return command;
    }

    private static int Run(ParseResult parse, RunOptions options, ProfileOptions profile, bool show)
    {
        bool json = parse.GetValue(CommonOptions.Json);
        ProfileRecorder? recorder = profile.Recorder(parse);
        using Request request = options.Open(parse, profile: recorder);
        using Session session = request.Engine.CreateSession(request.Policy);
        if (parse.GetValue(CommonOptions.Verbose))
        {
            Terminal.Note($"{request.Engine.DeviceName}: {request.Engine.DeviceDescription}");
            Terminal.Note($"plan: {session.Plan(request.Prompt, request.Options)}");
        }

        if (show)
            Show(request);
        GenerationResult result = profile.Generate(parse, request, session, json ? null : text => Console.Out.Write(text));
        var report = new AnswerReport(request.Engine, session, result, request.ImageMilliseconds);
        if (!json)
            Console.Out.WriteLine();
        if (show)
            ShowTokens(request, result.Trace);
        profile.Save(parse, recorder, request, session);
        if (json)
        {
            JsonOutput.Write(report.Write);
            return (int)ExitCode.Done;
        }

        Terminal.Note(report.Summary());
        foreach (string note in result.Trace.Events.Select(done => done.Note).OfType<string>())
            Terminal.Note($"{session.Policy}: {note}");
        return (int)ExitCode.Done;
    }

    // Each picture as the last layer sees it, where something left.
    private static void ShowTokens(Request request, ScheduleTrace trace)
    {
        int layers = trace.RowsByLayer.Length;
        int alive = trace.KeptAt(layers).Count;
        if (alive == trace.Visual)
            return;
        ExplainGrid grid = ExplainRun.GridOf(request.Engine.Config);
        TokenState[] states = TokenStates.At(trace.Events, trace.Visual, layers);
        for (int image = 0; image < request.Prompt.Images.Count; image++)
        {
            TokenState[] own = states[(image * grid.Tokens)..((image + 1) * grid.Tokens)];
            TerminalPicture.Show(
                $"{request.Pictures[image].Name}: {own.Count(state => state != TokenState.Dropped)} of {grid.Tokens} visual tokens stayed",
                TokenOverlay.Draw(request.Engine.ShowImage(request.Prompt.Images[image]), grid, own));
        }
    }

    private static void Show(Request request)
    {
        foreach (Picture picture in request.Pictures)
            TerminalPicture.Show($"{picture.Name} ({picture.Image.Width}×{picture.Image.Height})", picture.Image);
        Terminal.Note($"> {request.Text.Text}");
    }
}

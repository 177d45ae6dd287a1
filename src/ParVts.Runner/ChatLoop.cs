using System.Globalization;
using System.Text.Json;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Output;

namespace ParVts.Runner;

/// <summary>
/// Reads questions and slash commands, a line each. On a terminal an error is said and the conversation goes on; from
/// a pipe it ends there, since nobody can answer it.
/// </summary>
internal sealed class ChatLoop(Conversation conversation, bool json, bool verbose)
{
    private const string Help = """
        /image FILE   add a picture to the next question
        /policy P     change the visual-token policy
        /trace        show what the last prefill computed
        /reset        forget the conversation
        /quit         end
        """;

    private readonly bool _interactive = !Console.IsInputRedirected;
    private readonly List<string> _turns = [];

    /// <summary>Runs until /quit or the end of the input.</summary>
    public int Run()
    {
        if (_interactive)
            Terminal.Note("Ask away; /help lists the commands, /quit ends.");
        for (string? line; (line = ReadLine()) is not null;)
        {
            line = line.Trim();
            if (line == "/quit")
                break;
            if (line.Length == 0)
                continue;
            try
            {
                Handle(line);
            }
            catch (Exception error) when (_interactive)
            {
                Failure.Report(error, verbose);
            }
        }

        if (json)
            WriteTurns();
        return (int)ExitCode.Done;
    }

    private string? ReadLine()
    {
        if (_interactive)
            Console.Error.Write("> ");
        string? line = Console.In.ReadLine();
        if (_interactive && line is null)
            Terminal.Note("");
        return line;
    }

    private void Handle(string line)
    {
        if (line[0] != '/')
        {
            Ask(line);
            return;
        }

        int space = line.IndexOf(' ');
        string command = space < 0 ? line : line[..space];
        string argument = space < 0 ? "" : line[(space + 1)..].Trim();
        switch (command)
        {
            case "/image" when argument.Length > 0:
                conversation.Add(Picture.Load(argument));
                break;
            case "/policy" when argument.Length > 0:
                conversation.SetPolicy(argument);
                Terminal.Note(conversation.Policy);
                break;
            case "/policy":
                Terminal.Note(conversation.Policy);
                break;
            case "/trace":
                ShowTrace(conversation.Trace);
                break;
            case "/reset":
                conversation.Reset();
                break;
            case "/help":
                Terminal.Note(Help);
                break;
            default:
                throw new UsageException($"'{line}' is no command; there are:{Environment.NewLine}{Help}");
        }
    }

    private void Ask(string question)
    {
        AnswerReport report = conversation.Ask(question, json ? null : text => Console.Out.Write(text));
        if (json)
        {
            _turns.Add(JsonOutput.ToText(report.Write));
            return;
        }

        Console.Out.WriteLine();
        if (_interactive || verbose)
            Terminal.Note(report.Summary());
    }

    private void WriteTurns() => JsonOutput.Write(writer =>
    {
        writer.WriteStartArray("turns");
        foreach (string turn in _turns)
            writer.WriteRawValue(turn, skipInputValidation: true);
        writer.WriteEndArray();
    });

    private static void ShowTrace(ScheduleTrace trace)
    {
        double share = trace.FlopsDense == 0 ? 1 : (double)trace.Flops / trace.FlopsDense;
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"rows: {trace.Prefix} prefix, {trace.Visual} visual, {trace.Text} text; {trace.Flops / 1e9:0.###} GFLOP ({Sizes.Percent(share)} of dense)"));
        Terminal.Note($"rows by layer: {string.Join(" ", trace.RowsByLayer)}");
        Terminal.Note($"KV by layer:   {string.Join(" ", trace.KvRowsByLayer)}");
        foreach (ScheduleEvent done in trace.Events)
        {
            string score = done.Score is null ? "" : $", by {done.Score}";
            string note = done.Note is null ? "" : $" ({done.Note})";
            Terminal.Note($"layer {done.Layer}: {done.Kind.ToString().ToLowerInvariant()}, {done.Kept.Count} visual tokens there{score}{note}");
        }
    }
}

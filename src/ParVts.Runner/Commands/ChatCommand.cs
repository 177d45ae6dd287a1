using System.CommandLine;
using ParVts.Runner.Options;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts chat</c>: a conversation that keeps its KV cache.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        var options = new RunOptions();
        var command = new CommandWithExamples(
            "chat",
            "Hold a conversation about pictures; /help lists what can be typed. Reads a question a line, also from a pipe.",
            """
            parvts chat --model llava-1.5-7b --image cat.jpg
            printf 'What is it?\nWhat colour?\n' | parvts chat --model llava-1.5-7b --image cat.jpg
            """);
        options.AddTo(command, withText: false);
        command.SetAction(parse => Run(parse, options));
        return command;
    }

    private static int Run(ParseResult parse, RunOptions options)
    {
        using Conversation conversation = Conversation.Open(parse, options);
        return new ChatLoop(conversation, parse.GetValue(CommonOptions.Json), parse.GetValue(CommonOptions.Verbose)).Run();
    }
}

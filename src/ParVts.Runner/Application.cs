using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using ParVts.Runner.Commands;
using ParVts.Runner.Options;

namespace ParVts.Runner;

/// <summary>The command line as a whole: commands, help, errors, exit codes.</summary>
internal static class Application
{
    /// <summary>Reads the command line, does what it says and returns the exit code.</summary>
    public static int Run(string[] args)
    {
        RootCommand root = CreateRoot();

        // "@file.json" is a policy, not a file of further arguments.
        ParseResult parse = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        bool verbose = false;
        try
        {
            if (parse.Action is ParseErrorAction)
                return ReportWrongUsage(parse);
            verbose = parse.GetValue(CommonOptions.Verbose);

            // Signals are handled where there is something to stop, see Interrupt.
            return parse.Invoke(new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (Exception error)
        {
            return Failure.Report(error, verbose);
        }
    }

    private static RootCommand CreateRoot()
    {
        var root = new RootCommand("Answers questions about pictures with a vision-language model, on this machine.")
        {
            RunCommand.Create(),
            ChatCommand.Create(),
            DumpCommand.Create(),
            ExplainCommand.Create(),
            AnalyzeCommand.Create(),
            PlanCommand.Create(),
            EvalCommand.Create(),
            TuneCommand.Create(),
            BenchCommand.Create(),
            WarmCommand.Create(),
            InspectCommand.Create(),
            PoliciesCommand.Create(),
            DoctorCommand.Create(),
            TokenizeCommand.Create(),
            ImageCommand.Create(),
        };
        root.Options.Add(CommonOptions.Json);
        root.Options.Add(CommonOptions.Verbose);
        foreach (HelpOption help in root.Options.OfType<HelpOption>())
            help.Action = new HelpWithExamples((HelpAction)help.Action!);
        return root;
    }

    private static int ReportWrongUsage(ParseResult parse)
    {
        if (parse.Tokens.Count == 0)
        {
            // Nothing was asked: show what could be.
            parse.RootCommandResult.Command.Parse("--help").Invoke(new InvocationConfiguration { Output = Console.Error });
            return (int)ExitCode.WrongUsage;
        }

        foreach (string message in parse.Errors.Select(error => error.Message).Distinct())
            Console.Error.WriteLine($"error: {message}");
        string command = parse.CommandResult.Command is RootCommand ? "" : $" {parse.CommandResult.Command.Name}";
        Console.Error.WriteLine($"'parvts{command} --help' shows what there is.");
        return (int)ExitCode.WrongUsage;
    }

    /// <summary>The help of a command, and its examples after it.</summary>
    private sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            int code = help.Invoke(parseResult);
            TextWriter output = parseResult.InvocationConfiguration.Output;
            if (parseResult.CommandResult.Command is CommandWithExamples { Examples: var examples })
            {
                output.WriteLine("Examples:");
                foreach (string line in examples.Split('\n'))
                    output.WriteLine($"  {line.TrimEnd()}");
                output.WriteLine();
            }
            else
            {
                output.WriteLine("'parvts COMMAND --help' shows a command's options and examples.");
                output.WriteLine();
            }

            output.WriteLine("Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 a file is missing or malformed,");
            output.WriteLine("4 a device or library is missing, 5 it does not fit in memory.");
            return code;
        }
    }
}

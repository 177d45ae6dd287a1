using System.CommandLine;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts policies</c>: what may stand behind --policy.</summary>
internal static class PoliciesCommand
{
    public static Command Create()
    {
        var name = new Argument<string?>("NAME")
        {
            Description = "Only this policy.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var command = new CommandWithExamples(
            "policies",
            "List the visual-token policies, their parameters, defaults and sources.",
            """
            parvts policies
            parvts policies dense --json
            """);
        command.Arguments.Add(name);
        command.SetAction(parse => Run(parse, parse.GetValue(name)));
        return command;
    }

    private static int Run(ParseResult parse, string? name)
    {
        IReadOnlyList<PolicyInfo> policies = name is null ? PolicyRegistry.All : [PolicyRegistry.Find(name)];
        if (parse.GetValue(CommonOptions.Json))
            WriteJson(policies);
        else
            WriteText(policies);
        return (int)ExitCode.Done;
    }

    private static void WriteText(IReadOnlyList<PolicyInfo> policies)
    {
        foreach (PolicyInfo policy in policies)
        {
            Console.Out.WriteLine($"{policy.Name}: {policy.Summary}");
            foreach (PolicyParameter parameter in policy.Parameters)
            {
                Console.Out.WriteLine($"    {parameter.Name}={parameter.Default}  ({parameter.Allowed})");
                Console.Out.WriteLine($"        {parameter.Summary}");
            }


            Console.Out.WriteLine($"    source: {policy.Source}");
        }

        Console.Out.WriteLine("stacked: a+b, for example cls-prune:keep=128+fastv:layer=8,keep=32; from a file: @policy.json");
    }

    private static void WriteJson(IReadOnlyList<PolicyInfo> policies) => JsonOutput.Write(json =>
    {
        json.WriteStartArray("policies");
        foreach (PolicyInfo policy in policies)
        {
            json.WriteStartObject();
            json.WriteString("name", policy.Name);
            json.WriteString("summary", policy.Summary);
            json.WriteString("source", policy.Source);
            json.WriteStartArray("parameters");
            foreach (PolicyParameter parameter in policy.Parameters)
            {
                json.WriteStartObject();
                json.WriteString("name", parameter.Name);
                json.WriteString("default", parameter.Default);
                json.WriteString("allowed", parameter.Allowed);
                json.WriteString("summary", parameter.Summary);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });
}

using System.CommandLine;
using System.Text.Json;
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
            Description = "Tell all about this policy.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var markdown = new Option<string?>("--markdown")
        {
            Description = "Write a page for each policy, and an index, into this folder.",
            HelpName = "DIR",
        };
        var command = new CommandWithExamples(
            "policies",
            "List the visual-token policies with their defaults and sources; with NAME, one policy's idea, rule, parameters and licence.",
            """
            parvts policies
            parvts policies visipruner
            parvts policies fastv --json
            """);
        command.Arguments.Add(name);
        command.Options.Add(markdown);
        command.SetAction(parse => Run(parse, parse.GetValue(name), parse.GetValue(markdown)));
        return command;
    }

    private static int Run(ParseResult parse, string? name, string? folder)
    {
        if (folder is not null && name is not null)
            throw new UsageException("--markdown writes the page of every policy; leave NAME out");
        if (folder is not null && !Directory.Exists(folder))
            throw new UsageException($"--markdown {folder}: there is no such folder");

        IReadOnlyList<PolicyInfo> policies = name is null ? PolicyRegistry.All : [PolicyRegistry.Find(name)];
        if (folder is not null)
            PolicyPages.WriteMarkdown(folder, policies);
        if (parse.GetValue(CommonOptions.Json))
            JsonOutput.Write(json => WriteJson(json, policies));
        else if (name is not null)
            Console.Out.Write(PolicyPages.Text(policies[0]));
        else if (folder is null)
            WriteList(policies);
        return (int)ExitCode.Done;
    }

    private static void WriteList(IReadOnlyList<PolicyInfo> policies)
    {
        foreach (PolicyInfo policy in policies)
        {
            Console.Out.WriteLine(policy.Defaults);
            Console.Out.WriteLine($"    {policy.Summary} [{policy.Source}]");
        }

        Console.Out.WriteLine();
        Console.Out.WriteLine("all about one: parvts policies NAME");
        Console.Out.WriteLine("stacked: a+b, for example cls-prune:keep=128+fastv:layer=8,keep=32; from a file: @policy.json");
    }

    private static void WriteJson(Utf8JsonWriter json, IReadOnlyList<PolicyInfo> policies)
    {
        json.WriteStartArray("policies");
        foreach (PolicyInfo policy in policies)
        {
            json.WriteStartObject();
            json.WriteString("name", policy.Name);
            json.WriteString("title", policy.Page.Title);
            json.WriteString("summary", policy.Summary);
            json.WriteString("defaults", policy.Defaults);
            json.WriteString("acts", policy.Page.Acts);
            json.WriteString("positions", PolicyPages.Positions(policy));
            json.WriteString("kv_cache", policy.Page.Cache);
            json.WriteString("idea", policy.Page.Idea);
            json.WriteString("rule", policy.Page.Rule);
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
            json.WriteString("ours", policy.Page.Ours);
            json.WriteString("source", policy.Source);
            json.WriteString("licence", policy.Page.Licence);
            json.WriteString("checked", policy.Page.Checked);
            json.WriteBoolean("tunable", policy.Settings is not null);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}

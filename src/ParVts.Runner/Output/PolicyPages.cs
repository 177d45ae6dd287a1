using System.Text.RegularExpressions;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Output;

/// <summary>
/// What the registry knows about policies, for people: a text for the terminal, and the pages of <c>docs/methods</c>. Both say the same.
/// </summary>
internal static partial class PolicyPages
{
    private const string Origin = "<!-- Made by './build.sh run policies --markdown docs/methods' from src/ParVts.Engine/Scheduling/Policies. -->";

    private const string Introduction = """
        Each page says what a policy does, exactly, and what of it is ours. `parvts policies NAME` prints the same.

        ![Where each policy acts: vision tower, before the decoder, decoder layers, decoding](overview.svg)

        Words that all of them use: visual tokens and their rows, N of them; *prefix*, the text before the first picture, and *text*, the
        text behind it; the *last row* of the prompt; *the entry of* a layer, before its first norm. Shares of N round half to even, ties go
        to the lower index, and rows that stay are in raster order, where the page does not say otherwise.

        *Positions* are those of RoPE. *Kept*: a row that stays keeps its own, and the next token comes where it would come without the
        policy. *Compact*: at each cut they run anew without gaps, and each layer's next position is its own number of keys.

        Ours in all of them: layers by default are those published for 32, scaled in proportion to the model's; and what happens with
        several pictures. Where a page says *checked against the authors' code*, the rule was written down a second time, apart from this
        engine, and run beside that code on a small random model of 576 visual tokens and 32 layers: logits differed by 1e-5 at most. The
        engine is held to that second writing. All code here was written from the published methods.
        """;

    /// <summary>A page for terminals.</summary>
    public static string Text(PolicyInfo policy)
    {
        var writer = new StringWriter { NewLine = "\n" };
        writer.WriteLine($"{policy.Page.Title}: {policy.Summary}");
        writer.WriteLine();
        foreach ((string label, string text) in Facts(policy))
            writer.WriteLine($"  {label + ":",-11} {text}");
        WriteIndented("Idea", policy.Page.Idea);
        WriteIndented("Rule", policy.Page.Rule);
        WriteIndented("Parameters", string.Join('\n', policy.Parameters.Select(p => $"{p.Name}={p.Default}  ({p.Allowed})\n    {p.Summary}")));
        WriteIndented("Ours", policy.Page.Ours);
        return writer.ToString();

        void WriteIndented(string heading, string text)
        {
            writer.WriteLine();
            writer.WriteLine(heading);
            foreach (string line in Lines(text.Length > 0 ? text : "none"))
                writer.WriteLine($"  {line}");
        }
    }

    /// <summary>Where positions go, in a word.</summary>
    public static string Positions(PolicyInfo policy) => policy.Page.CompactPositions ? "compact" : "kept";

    /// <summary>Writes a page for each policy, and an index of them.</summary>
    public static void WriteMarkdown(string folder, IReadOnlyList<PolicyInfo> policies)
    {
        foreach (PolicyInfo policy in policies)
            File.WriteAllText(Path.Combine(folder, $"{policy.Name}.md"), Markdown(policy));
        File.WriteAllText(Path.Combine(folder, "README.md"), Index(policies));
    }

    private static string Markdown(PolicyInfo policy)
    {
        var writer = new StringWriter { NewLine = "\n" };
        writer.WriteLine(Origin);
        writer.WriteLine();
        writer.WriteLine($"# {policy.Page.Title}");
        writer.WriteLine();
        writer.WriteLine($"`{policy.Defaults}`: {policy.Summary}.");
        writer.WriteLine();
        writer.WriteLine("| | |");
        writer.WriteLine("|---|---|");
        foreach ((string label, string text) in Facts(policy))
            WriteRow(writer, label, WithLinks(text));
        WriteSection("Idea", policy.Page.Idea);
        WriteSection("Rule", policy.Page.Rule);
        if (policy.Parameters.Count > 0)
        {
            WriteSection("Parameters", "| parameter | default | allowed | meaning |\n|---|---|---|---|");
            foreach (PolicyParameter parameter in policy.Parameters)
                WriteRow(writer, Code(parameter.Name), Code(parameter.Default), parameter.Allowed, parameter.Summary);
        }

        WriteSection("Ours", policy.Page.Ours);
        return writer.ToString();

        void WriteSection(string heading, string text)
        {
            writer.WriteLine();
            writer.WriteLine($"## {heading}");
            writer.WriteLine();
            foreach (string line in Lines(text))
                writer.WriteLine(line);
        }
    }

    private static string Index(IReadOnlyList<PolicyInfo> policies)
    {
        var writer = new StringWriter { NewLine = "\n" };
        writer.WriteLine(Origin);
        writer.WriteLine();
        writer.WriteLine("# Methods");
        writer.WriteLine();
        foreach (string line in Lines(Introduction))
            writer.WriteLine(line);
        writer.WriteLine();
        WriteRow(writer, "policy", "what it does", "acts", "positions", "source");
        writer.WriteLine("|---|---|---|---|---|");
        foreach (PolicyInfo policy in policies)
        {
            WriteRow(
                writer, $"[{Code(policy.Name)}]({policy.Name}.md)", policy.Summary, policy.Page.Acts, Positions(policy), WithLinks(policy.Source));
        }

        return writer.ToString();
    }

    // What is said in a line each.
    private static IEnumerable<(string Label, string Text)> Facts(PolicyInfo policy) =>
    [
        ("acts", policy.Page.Acts),
        ("positions", Positions(policy)),
        ("KV cache", policy.Page.Cache),
        ("source", policy.Source),
        ("licence", policy.Page.Licence),
        ("checked", $"against {policy.Page.Checked}"),
    ];

    private static void WriteRow(StringWriter writer, params IEnumerable<string> cells) =>
        writer.WriteLine("| " + string.Join(" | ", cells.Select(cell => cell.Replace("|", "\\|", StringComparison.Ordinal))) + " |");

    private static string Code(string text) => text.Length > 0 ? $"`{text}`" : "";

    private static IEnumerable<string> Lines(string text) => text.ReplaceLineEndings("\n").Split('\n');

    private static string WithLinks(string text) => ArxivNumber().Replace(text, "[arXiv ${number}](https://arxiv.org/abs/${number})");

    [GeneratedRegex(@"arXiv (?<number>\d{4}\.\d{5})", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ArxivNumber();
}

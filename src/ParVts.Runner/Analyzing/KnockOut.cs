using System.Text.RegularExpressions;

namespace ParVts.Runner.Analyzing;

/// <summary>A knock-out that was asked for.</summary>
/// <param name="Text">As it was written: who, at whom, in which layers.</param>
/// <param name="Policy">The policy that carries it out.</param>
internal sealed partial record KnockOut(string Text, string Policy)
{
    /// <summary>Reads "text-visual:8-15", "visual-visual:3" or "both:0-7:after".</summary>
    /// <exception cref="UsageException">It is written otherwise.</exception>
    public static KnockOut Parse(string text)
    {
        Match match = Form().Match(text);
        if (!match.Success)
        {
            throw new UsageException(
                $"--knock-out {text}: write WHO:LAYERS, WHO one of text-visual, visual-visual and both, LAYERS one layer or the first and the "
                + "last, as in text-visual:8-15; with :after behind it, it is done after the softmax");
        }

        string from = match.Groups["from"].Value;
        string to = match.Groups["to"] is { Success: true, Value: var last } ? last : from;
        return new KnockOut(text, $"knockout:from={from},to={to},direction={match.Groups["who"].Value},mask={(match.Groups["after"].Success ? "after" : "before")}");
    }

    /// <summary>The policy string of a policy with this knock-out; a policy moves its rows first.</summary>
    public string With(string policy) => policy == "dense" ? Policy : $"{policy}+{Policy}";

    [GeneratedRegex("^(?<who>text-visual|visual-visual|both):(?<from>[0-9]{1,6})(-(?<to>[0-9]{1,6}))?(?<after>:after)?$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Form();
}

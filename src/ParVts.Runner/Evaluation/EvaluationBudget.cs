using System.Globalization;

namespace ParVts.Runner.Evaluation;

/// <summary>What every policy is to spend: --equal.</summary>
/// <param name="IsTokens">Visual tokens, mean of the layers; else FLOPs of the prefill, as a share of dense.</param>
/// <param name="Value">So much.</param>
internal readonly record struct EvaluationBudget(bool IsTokens, double Value)
{
    /// <summary>Reads "tokens=64", "flops=0.3", or several as "flops=0.2/0.3/0.5".</summary>
    /// <exception cref="UsageException">It is something else.</exception>
    public static IReadOnlyList<EvaluationBudget> Parse(string text)
    {
        int equals = text.IndexOf('=');
        string measure = equals < 0 ? text : text[..equals];
        if (measure is not ("tokens" or "flops") || equals < 0)
            throw Refusal(text);
        return [.. text[(equals + 1)..].Split('/').Select(one => new EvaluationBudget(measure == "tokens", Read(one, measure, text)))];
    }

    /// <inheritdoc/>
    public override string ToString() => Amount(Value);

    /// <summary>An amount of what the budget counts, for people.</summary>
    public string Amount(double value) => IsTokens
        ? string.Create(CultureInfo.InvariantCulture, $"{value:0.#} visual tokens, mean of layers")
        : string.Create(CultureInfo.InvariantCulture, $"{100 * value:0.0} % of the prefill FLOPs");

    private static double Read(string text, string measure, string all) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
        && value > 0 && (measure == "tokens" ? value < 1e6 : value <= 1)
            ? value
            : throw Refusal(all);

    private static UsageException Refusal(string text) =>
        new($"--equal {text}: write tokens=64 (visual tokens, mean of the layers), flops=0.3 (of dense's prefill), or several as flops=0.2/0.3");
}

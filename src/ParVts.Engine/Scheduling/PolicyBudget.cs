using System.Globalization;

namespace ParVts.Engine.Scheduling;

/// <summary>What a policy is to spend, for writing the parameter that sets it (<see cref="PolicyInfo.Budget"/>). Immutable; any thread.</summary>
/// <param name="Share">From 0, the least that the policy can be set to, to 1, the most.</param>
/// <param name="Model">The model.</param>
/// <param name="VisualTokens">Visual tokens of a picture.</param>
/// <param name="Given">The parameters that the policy string has besides.</param>
public sealed record PolicyBudget(double Share, PolicyModel Model, int VisualTokens, PolicyParameters Given)
{
    /// <summary>The share of the visual tokens as a count; at least 1.</summary>
    public int Count => CountOf(Share);

    /// <summary>A number as policy strings have it.</summary>
    public static string Number(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);

    /// <summary>The same share of the visual tokens, times a factor; at least 1, at most all.</summary>
    public int CountOf(double share) => Math.Clamp((int)Math.Round(share * VisualTokens), 1, Math.Max(1, VisualTokens));

    /// <summary>A count for each entry of a list parameter, "8/16/24", written as a list.</summary>
    /// <param name="list">The list parameter that says how many.</param>
    /// <param name="count">The count of an entry, from 0 on.</param>
    public string Counts(string list, Func<int, int> count) =>
        string.Join('/', Given.Integers(list, 0).Select((_, entry) => count(entry).ToString(CultureInfo.InvariantCulture)));
}

using System.Globalization;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Benchmarking;

/// <summary>Options whose value is a list: with commas, given several times, or both. What occurs twice counts once.</summary>
internal static class OptionLists
{
    /// <summary>The parts of all values.</summary>
    /// <exception cref="UsageException">A part is empty.</exception>
    public static string[] Texts(string option, IEnumerable<string> values)
    {
        string[] parts = [.. values.SelectMany(value => value.Split(',', StringSplitOptions.TrimEntries)).Distinct()];
        return parts.Contains("") ? throw new UsageException($"{option}: a part of the list is empty") : parts;
    }

    /// <summary>Numbers.</summary>
    /// <exception cref="UsageException">A part is no number, or out of range.</exception>
    public static int[] Numbers(string option, IEnumerable<string> values, int least, int most) =>
        [.. Texts(option, values).Select(text => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least && number <= most
            ? number
            : throw new UsageException($"{option}: '{text}' is no number from {least} to {most}")).Distinct()];

    /// <summary>
    /// Policy strings. Their parameters are set apart with commas, too: a comma ends a policy where a policy's name or an @ follows, or
    /// what looks like one (<c>name:</c>), so that a name that is not known is reported as such.
    /// </summary>
    /// <exception cref="UsageException">A part is empty.</exception>
    public static string[] Policies(string option, IEnumerable<string> values)
    {
        var policies = new List<string>();
        foreach (string value in values)
        {
            int first = policies.Count;
            foreach (string part in value.Split(','))
            {
                if (part.Trim().Length == 0)
                    throw new UsageException($"{option} {value}: a part of the list is empty");
                if (policies.Count == first || BeginsPolicy(part.Trim()))
                    policies.Add(part.Trim());
                else
                    policies[^1] += "," + part.TrimEnd();
            }
        }

        return [.. policies.Distinct()];
    }

    private static bool BeginsPolicy(string part)
    {
        if (part[0] == '@')
            return true;
        int end = part.AsSpan().IndexOfAny(":+=");
        return end < 0 ? IsName(part) : part[end] == ':' || (part[end] == '+' && IsName(part[..end].TrimEnd()));
    }

    private static bool IsName(string name) => PolicyRegistry.All.Any(policy => policy.Name == name);
}

using System.Globalization;

namespace ParVts.Engine.Scheduling;

/// <summary>A parameter of a policy.</summary>
/// <param name="Name">Its name in a policy string.</param>
/// <param name="Default">Its default, as it would be written.</param>
/// <param name="Allowed">What may be written, for people.</param>
/// <param name="Summary">What it means, in a line.</param>
public sealed record PolicyParameter(string Name, string Default, string Allowed, string Summary);

/// <summary>The parameters of one policy string, read by type (contract P5). Each reader refuses what it cannot take.</summary>
public sealed class PolicyParameters
{
    private readonly PolicyInfo _info;
    private readonly Dictionary<string, string> _values;
    private readonly bool _files;

    internal PolicyParameters(PolicyInfo info, Dictionary<string, string> values, bool files)
    {
        _info = info;
        _values = values;
        _files = files;
    }

    /// <summary>True where the string names the parameter.</summary>
    public bool IsGiven(string name) => _values.ContainsKey(name);

    /// <summary>The parameter as it was written, or its default.</summary>
    public string Text(string name) =>
        _values.TryGetValue(name, out string? value) ? value : _info.Parameters.First(p => p.Name == name).Default;

    /// <summary>The name of a file; empty for none.</summary>
    /// <exception cref="PolicyException">The policy string may not name files.</exception>
    public string File(string name) => RequireFile(name, Text(name));

    /// <summary>Refuses a file's name where the policy string may not name files.</summary>
    internal string RequireFile(string name, string file) => _files || file.Length == 0
        ? file
        : throw new PolicyException($"policy '{_info.Name}': {name}={Text(name)} names a file, which is not allowed here");

    /// <summary>A whole number of at least <paramref name="minimum"/>.</summary>
    public int Integer(string name, int minimum) =>
        int.TryParse(Text(name), NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= minimum
            ? value
            : throw Refuse(name);

    /// <summary>A seed.</summary>
    public ulong Seed(string name) =>
        ulong.TryParse(Text(name), NumberStyles.None, CultureInfo.InvariantCulture, out ulong value) ? value : throw Refuse(name);

    /// <summary>Whole numbers of at least <paramref name="minimum"/>, written "8/16/24".</summary>
    /// <param name="name">The parameter.</param>
    /// <param name="minimum">The least of them.</param>
    /// <param name="mayBeEmpty">There may be none.</param>
    public int[] Integers(string name, int minimum, bool mayBeEmpty = false)
    {
        if (mayBeEmpty && Text(name).Length == 0)
            return [];
        var values = new List<int>();
        foreach (string part in Text(name).Split('/'))
        {
            if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int value) || value < minimum)
                throw Refuse(name);
            values.Add(value);
        }

        return [.. values];
    }

    /// <summary>Amounts of visual tokens, written "0.5/0.25/64": counts from 1 on, shares below.</summary>
    public double[] Amounts(string name)
    {
        var values = new List<double>();
        foreach (string part in Text(name).Split('/'))
        {
            bool isNumber = double.TryParse(part, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value);
            if (!isNumber || !(value > 0) || (value >= 1 && (part.Contains('.', StringComparison.Ordinal) || value > int.MaxValue)))
                throw Refuse(name);
            values.Add(value);
        }

        return [.. values];
    }

    /// <summary>A number from <paramref name="minimum"/> to <paramref name="maximum"/>, both allowed.</summary>
    public double Number(string name, double minimum, double maximum) =>
        double.TryParse(Text(name), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value) && value >= minimum && value <= maximum
            ? value
            : throw Refuse(name);

    /// <summary>true or false.</summary>
    public bool Flag(string name) => Choice(name, "true", "false") == "true";

    /// <summary>Refuses lists of different lengths, of which one has an entry for each of the other's.</summary>
    public void RequireSameCount(string list, int count, string other, int otherCount)
    {
        if (count != otherCount)
            throw new PolicyException($"policy '{_info.Name}': {list} has {count} entries and {other} {otherCount}; they belong together, one for one");
    }

    /// <summary>How many visual tokens to keep.</summary>
    public TokenBudget Budget(string name) => TokenBudget.TryParse(Text(name)) ?? throw Refuse(name);

    /// <summary>One of a few words.</summary>
    public string Choice(string name, params ReadOnlySpan<string> words) =>
        words.Contains(Text(name)) ? Text(name) : throw Refuse(name);

    /// <summary>The error for a value that is not allowed.</summary>
    public PolicyException Refuse(string name)
    {
        PolicyParameter parameter = _info.Parameters.First(p => p.Name == name);
        return new PolicyException(
            $"policy '{_info.Name}': {name}={Text(name)} is not allowed; {name} is {parameter.Allowed} (default {parameter.Default})");
    }
}

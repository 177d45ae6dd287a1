using System.Globalization;
using System.Text.RegularExpressions;

namespace ParVts.Native.Tests;

/// <summary>A function of the table as include/parvts.h declares it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parameters">Type and name of each parameter.</param>
internal sealed record HeaderFunction(string Name, IReadOnlyList<(string Type, string Name)> Parameters)
{
    /// <summary>The name as the table in C# has it.</summary>
    public string FieldName => string.Concat(Name.Split('_').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    public override string ToString() => $"{Name}({string.Join(", ", Parameters.Select(one => one.Type))})";
}

/// <summary>What include/parvts.h declares.</summary>
internal static partial class Header
{
    // Milliseconds that an expression may take.
    private const int Patience = 10_000;

    public static string Path { get; } = System.IO.Path.Combine(TestData.Root, "include", "parvts.h");

    private static string Text { get; } = Comments().Replace(File.ReadAllText(Path), " ");

    /// <summary>The table's functions, in order.</summary>
    public static IReadOnlyList<HeaderFunction> Functions { get; } = ReadFunctions();

    /// <summary>The statuses by name.</summary>
    public static IReadOnlyDictionary<string, int> Statuses { get; } = Status().Matches(Text[..Text.IndexOf("typedef struct", StringComparison.Ordinal)]).ToDictionary(
        match => match.Groups["name"].Value, match => int.Parse(match.Groups["value"].Value, CultureInfo.InvariantCulture));

    /// <summary>PV_API_VERSION.</summary>
    public static uint Version { get; } = uint.Parse(VersionLine().Match(Text).Groups["value"].Value, CultureInfo.InvariantCulture);

    /// <summary>The members of a structure, in order.</summary>
    public static IReadOnlyList<string> FieldsOf(string structure)
    {
        int start = Text.IndexOf($"typedef struct {structure} {{", StringComparison.Ordinal);
        string members = Text[start..Text.IndexOf($"}} {structure};", StringComparison.Ordinal)];
        return [.. Member().Matches(members).Select(match => match.Groups["name"].Value)];
    }

    private static List<HeaderFunction> ReadFunctions()
    {
        int start = Text.IndexOf("typedef struct pv_api {", StringComparison.Ordinal);
        string table = Text[start..Text.IndexOf("} pv_api;", StringComparison.Ordinal)];
        return [.. Function().Matches(table).Select(match => new HeaderFunction(
            match.Groups["name"].Value, [.. match.Groups["parameters"].Value.Split(',').Select(Parameter)]))];
    }

    private static (string Type, string Name) Parameter(string text)
    {
        string trimmed = Blanks().Replace(text.Trim(), " ");
        int name = trimmed.Length;
        while (char.IsLetterOrDigit(trimmed[name - 1]) || trimmed[name - 1] == '_')
            name--;
        return (trimmed[..name].Replace("const ", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal), trimmed[name..]);
    }

    [GeneratedRegex(@"/\*.*?\*/", RegexOptions.Singleline, Patience)]
    private static partial Regex Comments();

    [GeneratedRegex(@"pv_status\(PV_CALL \*(?<name>\w+)\)\(\s*(?<parameters>[^)]*)\)", RegexOptions.ExplicitCapture, Patience)]
    private static partial Regex Function();

    [GeneratedRegex(@"\b(?<name>PV_[A-Z_]+) = (?<value>\d+)", RegexOptions.ExplicitCapture, Patience)]
    private static partial Regex Status();

    [GeneratedRegex(@"(?<name>\w+)(\[\d+\])?;", RegexOptions.ExplicitCapture, Patience)]
    private static partial Regex Member();

    [GeneratedRegex(@"#define PV_API_VERSION (?<value>\d+)u", RegexOptions.ExplicitCapture, Patience)]
    private static partial Regex VersionLine();

    [GeneratedRegex(@"\s+", RegexOptions.None, Patience)]
    private static partial Regex Blanks();
}

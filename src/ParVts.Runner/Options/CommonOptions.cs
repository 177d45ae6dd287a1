using System.CommandLine;

namespace ParVts.Runner.Options;

/// <summary>The options that every command has.</summary>
internal static class CommonOptions
{
    /// <summary>--json.</summary>
    public static Option<bool> Json { get; } = new("--json")
    {
        Description = "Print one JSON object on standard output, and nothing else there.",
        Recursive = true,
    };

    /// <summary>--verbose.</summary>
    public static Option<bool> Verbose { get; } = new("--verbose")
    {
        Description = "Say more on standard error; errors with their stack trace.",
        Recursive = true,
    };
}

using System.Runtime.CompilerServices;

namespace ParVts.Engine.Tests;

/// <summary>
/// Where the golden data lies. Looked for in this order: the folder named by PARVTS_GOLDENS (what
/// <c>build.sh test --goldens DIR</c> sets), <c>../shared/goldens</c> beside the checkout, and the project's own
/// smaller copy in <c>tests/data/goldens</c>.
/// </summary>
internal static class TestData
{
    /// <summary>The root of the checkout.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>True in <c>build.sh test --full</c>.</summary>
    public static bool Full { get; } = Environment.GetEnvironmentVariable("PARVTS_TEST_FULL") == "1";

    /// <summary>The project's own test data: always there.</summary>
    public static string Own(string relative) => Path.Combine(Root, "tests", "data", relative);

    /// <summary>
    /// The golden folder or file <paramref name="relative"/> (for example <c>tokenizers/qwen2</c>) in the first place
    /// that has it, or null.
    /// </summary>
    public static string? FindGolden(string relative)
    {
        foreach (string folder in GoldenRoots())
        {
            string path = Path.Combine(folder, relative);
            if (File.Exists(path) || Directory.Exists(path))
                return path;
        }

        return null;
    }

    /// <summary>Like <see cref="FindGolden"/>, but the calling test is skipped, by name, where it is missing.</summary>
    public static string Golden(string relative)
    {
        string? path = FindGolden(relative);
        if (path is null)
            Assert.Ignore($"golden data '{relative}' is not here (looked in: {string.Join(", ", GoldenRoots())})");
        return path!;
    }

    private static IEnumerable<string> GoldenRoots()
    {
        string? named = Environment.GetEnvironmentVariable("PARVTS_GOLDENS");
        if (!string.IsNullOrEmpty(named))
        {
            // A folder that was asked for is never replaced by another.
            yield return named;
            yield break;
        }

        yield return Path.Combine(Root, "..", "shared", "goldens");
        yield return Own("goldens");
    }

    private static string FindRoot([CallerFilePath] string thisFile = "")
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "ParVts.Native.sln")))
                return folder;
        }

        return Path.GetFullPath(Path.Combine(Path.GetDirectoryName(thisFile)!, "..", ".."));
    }
}

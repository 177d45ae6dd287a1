namespace ParVts.Runner.Tests.Documentation;

/// <summary>A block of code of a page: indented by four, or fenced.</summary>
/// <param name="Page">The page, relative to the repository.</param>
/// <param name="Line">Its first line, from 1.</param>
/// <param name="Language">What the fence says; empty for an indented block.</param>
/// <param name="Text">The lines.</param>
internal sealed record CodeBlock(string Page, int Line, string Language, string Text)
{
    /// <summary>Its first line, for naming it.</summary>
    public string FirstLine => Text.Split('\n')[0];

    /// <summary>All blocks of README, CONTRIBUTING, docs, the package's and the examples' pages.</summary>
    public static IEnumerable<CodeBlock> All()
    {
        string[] pages =
        [
            "README.md", "CONTRIBUTING.md", "src/ParVts.Engine/README.md",
            .. Below("docs"), .. Below("examples"),
        ];
        return pages.SelectMany(page => Of(page, File.ReadAllLines(Path.Combine(TestData.Root, page))));
    }

    private static IEnumerable<string> Below(string folder) =>
        Directory.EnumerateFiles(Path.Combine(TestData.Root, folder), "*.md", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/bin/", StringComparison.Ordinal) && !file.Contains("/obj/", StringComparison.Ordinal))
            .Select(file => Path.GetRelativePath(TestData.Root, file)).Order(StringComparer.Ordinal);

    private static IEnumerable<CodeBlock> Of(string page, string[] lines)
    {
        for (int i = 0; i < lines.Length; i++)
        {
            int start = i;
            if (lines[i].StartsWith("```", StringComparison.Ordinal))
            {
                int end = Array.FindIndex(lines, i + 1, line => line.StartsWith("```", StringComparison.Ordinal));
                yield return new CodeBlock(page, start + 2, lines[i][3..], string.Join('\n', lines[(i + 1)..end]));
                i = end;
            }
            else if (IsIndented(lines[i]) && (i == 0 || lines[i - 1].Length == 0))
            {
                while (i + 1 < lines.Length && (IsIndented(lines[i + 1]) || (lines[i + 1].Length == 0 && i + 2 < lines.Length && IsIndented(lines[i + 2]))))
                    i++;
                yield return new CodeBlock(page, start + 1, "", string.Join('\n', lines[start..(i + 1)].Select(line => line.Length > 4 ? line[4..] : "")));
            }
        }
    }

    private static bool IsIndented(string line) => line.StartsWith("    ", StringComparison.Ordinal) && line.Trim().Length > 0;
}

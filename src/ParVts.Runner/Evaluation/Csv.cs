using System.Text;

namespace ParVts.Runner.Evaluation;

/// <summary>Comma-separated values (RFC 4180), in UTF-8. Pure functions; any thread.</summary>
internal static class Csv
{
    /// <summary>A record as a line, its end included.</summary>
    public static string Line(IEnumerable<string> cells) => string.Join(",", cells.Select(Quote)) + "\r\n";

    /// <summary>Reads the records whose line is complete.</summary>
    /// <param name="text">A file's bytes.</param>
    /// <param name="end">Bytes of the complete records; what follows is the beginning of one.</param>
    public static List<string[]> Read(ReadOnlySpan<byte> text, out int end)
    {
        var records = new List<string[]>();
        var cells = new List<string>();
        bool quoted = false;
        int start = 0;
        end = 0;

        // Every character that means something is ASCII, and no byte of a longer character is.
        for (int i = 0; i < text.Length; i++)
        {
            byte c = text[i];
            bool lineEnd = c == '\n' && i > start && text[i - 1] == '\r';
            if (c == '"')
                quoted = !quoted;
            if (quoted || (c != ',' && !lineEnd))
                continue;
            cells.Add(Unquote(Encoding.UTF8.GetString(text[start..(lineEnd ? i - 1 : i)])));
            start = i + 1;
            if (!lineEnd)
                continue;
            records.Add([.. cells]);
            cells.Clear();
            end = start;
        }

        return records;
    }

    private static string Quote(string cell) =>
        cell.AsSpan().ContainsAny(",\"\r\n") ? $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : cell;

    private static string Unquote(string cell) => cell.Length >= 2 && cell[0] == '"'
        ? cell[1..^1].Replace("\"\"", "\"", StringComparison.Ordinal)
        : cell;
}

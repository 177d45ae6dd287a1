using System.Globalization;
using System.Text;
using System.Text.Json;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Visual tokens by their numbers: written "0-3/9/12-20", or "@FILE" for a JSON list of whole numbers. Kept ascending.</summary>
internal static class TokenList
{
    // Beyond any context.
    private const int MostTokens = 1 << 20;
    private const long MostBytes = 16L << 20;

    /// <summary>What may be written, for people.</summary>
    public const string Allowed = "visual tokens, each once, with ranges, as in 0-3/9/12-20; @FILE for a JSON list of them; empty for none";

    /// <summary>Sorts; refuses what is negative or occurs twice.</summary>
    /// <exception cref="PolicyException">The token at fault is named.</exception>
    public static int[] Order(IEnumerable<int> tokens)
    {
        int[] ordered = [.. tokens.Order()];
        for (int i = 0; i < ordered.Length; i++)
        {
            if (ordered[i] < 0)
                throw new PolicyException($"policy 'keep': token {ordered[i]} is not there; visual tokens are counted from 0");
            if (i > 0 && ordered[i] == ordered[i - 1])
                throw new PolicyException($"policy 'keep': token {ordered[i]} is given twice");
        }

        return ordered;
    }

    /// <summary>Reads a list, or the file that it names.</summary>
    /// <exception cref="PolicyException">It is not such a list.</exception>
    /// <exception cref="ModelFormatException">The file is missing, or no list of whole numbers.</exception>
    public static int[] Parse(PolicyParameters parameters, string name)
    {
        string text = parameters.Text(name);
        if (text.StartsWith('@'))
            return Order(Read(parameters.RequireFile(name, text)[1..]));
        var tokens = new List<int>();
        foreach (string part in text.Length == 0 ? [] : text.Split('/'))
        {
            int dash = part.IndexOf('-');
            if (!TryNumber(dash < 0 ? part : part[..dash], out int first) || !TryNumber(dash < 0 ? part : part[(dash + 1)..], out int last)
                || last < first || last - first >= MostTokens - tokens.Count)
            {
                throw parameters.Refuse(name);
            }

            for (int token = first; token <= last; token++)
                tokens.Add(token);
        }

        return Order(tokens);
    }

    /// <summary>The list as it is written, in ranges.</summary>
    public static string Write(ReadOnlySpan<int> tokens)
    {
        var text = new StringBuilder();
        for (int i = 0; i < tokens.Length;)
        {
            int first = tokens[i];
            while (++i < tokens.Length && tokens[i] == tokens[i - 1] + 1)
            {
            }

            text.Append(text.Length > 0 ? "/" : "").Append(first);
            if (tokens[i - 1] > first)
                text.Append('-').Append(tokens[i - 1]);
        }

        return text.ToString();
    }

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static int[] Read(string path)
    {
        try
        {
            if (new FileInfo(path).Length > MostBytes)
                throw new ModelFormatException(path, null, $"has more than {MostBytes} bytes: not a list of visual tokens");
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            return [.. document.RootElement.EnumerateArray().Select(token => token.GetInt32())];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ModelFormatException(path, null, $"cannot be read: {error.Message}", error);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            throw new ModelFormatException(path, null, "is not a list of visual tokens: a JSON list of whole numbers was expected, as in [0, 5, 9]", error);
        }
    }
}

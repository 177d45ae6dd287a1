namespace ParVts.GpuSim.Ptx;

/// <summary>A word, a quoted string (without quotes) or a single punctuation character, and its line.</summary>
internal readonly record struct PtxToken(string Text, int Line, bool IsString)
{
    public bool Is(string text) => !IsString && Text == text;
}

/// <summary>Cuts PTX into tokens; comments vanish.</summary>
internal static class PtxTokens
{
    public static List<PtxToken> Read(string text)
    {
        List<PtxToken> tokens = new(text.Length / 4);
        int line = 1;
        for (int i = 0; i < text.Length;)
        {
            char c = text[i];
            if (c == '\n')
            {
                line++;
                i++;
            }
            else if (char.IsWhiteSpace(c) || c == '\0')
            {
                i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '/')
            {
                while (i < text.Length && text[i] != '\n')
                    i++;
            }
            else if (c == '/' && i + 1 < text.Length && text[i + 1] == '*')
            {
                int end = text.IndexOf("*/", i + 2, StringComparison.Ordinal);
                end = end < 0 ? text.Length : end + 2;
                line += text.AsSpan(i, end - i).Count('\n');
                i = end;
            }
            else if (c == '"')
            {
                int end = text.IndexOf('"', i + 1);
                if (end < 0)
                    throw new PtxException("a string without end", line);
                tokens.Add(new PtxToken(text[(i + 1)..end], line, true));
                i = end + 1;
            }
            else if (IsWord(c))
            {
                int start = i;
                // A double colon belongs to a modifier (.L2::128B), a single one ends a label.
                while (i < text.Length && (IsWord(text[i]) || (text[i] == ':' && i + 1 < text.Length && text[i + 1] == ':')))
                    i += text[i] == ':' ? 2 : 1;
                tokens.Add(new PtxToken(text[start..i], line, false));
            }
            else
            {
                tokens.Add(new PtxToken(c.ToString(), line, false));
                i++;
            }
        }
        return tokens;
    }

    private static bool IsWord(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '$' or '%';
}

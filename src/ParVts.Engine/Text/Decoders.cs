using System.Text;

namespace ParVts.Engine.Text;

/// <summary>A step from tokens back to text (tokenizer.json, "decoder"). Immutable; any thread.</summary>
internal abstract record TokenDecoder
{
    public abstract List<string> Apply(List<string> tokens);
}

internal sealed record DecoderSequence(TokenDecoder[] Steps) : TokenDecoder
{
    public override List<string> Apply(List<string> tokens) =>
        Steps.Aggregate(tokens, (current, step) => step.Apply(current));
}

internal sealed record ReplaceDecoder(string Pattern, string Content) : TokenDecoder
{
    public override List<string> Apply(List<string> tokens) =>
        [.. tokens.Select(token => token.Replace(Pattern, Content, StringComparison.Ordinal))];
}

/// <summary>Runs of byte tokens become characters, all of a run or none: one bad byte turns the run into U+FFFD, one each.</summary>
internal sealed record ByteFallbackDecoder : TokenDecoder
{
    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    public override List<string> Apply(List<string> tokens)
    {
        var result = new List<string>(tokens.Count);
        var run = new List<byte>();
        foreach (string token in tokens)
        {
            if (TryByte(token, out byte value))
            {
                run.Add(value);
                continue;
            }

            EndRun(run, result);
            result.Add(token);
        }

        EndRun(run, result);
        return result;
    }

    /// <summary>True for a byte token, &lt;0xHH&gt;.</summary>
    public static bool TryByte(ReadOnlySpan<char> token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x") && token[5] == '>'
            && byte.TryParse(token[3..5], System.Globalization.NumberStyles.AllowHexSpecifier, null, out value);
    }

    private static void EndRun(List<byte> run, List<string> result)
    {
        if (run.Count == 0)
            return;
        byte[] bytes = [.. run];
        run.Clear();
        if (System.Text.Unicode.Utf8.IsValid(bytes))
            result.Add(s_strict.GetString(bytes));
        else
            result.Add(new string('\uFFFD', bytes.Length));
    }
}

internal sealed record FuseDecoder : TokenDecoder
{
    public override List<string> Apply(List<string> tokens) => [string.Concat(tokens)];
}

internal sealed record StripDecoder(char Content, int Start, int Stop) : TokenDecoder
{
    public override List<string> Apply(List<string> tokens) => [.. tokens.Select(Strip)];

    private string Strip(string token)
    {
        int start = 0;
        while (start < Start && start < token.Length && token[start] == Content)
            start++;
        int end = token.Length;
        while (token.Length - end < Stop && end > start && token[end - 1] == Content)
            end--;
        return token[start..end];
    }
}

internal sealed record MetaspaceDecoder(string Replacement, PrependScheme Scheme) : TokenDecoder
{
    // The library drops every ▁ of the first token, not only the one that was put before it.
    public override List<string> Apply(List<string> tokens) =>
        [.. tokens.Select((token, i) => token.Replace(
            Replacement, i == 0 && Scheme != PrependScheme.Never ? "" : " ", StringComparison.Ordinal))];
}

internal sealed record ByteLevelDecoder : TokenDecoder
{
    public override List<string> Apply(List<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens)
            Append(token, bytes);
        return [Encoding.UTF8.GetString([.. bytes])];
    }

    /// <summary>Appends a token's bytes; one with a character that stands for no byte is its own UTF-8 (added tokens).</summary>
    public static void Append(string token, List<byte> bytes)
    {
        int before = bytes.Count;
        foreach (char character in token)
        {
            if (!ByteLevel.TryDecode(character, out byte value))
            {
                bytes.RemoveRange(before, bytes.Count - before);
                Span<byte> utf8 = stackalloc byte[256];
                if (Encoding.UTF8.TryGetBytes(token, utf8, out int written))
                    bytes.AddRange(utf8[..written]);
                else
                    bytes.AddRange(Encoding.UTF8.GetBytes(token));
                return;
            }

            bytes.Add(value);
        }
    }
}

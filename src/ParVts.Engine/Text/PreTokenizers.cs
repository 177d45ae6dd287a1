using System.Buffers;
using System.Text;
using System.Text.RegularExpressions;

namespace ParVts.Engine.Text;

/// <summary>
/// A step that cuts text into words (tokenizer.json, "pre_tokenizer"). A word is a string and whether it began at the
/// very beginning of the input. Immutable; any thread.
/// </summary>
internal abstract record PreTokenizer
{
    public abstract void Apply(string text, bool atStart, Action<string, bool> emit);
}

internal sealed record PreTokenizerSequence(PreTokenizer[] Steps) : PreTokenizer
{
    public override void Apply(string text, bool atStart, Action<string, bool> emit) => Apply(text, atStart, emit, 0);

    private void Apply(string text, bool atStart, Action<string, bool> emit, int step)
    {
        if (step == Steps.Length)
            emit(text, atStart);
        else
            Steps[step].Apply(text, atStart, (piece, first) => Apply(piece, first, emit, step + 1));
    }
}

internal enum PrependScheme
{
    First,
    Always,
    Never,
}

/// <summary>SentencePiece's way: spaces become ▁, one is put before the text, words begin with it.</summary>
internal sealed record MetaspacePreTokenizer(string Replacement, PrependScheme Scheme, bool Split) : PreTokenizer
{
    public override void Apply(string text, bool atStart, Action<string, bool> emit)
    {
        text = text.Replace(" ", Replacement, StringComparison.Ordinal);
        bool prepend = Scheme == PrependScheme.Always || (Scheme == PrependScheme.First && atStart);
        if (prepend && !text.StartsWith(Replacement, StringComparison.Ordinal))
            text = Replacement + text;
        if (!Split)
        {
            emit(text, atStart);
            return;
        }

        for (int start = 0; start < text.Length;)
        {
            int end = text.IndexOf(Replacement, start + 1, StringComparison.Ordinal);
            if (end < 0)
                end = text.Length;
            emit(text[start..end], atStart && start == 0);
            start = end;
        }
    }
}

/// <summary>Every byte of the UTF-8 text becomes one printable character (GPT-2).</summary>
internal sealed record ByteLevelPreTokenizer(bool AddPrefixSpace, bool UseRegex) : PreTokenizer
{
    private static readonly SplitPattern s_gpt2 = SplitPattern.Find(SplitPattern.Gpt2Regex)!;

    public override void Apply(string text, bool atStart, Action<string, bool> emit)
    {
        if (AddPrefixSpace && !text.StartsWith(' '))
            text = " " + text;
        if (!UseRegex)
        {
            emit(ByteLevel.Encode(text), atStart);
            return;
        }

        for (int start = 0; start < text.Length;)
        {
            int end = s_gpt2.Next(text, start);
            emit(ByteLevel.Encode(text.AsSpan(start, end - start)), atStart && start == 0);
            start = end;
        }
    }
}

internal enum SplitBehavior
{
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// <summary>Cuts at the matches of a pattern that is matched by hand; every piece is a match, so "Isolated" is all there is.</summary>
internal sealed record KnownSplitPreTokenizer(SplitPattern Pattern) : PreTokenizer
{
    public override void Apply(string text, bool atStart, Action<string, bool> emit)
    {
        for (int start = 0; start < text.Length;)
        {
            int end = Pattern.Next(text, start);
            emit(text[start..end], atStart && start == 0);
            start = end;
        }
    }
}

/// <summary>Cuts at the matches of a regular expression.</summary>
internal sealed record RegexSplitPreTokenizer(Regex Pattern, SplitBehavior Behavior, bool Invert) : PreTokenizer
{
    public override void Apply(string text, bool atStart, Action<string, bool> emit)
    {
        foreach ((int start, int end) in Merge(Pieces(text)))
        {
            if (end > start)
                emit(text[start..end], atStart && start == 0);
        }
    }

    private List<(int Start, int End, bool Match)> Pieces(string text)
    {
        var pieces = new List<(int, int, bool)>();
        int last = 0;
        foreach (ValueMatch match in Pattern.EnumerateMatches(text))
        {
            if (match.Length == 0)
                continue;
            if (match.Index > last)
                pieces.Add((last, match.Index, Invert));
            last = match.Index + match.Length;
            pieces.Add((match.Index, last, !Invert));
        }

        if (last < text.Length)
            pieces.Add((last, text.Length, Invert));
        return pieces;
    }

    private List<(int Start, int End)> Merge(List<(int Start, int End, bool Match)> pieces)
    {
        var merged = new List<(int Start, int End)>();
        bool previousMatch = false;
        bool join = false;
        foreach ((int start, int end, bool match) in pieces)
        {
            bool glue = Behavior switch
            {
                SplitBehavior.MergedWithPrevious => match && !previousMatch && merged.Count > 0,
                SplitBehavior.MergedWithNext => join && !match,
                SplitBehavior.Contiguous => merged.Count > 0 && match == previousMatch,
                _ => false,
            };
            if (glue)
                merged[^1] = (merged[^1].Start, end);
            else if (!(match && Behavior == SplitBehavior.Removed))
                merged.Add((start, end));
            join = match;
            previousMatch = match;
        }

        return merged;
    }
}

/// <summary>GPT-2's table between bytes and printable characters.</summary>
internal static class ByteLevel
{
    private static readonly char[] s_characters = Characters();
    private static readonly Dictionary<char, byte> s_bytes =
        Enumerable.Range(0, 256).ToDictionary(value => s_characters[value], value => (byte)value);

    /// <summary>The text's UTF-8 bytes, a character each.</summary>
    public static string Encode(ReadOnlySpan<char> text)
    {
        byte[] utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length));
        int count = Encoding.UTF8.GetBytes(text, utf8);
        string result = string.Create(count, utf8, static (characters, bytes) =>
        {
            for (int i = 0; i < characters.Length; i++)
                characters[i] = s_characters[bytes[i]];
        });
        ArrayPool<byte>.Shared.Return(utf8);
        return result;
    }

    /// <summary>The byte that a character stands for; false for one that stands for none.</summary>
    public static bool TryDecode(char character, out byte value) => s_bytes.TryGetValue(character, out value);

    private static char[] Characters()
    {
        char[] characters = new char[256];
        int extra = 256;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE;
            characters[value] = (char)(printable ? value : extra++);
        }

        return characters;
    }
}

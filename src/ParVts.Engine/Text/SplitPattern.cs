using System.Globalization;
using System.Text;

namespace ParVts.Engine.Text;

/// <summary>
/// The splitting patterns of published byte-level tokenizers, matched by hand: in linear time, over code points, and
/// without the backtracking that a regular expression would need. Each call finds the piece that begins at a place.
/// Immutable; any thread.
/// </summary>
internal sealed class SplitPattern
{
    /// <summary>GPT-2's pattern, which ByteLevel pre-tokenizers use by default.</summary>
    public const string Gpt2Regex = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string Qwen2Regex =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Llama3Regex =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static readonly string[] s_contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    private readonly bool _gpt2;
    private readonly int _mostDigits;

    private SplitPattern(bool gpt2, int mostDigits)
    {
        _gpt2 = gpt2;
        _mostDigits = mostDigits;
    }

    /// <summary>The hand-written matcher of a known pattern, or null.</summary>
    public static SplitPattern? Find(string regex) => regex switch
    {
        Gpt2Regex => new SplitPattern(gpt2: true, int.MaxValue),
        Qwen2Regex => new SplitPattern(gpt2: false, 1),
        Llama3Regex => new SplitPattern(gpt2: false, 3),
        _ => null,
    };

    /// <summary>The end of the piece that begins at <paramref name="start"/>.</summary>
    public int Next(ReadOnlySpan<char> text, int start)
    {
        int end = Contraction(text, start);
        if (end > start)
            return end;
        end = _gpt2 ? SpacedRun(text, start, Kind.Letter) : Letters(text, start);
        if (end > start)
            return end;
        end = _gpt2 ? SpacedRun(text, start, Kind.Number) : Run(text, start, Kind.Number, _mostDigits);
        if (end > start)
            return end;
        end = SpacedRun(text, start, Kind.Other);
        if (end > start)
        {
            while (!_gpt2 && end < text.Length && (text[end] is '\r' or '\n'))
                end++;
            return end;
        }

        return Whitespace(text, start);
    }

    private static Kind KindAt(ReadOnlySpan<char> text, int place, out int length)
    {
        if (Rune.DecodeFromUtf16(text[place..], out Rune rune, out length) != System.Buffers.OperationStatus.Done)
            return Kind.Other;
        if (Rune.IsWhiteSpace(rune))
            return Kind.Space;
        return Rune.GetUnicodeCategory(rune) switch
        {
            <= UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Kind.Number,
            _ => Kind.Other,
        };
    }

    private static int Run(ReadOnlySpan<char> text, int start, Kind kind, int most = int.MaxValue)
    {
        for (int count = 0; start < text.Length && count < most; count++)
        {
            if (KindAt(text, start, out int length) != kind)
                break;
            start += length;
        }

        return start;
    }

    // " ?X+": the space belongs to the run only where a run follows.
    private static int SpacedRun(ReadOnlySpan<char> text, int start, Kind kind)
    {
        int first = text[start] == ' ' ? start + 1 : start;
        int end = Run(text, first, kind);
        return end > first ? end : start;
    }

    // "[^\r\n\p{L}\p{N}]?\p{L}+"
    private static int Letters(ReadOnlySpan<char> text, int start)
    {
        Kind kind = KindAt(text, start, out int length);
        if (kind == Kind.Letter)
            return Run(text, start, Kind.Letter);
        if (kind == Kind.Number || text[start] is '\r' or '\n')
            return start;
        int end = Run(text, start + length, Kind.Letter);
        return end > start + length ? end : start;
    }

    private int Contraction(ReadOnlySpan<char> text, int start)
    {
        if (text[start] != '\'')
            return start;
        foreach (string contraction in s_contractions)
        {
            if (text.Length - start < contraction.Length)
                continue;
            int i = 1;
            while (i < contraction.Length && Fold(text[start + i]) == contraction[i])
                i++;
            if (i == contraction.Length)
                return start + i;
        }

        return start;
    }

    // Case folding for the letters of contractions; U+017F, the long s, folds to s.
    private char Fold(char value) => _gpt2 ? value : value == '\u017F' ? 's' : char.IsAscii(value) ? char.ToLowerInvariant(value) : value;

    // "\s*[\r\n]+|\s+(?!\S)|\s+", the first alternative not in GPT-2's pattern.
    private int Whitespace(ReadOnlySpan<char> text, int start)
    {
        int end = Run(text, start, Kind.Space);
        if (!_gpt2)
        {
            int newline = text[start..end].LastIndexOfAny('\r', '\n');
            if (newline >= 0)
                return start + newline + 1;
        }

        // The last space before a word is left to it.
        return end == text.Length || end - start == 1 ? end : end - 1;
    }

    private enum Kind
    {
        Letter,
        Number,
        Space,
        Other,
    }
}

using System.Text;
using System.Text.Unicode;

namespace ParVts.Engine.Text;

/// <summary>
/// Turns tokens into text one at a time. Text is given out as soon as it is certain and never in halves of a character:
/// incomplete UTF-8, and replacement characters that the next token may still complete, are held back. Allocates nothing
/// once its buffers have grown. One caller at a time.
/// </summary>
public sealed class Detokenizer
{
    private const char Replacement = '\uFFFD';

    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecial;
    private readonly bool _byteLevel;
    private readonly bool _byteFallback;
    private readonly List<(string Pattern, string Content)> _replacements = [];
    private readonly List<byte> _bytes = [];
    private readonly int _stripAtStart;
    private readonly char _stripCharacter;
    private readonly string? _metaspace;
    private char[] _text = new char[64];
    private int _length;
    private int _given;
    private int _shown;
    private int _strip;
    private bool _first;

    internal Detokenizer(Tokenizer tokenizer, TokenDecoder? decoder, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecial = skipSpecialTokens;
        foreach (TokenDecoder step in decoder is DecoderSequence sequence ? sequence.Steps : decoder is null ? [] : [decoder])
        {
            switch (step)
            {
                case ReplaceDecoder replace:
                    _replacements.Add((replace.Pattern, replace.Content));
                    break;
                case ByteLevelDecoder:
                    _byteLevel = true;
                    break;
                case ByteFallbackDecoder:
                    _byteFallback = true;
                    break;
                case StripDecoder strip:
                    _stripAtStart = strip.Start;
                    _stripCharacter = strip.Content;
                    break;
                case MetaspaceDecoder metaspace:
                    _metaspace = metaspace.Scheme == PrependScheme.Never ? null : metaspace.Replacement;
                    _replacements.Add((metaspace.Replacement, " "));
                    break;
            }
        }

        Reset();
    }

    /// <summary>The text that becomes certain with this token; valid until the next call.</summary>
    public ReadOnlySpan<char> Push(int id)
    {
        Forget();
        string? token = _tokenizer.IdToToken(id);
        if (token is null || (_skipSpecial && _tokenizer.IsSpecial(id)))
            return default;
        if (_byteLevel)
        {
            ByteLevelDecoder.Append(token, _bytes);
            DecodeBytes();
        }
        else if (_byteFallback && ByteFallbackDecoder.TryByte(token, out byte value))
        {
            _bytes.Add(value);
            DecodeRun();
        }
        else
        {
            EndRun();
            AppendToken(token);
        }

        return Certain();
    }

    /// <summary>What was held back, at the end of the text; valid until the next call.</summary>
    public ReadOnlySpan<char> Flush()
    {
        Forget();
        if (_byteLevel)
        {
            int count = Encoding.UTF8.GetMaxCharCount(_bytes.Count);
            Grow(count);
            _length += Encoding.UTF8.GetChars(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes), _text.AsSpan(_length));
            _bytes.Clear();
        }
        else
        {
            EndRun();
        }

        _given = _length;
        return _text.AsSpan(0, _length);
    }

    /// <summary>Begins a new text.</summary>
    public void Reset()
    {
        _length = _given = _shown = 0;
        _bytes.Clear();
        _strip = _stripAtStart;
        _first = true;
    }

    // Drops what the last call gave out.
    private void Forget()
    {
        _text.AsSpan(_given, _length - _given).CopyTo(_text);
        _length -= _given;
        _given = 0;
    }

    private ReadOnlySpan<char> Certain()
    {
        int end = _length;
        while (end > 0 && _text[end - 1] == Replacement)
            end--;
        _given = end;
        return _text.AsSpan(0, end);
    }

    private void AppendToken(string token)
    {
        int before = _length;
        Append(token);
        foreach ((string pattern, string content) in _replacements)
            Replace(before, pattern, _first && pattern == _metaspace ? "" : content);
        _first = false;
        StripAtStart(before);
    }

    private void Append(ReadOnlySpan<char> text)
    {
        Grow(text.Length);
        text.CopyTo(_text.AsSpan(_length));
        _length += text.Length;
    }

    private void Grow(int more)
    {
        if (_length + more > _text.Length)
            Array.Resize(ref _text, Math.Max(2 * _text.Length, _length + more));
    }

    private void Replace(int from, string pattern, string content)
    {
        if (pattern.Length == 1 && content.Length == 1)
        {
            _text.AsSpan(from, _length - from).Replace(pattern[0], content[0]);
            return;
        }

        if (_text.AsSpan(from, _length - from).IndexOf(pattern, StringComparison.Ordinal) < 0)
            return;
        string replaced = new string(_text, from, _length - from).Replace(pattern, content, StringComparison.Ordinal);
        _length = from;
        Append(replaced);
    }

    // Characters at the beginning of the whole text that the decoder takes away.
    private void StripAtStart(int from)
    {
        int drop = 0;
        while (_strip > 0 && from + drop < _length && _text[from + drop] == _stripCharacter)
        {
            drop++;
            _strip--;
        }

        if (from + drop < _length)
            _strip = 0;
        _text.AsSpan(from + drop, _length - from - drop).CopyTo(_text.AsSpan(from));
        _length -= drop;
    }

    // Byte-level: whole characters move from bytes to text; replacement characters only once something follows them.
    private void DecodeBytes()
    {
        ReadOnlySpan<byte> bytes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);
        int done = 0;
        int place = 0;
        int pending = _length;
        while (place < bytes.Length)
        {
            if (Rune.DecodeFromUtf8(bytes[place..], out Rune rune, out int used) == System.Buffers.OperationStatus.NeedMoreData)
                break;
            place += used;
            Grow(2);
            _length += rune.EncodeToUtf16(_text.AsSpan(_length));
            if (rune.Value == Replacement)
                continue;
            done = place;
            pending = _length;
        }

        _length = pending;
        _bytes.RemoveRange(0, done);
    }

    // Byte fallback: characters are given out as soon as the run so far is whole; a run that turns out bad later can
    // only replace what was not shown yet.
    private void DecodeRun()
    {
        ReadOnlySpan<byte> run = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);
        if (!Utf8.IsValid(run))
            return;
        int before = _length;
        Grow(run.Length);
        _length += Encoding.UTF8.GetChars(run[_shown..], _text.AsSpan(_length));
        _shown = run.Length;
        _first = false;
        StripAtStart(before);
    }

    private void EndRun()
    {
        int before = _length;
        for (int i = _shown; i < _bytes.Count; i++)
        {
            Grow(1);
            _text[_length++] = Replacement;
        }

        if (_length > before)
            _strip = 0;
        _bytes.Clear();
        _shown = 0;
    }
}

namespace ParVts.Engine.Text;

/// <summary>An added token of tokenizer.json.</summary>
internal sealed record AddedToken(int Id, string Content, bool SingleWord, bool LStrip, bool RStrip, bool Normalized, bool Special);

/// <summary>The parts that a tokenizer.json describes.</summary>
internal sealed record TokenizerParts(
    Dictionary<string, int> Vocabulary, Bpe Model, AddedToken[] Added, Normalizer? Normalizer, PreTokenizer? PreTokenizer,
    int[] Prefix, int[] Suffix, TokenDecoder? Decoder);

/// <summary>
/// A byte-pair tokenizer as Hugging Face's tokenizers library reads it from tokenizer.json: normalizer, pre-tokenizer,
/// model, post-processor, decoder. Immutable; any thread.
/// </summary>
public sealed class Tokenizer
{
    private readonly TokenizerParts _parts;
    private readonly string?[] _tokens;
    private readonly HashSet<int> _special;
    private readonly AddedTokenMatcher _raw;
    private readonly AddedTokenMatcher _normalized;
    private readonly Dictionary<string, int> _addedIds;

    private Tokenizer(TokenizerParts parts)
    {
        _parts = parts;
        _addedIds = [];
        int size = 0;
        foreach (int id in parts.Vocabulary.Values)
            size = Math.Max(size, id + 1);
        foreach (AddedToken token in parts.Added)
        {
            size = Math.Max(size, token.Id + 1);
            _addedIds[token.Content] = token.Id;
        }

        _tokens = new string?[size];
        foreach ((string token, int id) in parts.Vocabulary)
            _tokens[id] = token;
        foreach (AddedToken token in parts.Added)
            _tokens[token.Id] = token.Content;
        _special = [.. parts.Added.Where(token => token.Special).Select(token => token.Id)];
        _raw = new AddedTokenMatcher(parts.Added.Where(token => !token.Normalized), token => token.Content);
        _normalized = new AddedTokenMatcher(
            parts.Added.Where(token => token.Normalized), token => parts.Normalizer?.Apply(token.Content) ?? token.Content);
    }

    /// <summary>Ids that have a token, or would have: the largest id plus one.</summary>
    public int VocabularySize => _tokens.Length;

    /// <summary>True where the folder holds a tokenizer.json (or tokenizer.json.gz).</summary>
    public static bool Exists(string directory) => TokenizerReader.Find(directory) is not null;

    /// <summary>Reads tokenizer.json, or the file of that name in a folder; a name that ends in .gz is unpacked.</summary>
    /// <exception cref="ModelFormatException">The file is missing, malformed, or asks for something that is not supported.</exception>
    public static Tokenizer Load(string fileOrDirectory) => new(TokenizerReader.Load(fileOrDirectory));

    /// <summary>Reads the text of a tokenizer.json.</summary>
    /// <exception cref="ModelFormatException">It is malformed, or asks for something that is not supported.</exception>
    public static Tokenizer Parse(ReadOnlyMemory<byte> utf8Json, string fileNameForErrors) =>
        new(TokenizerReader.Parse(utf8Json, fileNameForErrors));

    /// <summary>A token's id, or null.</summary>
    public int? TokenToId(string token) =>
        _addedIds.TryGetValue(token, out int added) ? added
        : _parts.Vocabulary.TryGetValue(token, out int id) ? id
        : null;

    /// <summary>An id's token as it stands in the file, or null.</summary>
    public string? IdToToken(int id) => (uint)id < (uint)_tokens.Length ? _tokens[id] : null;

    /// <summary>True for special tokens, which <see cref="Decode"/> can leave out.</summary>
    public bool IsSpecial(int id) => _special.Contains(id);

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text; lone surrogates become U+FFFD.</param>
    /// <param name="addSpecialTokens">Put round it what the post-processor says (a begin-of-sequence token, say).</param>
    /// <param name="specialTokensAsText">Special tokens in the text are ordinary text.</param>
    public int[] Encode(string text, bool addSpecialTokens = true, bool specialTokensAsText = false) =>
        Encode(text, addSpecialTokens, specialTokensAsText ? token => token.Special : null, []);

    /// <summary>The ids of a text in parts of which added tokens do not count: what users wrote.</summary>
    /// <param name="text">Any text.</param>
    /// <param name="addSpecialTokens">Put round it what the post-processor says.</param>
    /// <param name="plain">Ranges of <paramref name="text"/>, in order, in which special tokens are ordinary text.</param>
    public int[] Encode(string text, bool addSpecialTokens, IReadOnlyList<Range> plain) =>
        Encode(text, addSpecialTokens, null, plain);

    /// <summary>The text of ids; ids without a token are left out.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        var tokens = new List<string>(ids.Length);
        foreach (int id in ids)
        {
            if (IdToToken(id) is string token && !(skipSpecialTokens && _special.Contains(id)))
                tokens.Add(token);
        }

        return _parts.Decoder is null ? string.Join(' ', tokens) : string.Concat(_parts.Decoder.Apply(tokens));
    }

    /// <summary>Decodes one token at a time.</summary>
    public Detokenizer CreateDetokenizer(bool skipSpecialTokens = true) => new(this, _parts.Decoder, skipSpecialTokens);

    private int[] Encode(string text, bool addSpecialTokens, Func<AddedToken, bool>? ignored, IReadOnlyList<Range> plain)
    {
        var ids = new List<int>(text.Length / 3 + 8);
        if (addSpecialTokens)
            ids.AddRange(_parts.Prefix);
        _raw.Split(text, ignored, plain, (piece, start, token) =>
        {
            if (token is not null)
                ids.Add(token.Id);
            else
                EncodeText(piece, start == 0, ignored, plain.Count > 0, ids);
        });
        if (addSpecialTokens)
            ids.AddRange(_parts.Suffix);
        return [.. ids];
    }

    private void EncodeText(string text, bool atStart, Func<AddedToken, bool>? ignored, bool hasPlain, List<int> ids)
    {
        string normalized = _parts.Normalizer?.Apply(text) ?? text;

        // Ranges of the raw text cannot be found again in the normalised one: there, special tokens stay text throughout.
        Func<AddedToken, bool>? skip = hasPlain ? token => token.Special : ignored;
        _normalized.Split(normalized, skip, [], (piece, start, token) =>
        {
            if (token is not null)
                ids.Add(token.Id);
            else if (_parts.PreTokenizer is null)
                _parts.Model.Encode(piece, ids);
            else
                _parts.PreTokenizer.Apply(piece, atStart && start == 0, (word, _) => _parts.Model.Encode(word, ids));
        });
    }
}

/// <summary>Finds added tokens in text: the leftmost first, the longest among those that begin there.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<char, (string Content, AddedToken Token)[]> _byFirst;

    public AddedTokenMatcher(IEnumerable<AddedToken> tokens, Func<AddedToken, string> content)
    {
        _byFirst = tokens.Select(token => (Content: content(token), Token: token))
            .Where(entry => entry.Content.Length > 0)
            .GroupBy(entry => entry.Content[0])
            .ToDictionary(group => group.Key, group => group.OrderByDescending(entry => entry.Content.Length).ToArray());
    }

    /// <summary>Gives out, in order, the stretches of text between tokens (with their place) and the tokens.</summary>
    public void Split(string text, Func<AddedToken, bool>? ignored, IReadOnlyList<Range> plain, Action<string, int, AddedToken?> emit)
    {
        int last = 0;
        int range = 0;
        for (int i = 0; _byFirst.Count > 0 && i < text.Length; i++)
        {
            if (!_byFirst.TryGetValue(text[i], out (string Content, AddedToken Token)[]? candidates))
                continue;
            while (range < plain.Count && plain[range].End.Value <= i)
                range++;
            foreach ((string content, AddedToken token) in candidates)
            {
                if (ignored?.Invoke(token) == true || string.CompareOrdinal(text, i, content, 0, content.Length) != 0)
                    continue;
                int end = i + content.Length;
                if (token.Special && range < plain.Count && plain[range].Start.Value < end)
                    continue;
                if (token.SingleWord && !IsWord(text, i, end))
                    continue;
                int start = i;
                while (token.LStrip && start > last && char.IsWhiteSpace(text[start - 1]))
                    start--;
                while (token.RStrip && end < text.Length && char.IsWhiteSpace(text[end]))
                    end++;
                if (start > last)
                    emit(text[last..start], last, null);
                emit("", start, token);
                last = end;
                i = end - 1;
                break;
            }
        }

        if (last < text.Length)
            emit(text[last..], last, null);
    }

    private static bool IsWord(string text, int start, int end) =>
        (start == 0 || !IsWordCharacter(text[start - 1])) && (end == text.Length || !IsWordCharacter(text[end]));

    private static bool IsWordCharacter(char value) => char.IsLetterOrDigit(value) || value == '_';
}

using System.Text;

namespace ParVts.Engine.Text;

/// <summary>
/// Byte-pair encoding (arXiv 1508.07909) of one word: the pair of lowest rank is merged first, the leftmost among
/// equals, in nearly linear time (<see cref="BpeMerger"/>). Immutable; any thread.
/// </summary>
internal sealed class Bpe
{
    private const int LongestCachedWord = 64;
    private const int MostCachedWords = 10_000;

    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private readonly Dictionary<long, (int Rank, int Merged)> _merges;
    private readonly int[]? _byteTokens;
    private readonly int? _unknown;
    private readonly bool _fuseUnknown;
    private readonly bool _ignoreMerges;
    private readonly HashSet<int> _joins = [];
    private readonly Lock _cacheGate = new();
    private readonly Dictionary<string, int[]> _cache = [];

    /// <summary>A model of these tokens and merges (left id, right id, in order of rank).</summary>
    public Bpe(
        Dictionary<string, int> vocabulary, Dictionary<long, (int Rank, int Merged)> merges, bool byteFallback, int? unknown,
        bool fuseUnknown, bool ignoreMerges)
    {
        _lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (string token in vocabulary.Keys)
        {
            for (int i = 1; i < token.Length; i++)
                _joins.Add(token[i - 1] << 16 | token[i]);
        }

        _merges = merges;
        _unknown = unknown;
        _fuseUnknown = fuseUnknown;
        _ignoreMerges = ignoreMerges;
        if (byteFallback)
            _byteTokens = [.. Enumerable.Range(0, 256).Select(value => vocabulary.GetValueOrDefault($"<0x{value:X2}>", -1))];
    }

    /// <summary>
    /// The key of a pair of ids in the table of merges. Multiplied by an odd number, which keeps keys apart: the hash of a
    /// plain pair would be left xor right, the same for every pair of two equal ids.
    /// </summary>
    public static long Pair(int left, int right) =>
        unchecked((((long)left << 32) | (uint)right) * (long)0x9E3779B97F4A7C15);

    /// <summary>
    /// Appends the ids of a word. Where two neighbouring characters stand side by side in no token, no merge can cross,
    /// so the parts are merged apart: most "words" of a model without pre-tokenizer are whole texts.
    /// </summary>
    public void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        if (_ignoreMerges && word.Length > 0 && _lookup.TryGetValue(word, out int whole))
        {
            ids.Add(whole);
            return;
        }

        int start = 0;
        for (int i = 1; i < word.Length; i++)
        {
            if (_joins.Contains(word[i - 1] << 16 | word[i]) || !MaySplit(word, i))
                continue;
            EncodePart(word[start..i], ids);
            start = i;
        }

        if (start < word.Length)
            EncodePart(word[start..], ids);
    }

    // Surrogate pairs stay whole, and so do runs of unknown characters, which may fuse into one token.
    private bool MaySplit(ReadOnlySpan<char> word, int place)
    {
        if (char.IsLowSurrogate(word[place]))
            return false;
        return _lookup.ContainsKey(word.Slice(place, 1)) || _lookup.ContainsKey(word.Slice(place - 1, 1)) || !_fuseUnknown;
    }

    private void EncodePart(ReadOnlySpan<char> word, List<int> ids)
    {
        if (word.Length > LongestCachedWord)
        {
            Merge(word, ids);
            return;
        }

        int[]? cached;
        lock (_cacheGate)
            _cache.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(word, out cached);
        if (cached is null)
        {
            int before = ids.Count;
            Merge(word, ids);
            cached = [.. System.Runtime.InteropServices.CollectionsMarshal.AsSpan(ids)[before..]];
            lock (_cacheGate)
            {
                if (_cache.Count < MostCachedWords)
                    _cache.TryAdd(word.ToString(), cached);
            }

            return;
        }

        ids.AddRange(cached);
    }

    private void Merge(ReadOnlySpan<char> word, List<int> ids)
    {
        List<int> symbols = Symbols(word);
        int count = symbols.Count;
        if (count < 2)
        {
            ids.AddRange(symbols);
            return;
        }

        new BpeMerger(_merges, symbols).Run(ids);
    }

    private List<int> Symbols(ReadOnlySpan<char> word)
    {
        var symbols = new List<int>(word.Length);
        bool lastUnknown = false;
        Span<byte> utf8 = stackalloc byte[4];
        while (word.Length > 0)
        {
            int length = char.IsHighSurrogate(word[0]) && word.Length > 1 && char.IsLowSurrogate(word[1]) ? 2 : 1;
            ReadOnlySpan<char> character = word[..length];
            word = word[length..];
            if (_lookup.TryGetValue(character, out int id))
            {
                symbols.Add(id);
                lastUnknown = false;
                continue;
            }

            int bytes = Encoding.UTF8.GetBytes(character, utf8);
            if (_byteTokens is not null && HasAll(utf8[..bytes]))
            {
                foreach (byte value in utf8[..bytes])
                    symbols.Add(_byteTokens[value]);
                lastUnknown = false;
            }
            else if (_unknown is int unknown && !(_fuseUnknown && lastUnknown))
            {
                symbols.Add(unknown);
                lastUnknown = true;
            }
        }

        return symbols;
    }

    private bool HasAll(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            if (_byteTokens![value] < 0)
                return false;
        }

        return true;
    }
}

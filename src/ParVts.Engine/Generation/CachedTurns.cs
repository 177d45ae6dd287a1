using ParVts.Engine.Compute;

namespace ParVts.Engine.Generation;

/// <summary>
/// Which beginnings of the conversation the KV store can be cut back to. Where a policy let rows leave, layers hold
/// different lengths, and within such a turn only the rows before its first picture stand for themselves in every
/// layer. Tokens that were decoded after a prefill add one row to each layer.
/// </summary>
internal sealed partial class CachedTurns
{
    private readonly List<Turn> _turns = [];

    /// <summary>Remembers a prefill.</summary>
    /// <param name="start">Tokens before it.</param>
    /// <param name="firstVisual">Tokens before its first picture; its end where it has none.</param>
    /// <param name="end">Tokens after it.</param>
    /// <param name="before">Rows of each layer before it.</param>
    /// <param name="kv">The store after it.</param>
    /// <param name="ordinary">Text behind the pictures saw them as it would see any row.</param>
    public void Add(int start, int firstVisual, int end, int[] before, KvStore kv, bool ordinary)
    {
        int[] after = Lengths(kv);
        bool whole = ordinary;
        for (int layer = 0; layer < after.Length; layer++)
            whole &= after[layer] - before[layer] == end - start;
        _turns.Add(new Turn(start, whole ? end : firstVisual, end, before, after));
    }

    /// <summary>The cache was thinned after so many tokens: of what lies before, only the very beginning can be cut back to.</summary>
    public void Thin(int tokens, KvStore kv)
    {
        // Again and again while decoding: then the one turn is brought up to date.
        if (_turns is not [{ IsThinned: true } thinned])
        {
            _turns.Clear();
            _turns.Add(new Turn(0, 0, tokens, new int[kv.Layers], Lengths(kv)) { IsThinned = true });
            return;
        }

        thinned.End = tokens;
        for (int layer = 0; layer < kv.Layers; layer++)
            thinned.After[layer] = kv.Length(layer);
    }

    /// <summary>The longest beginning of at most <paramref name="tokens"/> tokens to which the store can be cut.</summary>
    public int Boundary(int tokens)
    {
        for (int i = _turns.Count - 1; i >= 0; i--)
        {
            Turn turn = _turns[i];
            if (tokens >= turn.End)
                return tokens;
            if (tokens > turn.Start)
                return Math.Min(tokens, turn.Whole);
        }

        return tokens;
    }

    /// <summary>Cuts the store to a boundary.</summary>
    public void Cut(int tokens, KvStore kv)
    {
        while (_turns.Count > 0 && _turns[^1].Start >= tokens)
            _turns.RemoveAt(_turns.Count - 1);
        for (int layer = 0; layer < kv.Layers; layer++)
            kv.Truncate(layer, LengthAt(tokens, layer));
        if (_turns.Count > 0 && tokens < _turns[^1].End)
            _turns[^1] = _turns[^1] with { Whole = Math.Min(tokens, _turns[^1].Whole), End = tokens, After = Lengths(kv) };
    }

    /// <summary>Rows of each layer now.</summary>
    public static int[] Lengths(KvStore kv)
    {
        int[] lengths = new int[kv.Layers];
        for (int layer = 0; layer < lengths.Length; layer++)
            lengths[layer] = kv.Length(layer);
        return lengths;
    }

    private int LengthAt(int tokens, int layer) => LengthAt(_turns.Count - 1, tokens, layer);

    // Rows of a layer at a token that lies in or behind a turn, before the next one.
    private int LengthAt(int index, int tokens, int layer)
    {
        if (index < 0)
            return tokens;
        Turn turn = _turns[index];
        return tokens >= turn.End
            ? turn.After[layer] + tokens - turn.End
            : turn.Before[layer] + tokens - turn.Start;
    }

    /// <summary>A prefill: tokens [Start, End), of which those before Whole have a row of their own in every layer.</summary>
    private sealed record Turn(int Start, int Whole, int End, int[] Before, int[] After)
    {
        public int End { get; set; } = End;

        /// <summary>The one turn of a cache that was thinned.</summary>
        public bool IsThinned { get; init; }
    }
}

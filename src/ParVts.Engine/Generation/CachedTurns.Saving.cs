namespace ParVts.Engine.Generation;

/// <content>Turns as numbers, for a saved session: a line a turn [start, whole, end, thinned, rows before, rows after (layer by layer)].</content>
internal sealed partial class CachedTurns
{
    private const int Fixed = 4;

    /// <summary>Numbers of a turn.</summary>
    public static int Columns(int layers) => Fixed + 2 * layers;

    /// <summary>Turns.</summary>
    public int Count => _turns.Count;

    /// <summary>Forgets all turns; the store is the caller's to empty.</summary>
    public void Clear() => _turns.Clear();

    /// <summary>The turns, one line after the other.</summary>
    public long[] Write()
    {
        var numbers = new List<long>();
        foreach (Turn turn in _turns)
        {
            numbers.AddRange([turn.Start, turn.Whole, turn.End, turn.IsThinned ? 1 : 0]);
            numbers.AddRange(turn.Before.Select(rows => (long)rows));
            numbers.AddRange(turn.After.Select(rows => (long)rows));
        }

        return [.. numbers];
    }

    /// <summary>
    /// Takes turns up in place of its own. False, and none, where they could not be those of a conversation of <paramref name="tokens"/>
    /// tokens in a store of so many layers.
    /// </summary>
    public bool TryRead(ReadOnlySpan<long> numbers, int layers, int tokens)
    {
        _turns.Clear();
        for (; !numbers.IsEmpty; numbers = numbers[Columns(layers)..])
        {
            // Two paths that nobody fused would store each token twice at most.
            foreach (long number in numbers[..Columns(layers)])
            {
                if (number < 0 || number > 2L * tokens)
                    return Refuse();
            }

            var turn = new Turn(
                (int)numbers[0], (int)numbers[1], (int)numbers[2], Rows(numbers.Slice(Fixed, layers)), Rows(numbers.Slice(Fixed + layers, layers)))
            {
                IsThinned = numbers[3] == 1,
            };
            if (numbers[3] > 1 || !Follows(turn, tokens))
                return Refuse();
            _turns.Add(turn);
        }

        // Every token lies in a turn or behind one.
        return tokens == 0 || _turns.Count > 0 || Refuse();
    }

    /// <summary>Rows of each layer when there are so many tokens in all.</summary>
    public int[] RowsAt(int tokens, int layers)
    {
        int[] rows = new int[layers];
        for (int layer = 0; layer < layers; layer++)
            rows[layer] = LengthAt(tokens, layer);
        return rows;
    }

    private bool Refuse()
    {
        _turns.Clear();
        return false;
    }

    private bool Follows(Turn turn, int tokens)
    {
        int end = _turns.Count == 0 ? 0 : _turns[^1].End;
        if (turn.Start < end || turn.Whole < turn.Start || turn.End <= turn.Start || turn.Whole > turn.End || turn.End > tokens)
            return false;
        if (_turns.Count == 0 ? turn.Start != 0 : turn.IsThinned)
            return false;
        for (int layer = 0; layer < turn.Before.Length; layer++)
        {
            if (turn.Before[layer] != LengthAt(turn.Start, layer) || turn.After[layer] - turn.Before[layer] < turn.Whole - turn.Start)
                return false;
        }

        return true;
    }

    private static int[] Rows(ReadOnlySpan<long> numbers)
    {
        int[] rows = new int[numbers.Length];
        for (int i = 0; i < rows.Length; i++)
            rows[i] = (int)numbers[i];
        return rows;
    }
}

namespace ParVts.Engine.Compute;

/// <summary>Which keys of a range a query sees.</summary>
public enum KeyRule
{
    /// <summary>All of them.</summary>
    Full,

    /// <summary>Key i of the range is seen from query i of the segment on: causal order.</summary>
    Diagonal,

    /// <summary>
    /// Segment and range are the cells of one grid in raster order; a query sees the keys in the w×w square round its
    /// own cell, in both directions (YOPO, arXiv 2410.06169).
    /// </summary>
    Window,
}

/// <summary>What a visible key adds to the sum of values.</summary>
public enum ValueRule
{
    /// <summary>Its own value.</summary>
    Own,

    /// <summary>Nothing: it counts in the softmax denominator only (VisiPruner's shallow layers, arXiv 2510.17205).</summary>
    None,

    /// <summary>Its probability times the value of one named row, the attention sink.</summary>
    Sink,
}

/// <summary>Keys [<paramref name="Start"/>, <paramref name="End"/>) of a layer's KV store that a segment sees.</summary>
/// <param name="Start">First key row.</param>
/// <param name="End">One past the last key row.</param>
/// <param name="Rule">Which of them a query sees.</param>
/// <param name="Value">What they add to the sum.</param>
/// <param name="SinkRow">The key row whose value is added, for <see cref="ValueRule.Sink"/>.</param>
/// <param name="Window">The side of the square, odd, for <see cref="KeyRule.Window"/>.</param>
/// <param name="GridWidth">Cells in a row of the grid, for <see cref="KeyRule.Window"/>.</param>
public readonly record struct KeyRange(
    int Start,
    int End,
    KeyRule Rule,
    ValueRule Value = ValueRule.Own,
    int SinkRow = 0,
    int Window = 0,
    int GridWidth = 0)
{
    /// <summary>True where the query at place <paramref name="query"/> of the segment sees key row <paramref name="key"/>.</summary>
    public bool Sees(int query, int key)
    {
        if (key < Start || key >= End)
            return false;
        int place = key - Start;
        return Rule switch
        {
            KeyRule.Full => true,
            KeyRule.Diagonal => place <= query,
            _ => Math.Abs(place / GridWidth - query / GridWidth) <= Window / 2
                && Math.Abs(place % GridWidth - query % GridWidth) <= Window / 2,
        };
    }
}

/// <summary>Query rows [<paramref name="Start"/>, <paramref name="End"/>) and their key ranges.</summary>
/// <param name="Start">First query row.</param>
/// <param name="End">One past the last query row.</param>
/// <param name="FirstRange">Index of the first of its ranges in the plan.</param>
/// <param name="RangeCount">How many ranges it has.</param>
public readonly record struct QuerySegment(int Start, int End, int FirstRange, int RangeCount);

/// <summary>
/// Who may look at whom (contract S): query rows lie in segments, each with the key ranges that it sees. Ranges of one
/// segment must not overlap; a row in no segment, or one that sees no key, gets zeros. A plan is filled, used and
/// cleared by one thread at a time; once its arrays have grown, refilling it allocates nothing.
/// </summary>
public sealed class AttentionPlan
{
    private QuerySegment[] _segments = new QuerySegment[8];
    private KeyRange[] _ranges = new KeyRange[16];
    private int _segmentCount;
    private int _rangeCount;

    /// <summary>The segments, in the order in which they were added.</summary>
    public ReadOnlySpan<QuerySegment> Segments => _segments.AsSpan(0, _segmentCount);

    /// <summary>All ranges; a segment's own are <see cref="QuerySegment.FirstRange"/> on.</summary>
    public ReadOnlySpan<KeyRange> Ranges => _ranges.AsSpan(0, _rangeCount);

    /// <summary>The ranges of one segment.</summary>
    public ReadOnlySpan<KeyRange> RangesOf(in QuerySegment segment) =>
        _ranges.AsSpan(segment.FirstRange, segment.RangeCount);

    /// <summary>Forgets all segments.</summary>
    public void Clear() => _segmentCount = _rangeCount = 0;

    /// <summary>Begins a segment of query rows; <see cref="AddRange"/> gives it keys.</summary>
    public void AddSegment(int start, int end)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfLessThan(end, start);
        if (_segmentCount == _segments.Length)
            Array.Resize(ref _segments, 2 * _segmentCount);
        _segments[_segmentCount++] = new QuerySegment(start, end, _rangeCount, 0);
    }

    /// <summary>Adds a key range to the segment begun last. An empty range is left out.</summary>
    public void AddRange(in KeyRange range)
    {
        if (_segmentCount == 0)
            throw new InvalidOperationException("a key range belongs to a segment: call AddSegment first");
        ArgumentOutOfRangeException.ThrowIfNegative(range.Start);
        ArgumentOutOfRangeException.ThrowIfLessThan(range.End, range.Start);
        if (range.Rule == KeyRule.Window && (range.Window < 1 || range.GridWidth < 1))
            throw new ArgumentException("a window range needs a window and a grid width of at least 1", nameof(range));
        if (range.End == range.Start)
            return;
        if (_rangeCount == _ranges.Length)
            Array.Resize(ref _ranges, 2 * _rangeCount);
        _ranges[_rangeCount++] = range;
        ref QuerySegment last = ref _segments[_segmentCount - 1];
        last = last with { RangeCount = last.RangeCount + 1 };
    }

    /// <summary>
    /// The plan of an ordinary causal step: rows 0 … <paramref name="rows"/> − 1 follow <paramref name="cached"/> keys.
    /// </summary>
    public void SetCausal(int rows, int cached)
    {
        Clear();
        AddSegment(0, rows);
        AddRange(new KeyRange(0, cached, KeyRule.Full));
        AddRange(new KeyRange(cached, cached + rows, KeyRule.Diagonal));
    }

    /// <summary>The plan of an encoder: every row sees every row.</summary>
    public void SetFull(int rows)
    {
        Clear();
        AddSegment(0, rows);
        AddRange(new KeyRange(0, rows, KeyRule.Full));
    }

    /// <summary>Visible query-key pairs of one head: what the FLOP formula counts (SCHEDULES.md).</summary>
    public long CountPairs()
    {
        long pairs = 0;
        foreach (ref readonly QuerySegment segment in Segments)
        {
            int queries = segment.End - segment.Start;
            foreach (ref readonly KeyRange range in RangesOf(segment))
                pairs += CountPairs(range, queries);
        }

        return pairs;
    }

    private static long CountPairs(in KeyRange range, int queries)
    {
        long keys = range.End - range.Start;
        switch (range.Rule)
        {
            case KeyRule.Full:
                return keys * queries;
            case KeyRule.Diagonal:
                // Query i sees min(i + 1, keys) keys.
                long rising = Math.Min(queries, keys);
                return rising * (rising + 1) / 2 + Math.Max(0, queries - keys) * keys;
            default:
                long pairs = 0;
                for (int query = 0; query < queries; query++)
                {
                    for (int key = range.Start; key < range.End; key++)
                        pairs += range.Sees(query, key) ? 1 : 0;
                }

                return pairs;
        }
    }
}

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
/// <param name="Heads">Which heads skip the range: what <see cref="AttentionPlan.AddHeadMask"/> gave, or −1 where none does.</param>
public readonly record struct KeyRange(
    int Start,
    int End,
    KeyRule Rule,
    ValueRule Value = ValueRule.Own,
    int SinkRow = 0,
    int Window = 0,
    int GridWidth = 0,
    int Heads = -1)
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
/// segment must not overlap; a row in no segment, or one that sees no key, gets zeros. Beside the ranges there may be a
/// mask of keys, a bias of each key and masks of heads. A plan is filled, used and cleared by one thread at a time; once
/// its arrays have grown, refilling it allocates nothing.
/// </summary>
public sealed class AttentionPlan
{
    private QuerySegment[] _segments = new QuerySegment[8];
    private KeyRange[] _ranges = new KeyRange[16];
    private uint[] _keyMask = [];
    private float[] _keyBias = [];
    private uint[] _headMasks = [];
    private int _segmentCount;
    private int _rangeCount;
    private int _keyMaskWords;
    private int _keyBiases;
    private int _headMaskCount;

    /// <summary>The segments, in the order in which they were added.</summary>
    public ReadOnlySpan<QuerySegment> Segments => _segments.AsSpan(0, _segmentCount);

    /// <summary>All ranges; a segment's own are <see cref="QuerySegment.FirstRange"/> on.</summary>
    public ReadOnlySpan<KeyRange> Ranges => _ranges.AsSpan(0, _rangeCount);

    /// <summary>The ranges of one segment.</summary>
    public ReadOnlySpan<KeyRange> RangesOf(in QuerySegment segment) =>
        _ranges.AsSpan(segment.FirstRange, segment.RangeCount);

    /// <summary>
    /// Bit k % 32 of word k / 32 is set where key row k is there; empty where all are (contract S2).
    /// </summary>
    public ReadOnlySpan<uint> KeyMask => _keyMask.AsSpan(0, _keyMaskWords);

    /// <summary>What is added to the scaled score of each key row; empty for nothing.</summary>
    public ReadOnlySpan<float> KeyBias => _keyBias.AsSpan(0, _keyBiases);

    /// <summary>All masks of heads, <see cref="HeadMaskWords"/> words each: a set bit is a head that skips the range.</summary>
    public ReadOnlySpan<uint> HeadMasks => _headMasks.AsSpan(0, _headMaskCount * HeadMaskWords);

    /// <summary>Words of one mask of heads.</summary>
    public int HeadMaskWords { get; private set; }

    /// <summary>Another number after every change.</summary>
    internal long Version { get; private set; }

    /// <summary>Forgets all segments, masks and biases.</summary>
    public void Clear()
    {
        _segmentCount = _rangeCount = _keyMaskWords = _keyBiases = _headMaskCount = HeadMaskWords = 0;
        Version++;
    }

    /// <summary>Says which key rows are there, for all segments; a row that is not is seen by nobody.</summary>
    /// <param name="bits">As <see cref="KeyMask"/>, for every row that the layer holds.</param>
    public void SetKeyMask(ReadOnlySpan<uint> bits) => Keep(bits, ref _keyMask, ref _keyMaskWords);

    /// <summary>Sets what is added to the scaled score of a key row, such as the log of how many tokens it stands for (ToMe, arXiv 2210.09461).</summary>
    /// <param name="bias">One for every row that the layer holds; −∞ hides it.</param>
    public void SetKeyBias(ReadOnlySpan<float> bias) => Keep(bias, ref _keyBias, ref _keyBiases);

    /// <summary>Adds a set of heads that skip the ranges which name it.</summary>
    /// <param name="skipped">Bit h % 32 of word h / 32 is set where head h skips: (heads + 31) / 32 words, as in the plan's other masks.</param>
    /// <returns>What <see cref="KeyRange.Heads"/> takes.</returns>
    public int AddHeadMask(ReadOnlySpan<uint> skipped)
    {
        if (skipped.Length == 0 || (_headMaskCount > 0 && skipped.Length != HeadMaskWords))
            throw new ArgumentException("the masks of heads of a plan are of one length, which is not 0", nameof(skipped));
        HeadMaskWords = skipped.Length;
        int used = _headMaskCount * HeadMaskWords;
        if (used + HeadMaskWords > _headMasks.Length)
            Array.Resize(ref _headMasks, 2 * (used + HeadMaskWords));
        skipped.CopyTo(_headMasks.AsSpan(used));
        Version++;
        return _headMaskCount++;
    }

    /// <summary>True where the query at place <paramref name="query"/> of its segment sees key row <paramref name="key"/> of the range: by the rule, and the key is there.</summary>
    public bool Sees(in KeyRange range, int query, int key) =>
        range.Sees(query, key) && (_keyMaskWords == 0 || (_keyMask[key / 32] >> key & 1) != 0);

    /// <summary>True where head <paramref name="head"/> skips the range.</summary>
    public bool Skips(in KeyRange range, int head) =>
        range.Heads >= 0 && (_headMasks[range.Heads * HeadMaskWords + head / 32] >> head & 1) != 0;

    /// <summary>Begins a segment of query rows; <see cref="AddRange"/> gives it keys.</summary>
    public void AddSegment(int start, int end)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfLessThan(end, start);
        if (_segmentCount == _segments.Length)
            Array.Resize(ref _segments, 2 * _segmentCount);
        Version++;
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
        if (range.Heads < -1 || range.Heads >= _headMaskCount)
            throw new ArgumentException("a range names a mask of heads that was not added", nameof(range));
        if (range.End == range.Start)
            return;
        if (_rangeCount == _ranges.Length)
            Array.Resize(ref _ranges, 2 * _rangeCount);
        Version++;
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

    /// <summary>
    /// Query-key pairs that are visible to some head: what the FLOP formula counts (SCHEDULES.md). Ranges of the same keys, which
    /// different heads skip, count once.
    /// </summary>
    public long CountPairs()
    {
        long pairs = 0;
        foreach (ref readonly QuerySegment segment in Segments)
        {
            ReadOnlySpan<KeyRange> ranges = RangesOf(segment);
            for (int i = 0; i < ranges.Length; i++)
            {
                if (i == 0 || !IsSame(ranges[i], ranges[i - 1]))
                    pairs += CountPairs(ranges[i], segment.End - segment.Start);
            }
        }

        return pairs;

        static bool IsSame(in KeyRange a, in KeyRange b) => a.Start == b.Start && a.End == b.End && a.Rule == b.Rule;
    }

    /// <summary>Visible query-key pairs of so many heads together; a range counts for the heads that do not skip it.</summary>
    public long CountPairs(int heads)
    {
        long pairs = 0;
        foreach (ref readonly QuerySegment segment in Segments)
        {
            foreach (ref readonly KeyRange range in RangesOf(segment))
                pairs += CountPairs(range, segment.End - segment.Start) * (heads - CountSkipping(range, heads));
        }

        return pairs;
    }

    /// <summary>Refuses a plan that does not fit what an operation works on.</summary>
    /// <param name="rows">Query rows.</param>
    /// <param name="keys">Rows that the layer holds.</param>
    /// <param name="heads">Query heads.</param>
    /// <exception cref="ArgumentException">The message says what lies outside.</exception>
    internal void Check(int rows, int keys, int heads)
    {
        foreach (ref readonly QuerySegment segment in Segments)
            Fits(segment.End <= rows, "a segment lies outside the query rows");
        foreach (ref readonly KeyRange range in Ranges)
            Fits(range.End <= keys && range.SinkRow >= 0 && range.SinkRow < keys, "a range lies outside the stored keys");
        Fits(_keyMaskWords == 0 || _keyMaskWords >= (keys + 31) / 32, "the mask has fewer bits than there are keys");
        Fits(_keyBiases == 0 || _keyBiases >= keys, "there are fewer biases than keys");
        Fits(_headMaskCount == 0 || HeadMaskWords == (heads + 31) / 32, "the masks of heads do not match the heads");
    }

    private static void Fits(bool condition, string message)
    {
        if (!condition)
            throw new ArgumentException($"attention plan: {message}");
    }

    private int CountSkipping(in KeyRange range, int heads)
    {
        int count = 0;
        for (int head = 0; head < heads; head++)
            count += Skips(range, head) ? 1 : 0;
        return count;
    }

    private long CountPairs(in KeyRange range, int queries)
    {
        long keys = range.End - range.Start;
        long pairs = 0;
        switch (range.Rule)
        {
            case KeyRule.Full when _keyMaskWords == 0:
                return keys * queries;
            case KeyRule.Diagonal when _keyMaskWords == 0:
                // Query i sees min(i + 1, keys) keys.
                long rising = Math.Min(queries, keys);
                return rising * (rising + 1) / 2 + Math.Max(0, queries - keys) * keys;
            case KeyRule.Full or KeyRule.Diagonal:
                // A key at place i is seen by all queries, or by those from i on.
                for (int key = range.Start; key < range.End; key++)
                {
                    if ((_keyMask[key / 32] >> key & 1) != 0)
                        pairs += range.Rule == KeyRule.Full ? queries : Math.Max(0, queries - (key - range.Start));
                }

                return pairs;
            default:
                for (int query = 0; query < queries; query++)
                {
                    for (int key = range.Start; key < range.End; key++)
                        pairs += Sees(range, query, key) ? 1 : 0;
                }

                return pairs;
        }
    }

    private void Keep<T>(ReadOnlySpan<T> values, ref T[] kept, ref int count)
    {
        Version++;
        if (kept.Length < values.Length)
            kept = new T[values.Length];
        values.CopyTo(kept);
        count = values.Length;
    }
}

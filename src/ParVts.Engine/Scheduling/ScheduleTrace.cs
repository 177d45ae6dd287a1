using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling;

/// <summary>What a policy did with visual tokens.</summary>
public enum ScheduleEventKind
{
    /// <summary>Some visual tokens stayed, the others left.</summary>
    Select,

    /// <summary>The visual tokens were split into two paths; nothing left.</summary>
    Split,

    /// <summary>Two paths became one; the rest's visual tokens left.</summary>
    Fuse,

    /// <summary>All visual tokens left.</summary>
    Leave,

    /// <summary>Visual rows became fewer by merging.</summary>
    Merge,

    /// <summary>Something was measured or chosen that moved no row.</summary>
    Measure,
}

/// <summary>One decision of a policy (contract P4). Immutable; any thread.</summary>
public sealed record ScheduleEvent
{
    /// <summary>The layer at whose entry it holds, 0-based; 0 also for choices before the decoder.</summary>
    public required int Layer { get; init; }

    /// <summary>What happened.</summary>
    public required ScheduleEventKind Kind { get; init; }

    /// <summary>
    /// The visual tokens that are there afterwards, in row order: indices among the prefill's visual tokens, picture by
    /// picture in raster order; −1 for a class token's row, −2 for a merged one.
    /// </summary>
    public required IReadOnlyList<int> Kept { get; init; }

    /// <summary>Of a split: the first group's tokens (path A), in raster order.</summary>
    public IReadOnlyList<int>? Subject { get; init; }

    /// <summary>What was ranked, in words; null where nothing was.</summary>
    public string? Score { get; init; }

    /// <summary>The lowest score that stayed less the highest that left; null where nothing was ranked, or nothing left.</summary>
    public double? Margin { get; init; }

    /// <summary>The visual tokens that were ranked.</summary>
    public IReadOnlyList<int> Ranked { get; init; } = [];

    /// <summary>Of a merge or a measurement: those of <see cref="Ranked"/> that were chosen; null where that is said otherwise.</summary>
    public IReadOnlyList<int>? Chosen { get; init; }

    /// <summary>Their scores.</summary>
    public IReadOnlyList<float> Scores { get; init; } = [];

    /// <summary>Of a fusion: the weight of path A for each question row, in order; one number where all are the same.</summary>
    public IReadOnlyList<float> Weights { get; init; } = [];

    /// <summary>Why nothing was done where something might have been expected; null where it was.</summary>
    public string? Note { get; init; }
}

/// <summary>
/// What a prefill did, layer by layer (contract P4). Nothing else counts FLOPs. Filled by the run; read it when the run
/// is over.
/// </summary>
public sealed class ScheduleTrace
{
    private readonly TextConfig _config;
    private readonly List<ScheduleEvent> _events = [];
    private readonly List<ScheduleEvent> _labelled = [];
    private int _entryRows;
    private int[] _textual = [];

    internal ScheduleTrace(TextConfig config, int keyValueBytes = sizeof(float))
    {
        _config = config;
        KvRowBytes = 2L * config.KeyValueHeads * config.HeadDim * keyValueBytes;
        RowsByLayer = new int[config.Layers];
        KeysByLayer = new int[config.Layers];
        KvRowsByLayer = new int[config.Layers];
        PairsByLayer = new long[config.Layers];
        PairsVisualByLayer = new long[config.Layers];
        FlopsByLayer = new long[config.Layers];
        FlopsCountedByLayer = new long[config.Layers];
    }

    /// <summary>Rows before the prefill's first image (s).</summary>
    public int Prefix { get; private set; }

    /// <summary>Visual tokens that the pictures make (N); where rows merge in the vision tower, fewer enter the decoder.</summary>
    public int Visual { get; private set; }

    /// <summary>Text rows after the first image (m); all rows where there is no image.</summary>
    public int Text { get; private set; }

    /// <summary>Rows computed in each layer.</summary>
    public int[] RowsByLayer { get; }

    /// <summary>Rows whose keys and values each layer computed.</summary>
    public int[] KeysByLayer { get; }

    /// <summary>Rows in each layer's KV store after the prefill, earlier turns' included.</summary>
    public int[] KvRowsByLayer { get; }

    /// <summary>Visible query-key pairs of each layer, of one head.</summary>
    public long[] PairsByLayer { get; }

    /// <summary>Of these, pairs whose query or key is visual; keys of earlier turns count as text.</summary>
    public long[] PairsVisualByLayer { get; }

    /// <summary>FLOPs of each layer by the formula of SCHEDULES.md: no probes, no head.</summary>
    public long[] FlopsByLayer { get; }

    /// <summary>FLOPs of each layer as the device's operations counted them while they ran; 0 in a plan.</summary>
    public long[] FlopsCountedByLayer { get; }

    /// <summary>Bytes that one row takes in one layer's KV store.</summary>
    public long KvRowBytes { get; }

    /// <summary>Of all pairs, those whose query or key is visual, summed over the layers.</summary>
    public long PairsVisual => PairsVisualByLayer.Sum();

    /// <summary>FLOPs of the decoder's prefill.</summary>
    public long Flops => FlopsByLayer.Sum();

    /// <summary>The same for the dense policy on the same prompt.</summary>
    public long FlopsDense { get; private set; }

    /// <summary>The policy's decisions, in order.</summary>
    public IReadOnlyList<ScheduleEvent> Events
    {
        get
        {
            // While a prefill runs, events tell rows by their numbers.
            while (_labelled.Count < _events.Count)
                _labelled.Add(Labelled(_events[_labelled.Count]));
            return _labelled;
        }
    }

    /// <summary>The visual tokens that are there at the entry of a layer, in row order; <c>Layers</c>: after the last.</summary>
    public IReadOnlyList<int> KeptAt(int layer) =>
        Events.LastOrDefault(e => e.Layer <= layer)?.Kept ?? [.. Labels.Take(_entryRows)];

    /// <summary>
    /// Who each visual row is, by its number: an index among the prefill's visual tokens, −1 for a class token's row, −2 for a merged
    /// one. A number is never given twice.
    /// </summary>
    internal List<int> Labels { get; } = [];

    /// <summary>Starts over.</summary>
    /// <param name="rows">All rows of the prefill, before any decision.</param>
    /// <param name="cachedTokens">Tokens of earlier turns, as the dense policy would hold them.</param>
    /// <param name="tokens">Tokens of the prefill, as the dense policy would compute them.</param>
    /// <param name="labels">Who the visual rows are; empty where they are the visual tokens in order.</param>
    internal void Begin(RowBatch rows, int cachedTokens, int tokens, ReadOnlySpan<int> labels)
    {
        Clear();
        _entryRows = rows.CountOf(RowRole.Visual);
        Prefix = rows.CountOf(RowRole.Prefix);
        Text = rows.Count - _entryRows - Prefix;
        Visual = tokens - Prefix - Text;
        if (labels.IsEmpty)
            Labels.AddRange(Enumerable.Range(0, _entryRows));
        else
            Labels.AddRange(labels);
        long n = tokens;
        FlopsDense = _config.Layers * LayerFlops(n, n, n * _config.IntermediateSize, n * cachedTokens + n * (n + 1) / 2);
    }

    /// <summary>Forgets the run before, so that one that is cut off reports nothing of it.</summary>
    internal void Clear()
    {
        _events.Clear();
        _labelled.Clear();
        Labels.Clear();
        _entryRows = 0;
        Prefix = Visual = Text = 0;
        FlopsDense = 0;
        Array.Clear(RowsByLayer);
        Array.Clear(KeysByLayer);
        Array.Clear(KvRowsByLayer);
        Array.Clear(PairsByLayer);
        Array.Clear(PairsVisualByLayer);
        Array.Clear(FlopsByLayer);
        Array.Clear(FlopsCountedByLayer);
    }

    internal void Add(ScheduleEvent done) => _events.Add(done);

    /// <summary>Events as they were added, which tell rows by their numbers.</summary>
    internal IReadOnlyList<ScheduleEvent> Numbered => _events;

    internal int LabelOf(int number) => Labels[number];

    internal void Replace(int place, ScheduleEvent done)
    {
        _events[place] = done;
        if (place < _labelled.Count)
            _labelled.RemoveRange(place, _labelled.Count - place);
    }

    /// <summary>Records the layer that the state stands at.</summary>
    internal void Record(ScheduleState state)
    {
        int layer = state.Layer;
        int rows = state.QueryCount;
        int keys = state.KeyCount;
        long pairs = state.Plan.CountPairs();
        int thin = state.MlpShare > 1 ? state.Rows.CountOf(RowRole.Visual) : 0;
        long inner = (long)(rows - thin) * _config.IntermediateSize + (long)thin * (_config.IntermediateSize / state.MlpShare);
        RowsByLayer[layer] = rows;
        KeysByLayer[layer] = keys;
        PairsByLayer[layer] = pairs;
        PairsVisualByLayer[layer] = pairs - TextualPairs(state);
        FlopsByLayer[layer] = LayerFlops(rows, keys, inner, pairs);
    }

    /// <summary>Records the rows that a layer's store holds at the end, earlier turns' included.</summary>
    internal void RecordStored(int layer, int rows) => KvRowsByLayer[layer] = rows;

    private ScheduleEvent Labelled(ScheduleEvent done)
    {
        // What was ranked says itself who it is where a policy chose the words.
        bool said = done.Chosen is not null;
        return done with
        {
            Kept = [.. done.Kept.Select(LabelOf)],
            Subject = done.Subject is null ? null : [.. done.Subject.Select(LabelOf)],
            Ranked = said ? done.Ranked : [.. done.Ranked.Select(LabelOf)],
        };
    }

    /// <summary>Visible pairs of two rows that are both not visual. Keys of earlier turns count as text.</summary>
    private long TextualPairs(ScheduleState state)
    {
        int keys = state.CachedRows + state.KeyCount;
        if (_textual.Length <= keys)
            _textual = new int[keys + 1];

        // _textual[k]: textual keys before key k.
        for (int key = 0; key < keys; key++)
            _textual[key + 1] = _textual[key] + (key < state.CachedRows || IsText(state.KeyRole(key - state.CachedRows)) ? 1 : 0);
        long pairs = 0;
        foreach (ref readonly Compute.QuerySegment segment in state.Plan.Segments)
        {
            foreach (ref readonly Compute.KeyRange range in state.Plan.RangesOf(segment))
            {
                for (int row = segment.Start; row < segment.End; row++)
                {
                    if (IsText(state.QueryRole(row)))
                        pairs += TextualKeys(range, row - segment.Start);
                }
            }
        }

        return pairs;
    }

    private static bool IsText(RowRole role) => role != RowRole.Visual;

    private long TextualKeys(in Compute.KeyRange range, int query)
    {
        int end = range.End;
        if (range.Rule == Compute.KeyRule.Diagonal)
            end = Math.Min(end, range.Start + query + 1);
        if (range.Rule != Compute.KeyRule.Window)
            return _textual[end] - _textual[range.Start];
        long keys = 0;
        for (int key = range.Start; key < end; key++)
            keys += range.Sees(query, key) ? _textual[key + 1] - _textual[key] : 0;
        return keys;
    }

    // Of rows, key rows, the MLP's inner channels over all rows, and visible pairs.
    private long LayerFlops(long rows, long keys, long inner, long pairs)
    {
        long d = _config.HiddenSize;
        long query = (long)_config.Heads * _config.HeadDim;
        long keyValue = 2L * _config.KeyValueHeads * _config.HeadDim;
        return 2 * (rows * d * query * 2 + keys * d * keyValue + inner * d * 3 + 2 * pairs * query);
    }
}

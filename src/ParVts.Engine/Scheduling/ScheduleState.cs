using System.Runtime.InteropServices;
using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <summary>What the engine has to do with the rows before the layer runs.</summary>
internal enum RowChange
{
    None,

    /// <summary>New rows are old rows: <see cref="ScheduleState.Sources"/>.</summary>
    Gather,

    /// <summary>New rows are sums of old rows: <see cref="ScheduleState.Merged"/>.</summary>
    Merge,

    /// <summary>Question rows are fused; everything behind path A is cut off.</summary>
    Fuse,
}

/// <summary>Where a fusion's weights come from.</summary>
internal enum FusionRule
{
    /// <summary>They are given: <see cref="ScheduleState.FusionWeights"/>.</summary>
    Given,

    /// <summary>Each question row's attention mass, measured in the layer before.</summary>
    PathMass,

    /// <summary>The subject's share of what its split ranked.</summary>
    Share,
}

/// <summary>
/// What a policy sees at the entry of a layer, and the decisions that it takes there. Rows change at once in
/// <see cref="Rows"/>; the engine then makes the device's rows follow. Belongs to one run at a time.
/// </summary>
public sealed partial class ScheduleState
{
    // Stands before every layer that could be the one before another.
    private const int NoLayer = -2;

    private readonly List<int> _sources = [];
    private readonly List<RowPath> _paths = [];
    private int _sourceRows;
    private int[] _cached = [];
    private int[] _stored = [];
    private int[] _kept = [];
    private int[][] _visualStored = [];
    private ScheduleTrace _trace = null!;

    /// <summary>The layer, 0-based; −1 before the decoder.</summary>
    public int Layer { get; private set; } = -1;

    /// <summary>Decoder layers.</summary>
    public int Layers => _cached.Length;

    /// <summary>Rows of earlier turns that the layer's KV store holds; before the decoder, those of layer 0.</summary>
    public int CachedRows => _cached[Math.Max(Layer, 0)];

    /// <summary>Pictures of this prefill.</summary>
    public int Images { get; private set; }

    /// <summary>The rows of this prefill, as they are now.</summary>
    public RowBatch Rows { get; } = new();

    /// <summary>Who sees whom in this layer.</summary>
    public AttentionPlan Plan { get; } = new();

    internal RowChange Change { get; private set; }

    internal ReadOnlySpan<int> Sources => CollectionsMarshal.AsSpan(_sources);

    /// <summary>Keeps these visual tokens and drops the others' rows.</summary>
    /// <param name="visual">Indices among the prefill's visual tokens, ascending, all of them there now.</param>
    /// <param name="score">What was ranked, in words; null where nothing was.</param>
    /// <param name="ranked">The visual tokens that were ranked.</param>
    /// <param name="scores">Their scores.</param>
    public void Keep(
        ReadOnlySpan<int> visual, string? score = null, ReadOnlySpan<int> ranked = default, ReadOnlySpan<float> scores = default)
    {
        // Where all leave it does not matter who they are: nobody waits for a device that chose them.
        if (!visual.IsEmpty)
            ReadBack?.Invoke();
        int before = Rows.CountOf(RowRole.Visual);
        KeepRows(visual);
        _trace.Add(new ScheduleEvent
        {
            Layer = Math.Max(0, Layer),
            Kind = KindOf(visual.Length),
            Kept = visual.ToArray(),
            Score = score,
            Margin = Selection.Margin(ranked, scores, visual),
            Ranked = ranked.ToArray(),
            Scores = scores.ToArray(),
            Note = NoteOf(visual.Length, before),
        });
    }

    private static ScheduleEventKind KindOf(int kept) => kept == 0 ? ScheduleEventKind.Leave : ScheduleEventKind.Select;

    private static string? NoteOf(int kept, int before) => kept == before && before > 0 ? $"all {before} visual tokens stay" : null;

    private void KeepRows(ReadOnlySpan<int> visual)
    {
        BeginChange(RowChange.Gather);
        int next = 0;
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) == RowRole.Visual)
            {
                if (next == visual.Length || visual[next] != Rows.TokenOf(row))
                    continue;
                next++;
            }

            _sources.Add(row);
            _paths.Add(Rows.Paths[row]);
        }

        if (next != visual.Length)
            throw new PolicyException("a policy kept visual tokens that are not there, or not in ascending order");
        Rearrange();
    }

    /// <summary>The visual tokens that are there now, in row order. Waits for a device that chose them by rank.</summary>
    public int[] AliveVisual()
    {
        ReadBack?.Invoke();
        return StandIns();
    }

    internal int CachedRowsOf(int layer) => _cached[layer];

    internal int StoredRowsOf(int layer) => _stored[layer];

    /// <summary>Begins a prefill; <see cref="Rows"/> hold all of the prompt's rows.</summary>
    /// <param name="trace">What tells of it.</param>
    /// <param name="cached">Rows of earlier turns, layer by layer.</param>
    /// <param name="cachedTokens">Tokens of earlier turns.</param>
    /// <param name="tokens">Tokens of this prefill, as the dense policy would compute them.</param>
    /// <param name="images">Its pictures.</param>
    /// <param name="labels">Who the visual rows are; empty where they are the visual tokens in order.</param>
    internal void Begin(
        ScheduleTrace trace, ReadOnlySpan<int> cached, int cachedTokens, int tokens, int images, ReadOnlySpan<int> labels = default)
    {
        _trace = trace;
        _cached = cached.ToArray();
        _stored = new int[cached.Length];
        _kept = new int[cached.Length];
        _visualStored = new int[cached.Length][];
        _weighedLayer = NoLayer;
        Layer = -1;
        Images = images;
        Change = RowChange.None;
        WantsPathWeights = false;
        Choice = null;
        ReadBack = null;
        _pending.Clear();
        _splitChoice = -1;
        _share = float.NaN;
        _probedRows.Clear();
        _visualRows.Clear();
        foreach (ref readonly Row row in Rows.Rows)
        {
            if (row.Role == RowRole.Visual)
                _visualRows.Add(row);
        }

        WantsValues = _valuesMeasured = false;
        HeadProbedRows = [];
        _headScores = [];
        _watchedGroups = [];
        Watched = [];
        trace.Begin(Rows, cachedTokens, tokens, labels);
    }

    /// <summary>Steps to the next layer's entry; its plan is causal until a policy says otherwise.</summary>
    internal void Enter(int layer)
    {
        Layer = layer;
        Change = RowChange.None;
        Choice = null;
        WantsPathWeights = false;
        IsFrozen = _freeze = false;
        EntryKeys = 0;
        Merged = null;
        _ranges = null;
        _mlpShare = 1;
        _probedRows.Clear();
        ForgetMeasures();
        SetCausalPlan();
    }

    /// <summary>The layer stores a row for each whose keys it computes.</summary>
    internal void Store()
    {
        _stored[Layer] = KeyCount;

        // What stays of it when paths are fused: all that lies before the second path.
        int rest = Rows.FirstOf(RowPath.Rest);
        _kept[Layer] = rest < 0 ? KeyCount : rest;
        _visualStored[Layer] = [.. Enumerable.Range(0, KeyCount).Where(key => KeyRole(key) == RowRole.Visual)];
    }

    /// <summary>Of the rows of this prefill that a layer stored, those that are visual; after a fusion, of those that are left.</summary>
    internal ReadOnlySpan<int> VisualStored(int layer)
    {
        ReadOnlySpan<int> all = _visualStored[layer];
        int left = all.BinarySearch(_stored[layer]);
        return all[..(left < 0 ? ~left : left)];
    }

    private void BeginChange(RowChange change)
    {
        if (Change != RowChange.None)
            throw new PolicyException($"two policies change the rows at the entry of layer {Layer}");
        Change = change;
        _sourceRows = Rows.Count;
        _sources.Clear();
        _paths.Clear();
        _fusedRows.Clear();
        _otherRows.Clear();
    }

    private void Rearrange()
    {
        Rows.Rearrange(Sources, CollectionsMarshal.AsSpan(_paths));
        if (Layer < 0)
            return;
        SetCausalPlan();
        Follow(CollectionsMarshal.AsSpan(_probedRows));
        Follow(HeadProbedRows);
    }

    // Rows that another policy wants measured in this layer have moved.
    private void Follow(Span<int> probed)
    {
        foreach (ref int row in probed)
        {
            int now = _sources.IndexOf(row);
            if (now < 0)
                throw new PolicyException($"a policy takes out a row that another one probes in layer {Layer}");
            row = now;
        }
    }
}

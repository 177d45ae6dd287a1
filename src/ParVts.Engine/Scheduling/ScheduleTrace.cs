using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling;

/// <summary>
/// What a prefill did, layer by layer (contract P4). Nothing else counts FLOPs. Filled by the run; read it when the run
/// is over.
/// </summary>
public sealed class ScheduleTrace
{
    private readonly TextConfig _config;

    internal ScheduleTrace(TextConfig config)
    {
        _config = config;
        RowsByLayer = new int[config.Layers];
        KeysByLayer = new int[config.Layers];
        KvRowsByLayer = new int[config.Layers];
        PairsByLayer = new long[config.Layers];
    }

    /// <summary>Rows before the first image (s).</summary>
    public int Prefix { get; private set; }

    /// <summary>Visual rows (N).</summary>
    public int Visual { get; private set; }

    /// <summary>Text rows after the first image (m); all rows where there is no image.</summary>
    public int Text { get; private set; }

    /// <summary>Rows computed in each layer.</summary>
    public int[] RowsByLayer { get; }

    /// <summary>Rows whose keys and values each layer computed.</summary>
    public int[] KeysByLayer { get; }

    /// <summary>Rows in each layer's KV store after the prefill.</summary>
    public int[] KvRowsByLayer { get; }

    /// <summary>Visible query-key pairs of each layer, of one head.</summary>
    public long[] PairsByLayer { get; }

    /// <summary>Of all pairs, those whose query or key is visual, summed over the layers.</summary>
    public long PairsVisual { get; private set; }

    /// <summary>FLOPs of the decoder's prefill by the formula of SCHEDULES.md: no probes, no head.</summary>
    public long Flops { get; private set; }

    /// <summary>The same for the dense policy on the same rows.</summary>
    public long FlopsDense { get; private set; }

    internal void Begin(RowBatch rows, int cached)
    {
        Array.Clear(RowsByLayer);
        Array.Clear(KeysByLayer);
        Array.Clear(KvRowsByLayer);
        Array.Clear(PairsByLayer);
        Visual = rows.CountOf(RowRole.Visual);
        Prefix = rows.CountOf(RowRole.Prefix);
        Text = rows.Count - Visual - Prefix;
        PairsVisual = 0;
        Flops = 0;
        long n = rows.Count;
        FlopsDense = _config.Layers * LayerFlops(n, n, n * cached + n * (n + 1) / 2);
    }

    internal void Record(ScheduleState state, int kvRows)
    {
        int layer = state.Layer;
        int rows = state.Rows.Count;
        long pairs = state.Plan.CountPairs();
        RowsByLayer[layer] = rows;
        KeysByLayer[layer] = rows;
        KvRowsByLayer[layer] = kvRows;
        PairsByLayer[layer] = pairs;
        Flops += LayerFlops(rows, rows, pairs);
        PairsVisual += VisualPairs(state);
    }

    private static long VisualPairs(ScheduleState state)
    {
        // Of a causal plan: all pairs less those of two rows that are both not visual. Keys of earlier turns count by
        // their query.
        long textual = 0;
        int seen = 0;
        foreach (RowRole role in state.Rows.Role)
        {
            if (role == RowRole.Visual)
                continue;
            seen++;
            textual += seen + state.CachedRows;
        }

        return state.Plan.CountPairs() - textual;
    }

    private long LayerFlops(long rows, long keys, long pairs)
    {
        long d = _config.HiddenSize;
        long query = (long)_config.Heads * _config.HeadDim;
        long keyValue = 2L * _config.KeyValueHeads * _config.HeadDim;
        return 2 * (rows * d * query * 2 + keys * d * keyValue + rows * _config.IntermediateSize * d * 3 + 2 * pairs * query);
    }
}

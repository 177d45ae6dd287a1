using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling;

/// <summary>What a prefill will take, known before it runs (contract D4).</summary>
/// <param name="Trace">Rows, pairs and FLOPs layer by layer, as the run will find them; choices in it mean nothing.</param>
/// <param name="MaxRows">Rows at any one time, at most.</param>
/// <param name="MaxKeys">Keys that a layer's store holds at any one time, at most.</param>
/// <param name="MaxPages">Pages of the KV store at any one time, at most.</param>
internal sealed record SchedulePlan(ScheduleTrace Trace, int MaxRows, int MaxKeys, long MaxPages)
{
    /// <summary>
    /// Runs the policy over the rows with scores that are all zero: its sizes are then those of the run. Where they are not
    /// known beforehand, everything stays.
    /// </summary>
    /// <param name="config">The decoder.</param>
    /// <param name="policy">The policy, bound to the model.</param>
    /// <param name="fill">Adds the rows of the prompt to a batch.</param>
    /// <param name="cached">Rows of earlier turns, layer by layer.</param>
    /// <param name="cachedTokens">Tokens of earlier turns.</param>
    /// <param name="images">Pictures of the prefill.</param>
    public static SchedulePlan Create(
        TextConfig config, VisualTokenPolicy policy, Action<RowBatch> fill, ReadOnlySpan<int> cached, int cachedTokens, int images)
    {
        VisualTokenPolicy asked = policy.SizesAreKnown ? policy : PolicyRegistry.Create("dense");
        var state = new ScheduleState();
        fill(state.Rows);
        var trace = new ScheduleTrace(config);
        state.Begin(trace, cached, cachedTokens, state.Rows.Count, images);
        state.SetClassAttention(trace.Visual, read: null);
        state.Measures = new NoMeasures(state, config.HiddenSize);
        asked.OnVisionTokens(state);

        // A policy whose sizes are not known may also split: then text rows run twice.
        int copies = policy.SizesAreKnown ? 0 : trace.Text;
        int maxRows = Math.Max(trace.Prefix + trace.Visual + trace.Text, state.Rows.Count) + copies;
        int maxKeys = 0;
        long maxPages = 0;
        for (int layer = 0; layer < config.Layers; layer++)
        {
            state.Enter(layer);
            asked.BeforeLayer(state);
            state.Settle();
            state.Store();
            if (state.ProbedRows.Length > 0)
                state.SetRowScores(from: 0, read: null);
            if (state.WantsValues)
                state.SetValueSums(read: null);
            trace.Record(state);
            maxRows = Math.Max(maxRows, state.Rows.Count);
            int keys = state.CachedRows + Math.Max(state.EntryKeys, state.KeyCount) + copies;
            maxKeys = Math.Max(maxKeys, keys);
            maxPages = Math.Max(maxPages, PagesNow(state) - KvStore.PagesFor(state.CachedRows + state.KeyCount) + KvStore.PagesFor(keys));
        }

        for (int layer = 0; layer < config.Layers; layer++)
            trace.RecordStored(layer, state.CachedRowsOf(layer) + state.StoredRowsOf(layer));
        return new SchedulePlan(trace, maxRows, maxKeys, maxPages);
    }

    /// <summary>What the store must have room for: the prefill, and then decoding.</summary>
    public KvNeeds Cache(int newTokens)
    {
        long pages = 0;
        int rows = MaxKeys;
        foreach (int stored in Trace.KvRowsByLayer)
        {
            pages += KvStore.PagesFor(stored + newTokens);
            rows = Math.Max(rows, stored + newTokens);
        }

        return new KvNeeds(Math.Max(pages, MaxPages), rows);
    }

    private static long PagesNow(ScheduleState state)
    {
        long pages = 0;
        for (int layer = 0; layer < state.Layers; layer++)
            pages += KvStore.PagesFor(state.CachedRowsOf(layer) + (layer <= state.Layer ? state.StoredRowsOf(layer) : 0));
        return pages;
    }
}

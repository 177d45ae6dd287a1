using System.Runtime.InteropServices;
using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <content>Layers that leave visual rows as they are, and what is measured before a layer runs.</content>
public sealed partial class ScheduleState
{
    private readonly List<int> _computed = [];
    private bool _freeze;

    /// <summary>Visual rows are not computed in this layer.</summary>
    internal bool IsFrozen { get; private set; }

    /// <summary>Of a frozen layer: visual rows give keys and values.</summary>
    internal bool FrozenGiveKeys { get; private set; }

    /// <summary>The rows that a frozen layer computes.</summary>
    internal ReadOnlySpan<int> ComputedRows => CollectionsMarshal.AsSpan(_computed);

    /// <summary>Rows that the layer computes.</summary>
    internal int QueryCount => IsFrozen ? _computed.Count : Rows.Count;

    /// <summary>Rows whose keys and values the layer computes and stores.</summary>
    internal int KeyCount => IsFrozen && !FrozenGiveKeys ? _computed.Count : Rows.Count;

    /// <summary>Measures the coming layer's attention (<see cref="AttentionAtEntry"/>); null in a plan.</summary>
    internal Func<int[], float[]>? EntryProbe { get; set; }

    /// <summary>
    /// In this layer visual rows are not computed: they leave it as they entered. Their keys and values, of the rows as they
    /// are, are there for the others (ShortV, arXiv 2504.00502), or not even that: then the layer's store does not hold them.
    /// </summary>
    /// <param name="giveKeys">Others may look at them.</param>
    /// <exception cref="PolicyException">Two paths are running.</exception>
    public void FreezeVisual(bool giveKeys = true)
    {
        if (Rows.Paths.Contains(RowPath.Rest))
            throw new PolicyException($"a policy freezes visual rows at layer {Layer}, where two paths are running");
        _freeze = true;
        FrozenGiveKeys = giveKeys;
    }

    /// <summary>Every policy has spoken: what is frozen follows from the rows that are left.</summary>
    internal void Settle()
    {
        if (!_freeze)
            return;
        _computed.Clear();
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) != RowRole.Visual)
                _computed.Add(row);
        }

        IsFrozen = _computed.Count < Rows.Count;
        if (IsFrozen && FrozenGiveKeys)
            SetFrozenPlan();
        else if (IsFrozen)
            Plan.SetCausal(_computed.Count, CachedRows);
    }

    /// <summary>
    /// Measures this layer before it runs, from its own norm and projections: for each row its probability in the causal
    /// softmax of the rows that are named, mean over heads, then over those rows (PyramidDrop, arXiv 2410.17247). To be
    /// asked before rows change.
    /// </summary>
    /// <param name="rows">Query rows.</param>
    /// <returns>A score for each of <see cref="Rows"/>; zeros where a run is only planned.</returns>
    public float[] AttentionAtEntry(params int[] rows)
    {
        if (Change != RowChange.None || Layer < 0)
            throw new PolicyException($"a policy asks for layer {Layer}'s attention where its rows are not there, or no longer");
        EntryKeys = Math.Max(EntryKeys, Rows.Count);
        return EntryProbe?.Invoke(rows) ?? new float[Rows.Count];
    }

    /// <summary>Rows whose keys <see cref="AttentionAtEntry"/> stored for a moment, at most.</summary>
    internal int EntryKeys { get; private set; }

    /// <summary>What query <paramref name="query"/> of the plan is.</summary>
    internal RowRole QueryRole(int query) => Rows.RoleOf(IsFrozen ? _computed[query] : query);

    /// <summary>What key <paramref name="key"/> of this prefill is.</summary>
    internal RowRole KeyRole(int key) => Rows.RoleOf(IsFrozen && !FrozenGiveKeys ? _computed[key] : key);

    // The computed rows as they are packed: runs of neighbours, each seeing all keys before it and its own causally.
    private void SetFrozenPlan()
    {
        Plan.Clear();
        int cached = CachedRows;
        for (int first = 0; first < _computed.Count;)
        {
            int end = first + 1;
            while (end < _computed.Count && _computed[end] == _computed[end - 1] + 1)
                end++;
            int key = cached + _computed[first];
            Plan.AddSegment(first, end);
            Plan.AddRange(new KeyRange(0, key, KeyRule.Full));
            Plan.AddRange(new KeyRange(key, key + end - first, KeyRule.Diagonal));
            first = end;
        }
    }
}

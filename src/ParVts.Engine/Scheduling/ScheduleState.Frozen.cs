using System.Runtime.InteropServices;
using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <content>Layers that compute visual rows in part, or leave them as they are.</content>
public sealed partial class ScheduleState
{
    private readonly List<int> _computed = [];
    private bool _freeze;
    private bool _blindPrefix;
    private int _mlpShare = 1;

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

    /// <summary>
    /// In this layer visual rows are not computed: they leave it as they entered. Their keys and values, of the rows as they
    /// are, are there for the others (ShortV, arXiv 2504.00502), or not even that: then the layer's store does not hold them.
    /// </summary>
    /// <param name="giveKeys">Others may look at them.</param>
    /// <param name="blindPrefix">Rows before the first picture look at nothing here: of this layer they get the MLP alone.</param>
    /// <exception cref="PolicyException">Two paths are running.</exception>
    public void FreezeVisual(bool giveKeys = true, bool blindPrefix = false)
    {
        if (Rows.HasTwoPaths)
            throw new PolicyException($"a policy freezes visual rows at layer {Layer}, where two paths are running");
        _freeze = true;
        FrozenGiveKeys = giveKeys;
        _blindPrefix = blindPrefix;
    }

    /// <summary>The part of the MLP's inner channels that visual rows use in this layer: the first 1 / n of them; 1 for all.</summary>
    internal int MlpShare => _mlpShare;

    /// <summary>
    /// In this layer visual rows use only the first 1 / <paramref name="share"/> of the MLP's inner channels, rounded down (YOPO,
    /// arXiv 2410.06169).
    /// </summary>
    public void ThinMlp(int share)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(share, 1);
        _mlpShare = share;
    }

    /// <summary>The layer's store will hold keys of the visual rows, as far as policies have spoken.</summary>
    internal bool HoldsVisualKeys => !_freeze || FrozenGiveKeys;

    /// <summary>Every policy has spoken: what is frozen follows from the rows that are left.</summary>
    internal void Settle()
    {
        if (_freeze && _ranges is not null)
            throw new PolicyException($"a policy changes who sees whom in layer {Layer}, where another one freezes visual rows");
        if (_ranges is not null)
            SetRangesPlan(_ranges);
        if (!_freeze)
            return;
        _computed.Clear();
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) != RowRole.Visual)
                _computed.Add(row);
        }

        IsFrozen = _computed.Count < Rows.Count;
        if (IsFrozen)
            SetFrozenPlan();
    }

    /// <summary>Rows whose keys <see cref="ProbeEntry"/> stored for a moment, at most.</summary>
    internal int EntryKeys { get; private set; }

    /// <summary>What query <paramref name="query"/> of the plan is.</summary>
    internal RowRole QueryRole(int query) => Rows.RoleOf(IsFrozen ? _computed[query] : query);

    /// <summary>What key <paramref name="key"/> of this prefill is.</summary>
    internal RowRole KeyRole(int key) => Rows.RoleOf(IsFrozen && !FrozenGiveKeys ? _computed[key] : key);

    // The computed rows as they are packed: runs of neighbours in the store, each seeing all keys before it and its own causally.
    // Rows of no segment see nothing.
    private void SetFrozenPlan()
    {
        Plan.Clear();
        int cached = CachedRows;
        for (int first = 0; first < _computed.Count;)
        {
            int key = Key(first);
            int end = first + 1;
            while (end < _computed.Count && Key(end) == key + end - first && IsBlind(end) == IsBlind(first))
                end++;
            if (!IsBlind(first))
            {
                Plan.AddSegment(first, end);
                Plan.AddRange(new KeyRange(0, key, KeyRule.Full));
                Plan.AddRange(new KeyRange(key, key + end - first, KeyRule.Diagonal));
            }

            first = end;
        }

        int Key(int computed) => cached + (FrozenGiveKeys ? _computed[computed] : computed);

        bool IsBlind(int computed) => _blindPrefix && Rows.RoleOf(_computed[computed]) == RowRole.Prefix;
    }
}

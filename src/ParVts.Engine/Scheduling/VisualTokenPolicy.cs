using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <summary>
/// Decides what becomes of visual tokens (contract P). A policy decides with indices and scores; it never touches
/// device memory (P1). One instance serves one session.
/// </summary>
public abstract class VisualTokenPolicy
{
    /// <summary>The policy string that makes it again.</summary>
    public abstract string Name { get; }

    /// <summary>
    /// At the entry of decoder layer <see cref="ScheduleState.Layer"/> (0-based) of a prefill: sets
    /// <see cref="ScheduleState.Plan"/> to what each row sees in it.
    /// </summary>
    public abstract void BeforeLayer(ScheduleState state);
}

/// <summary>What a policy sees, and fills, at the entry of a layer.</summary>
public sealed class ScheduleState
{
    /// <summary>The layer, 0-based.</summary>
    public int Layer { get; internal set; }

    /// <summary>Rows of earlier turns that the layer's KV store holds.</summary>
    public int CachedRows { get; internal set; }

    /// <summary>The rows of this prefill.</summary>
    public RowBatch Rows { get; } = new();

    /// <summary>Who sees whom in this layer.</summary>
    public AttentionPlan Plan { get; } = new();
}

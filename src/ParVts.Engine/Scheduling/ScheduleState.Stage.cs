using ParVts.Engine.Profiling;

namespace ParVts.Engine.Scheduling;

/// <content>What profilers are told of a layer.</content>
public sealed partial class ScheduleState
{
    /// <summary>What the policy does with the layer, once it has spoken; looks through the rows, so only where somebody listens.</summary>
    internal RangeStage Stage
    {
        get
        {
            RangeStage stage = Change switch
            {
                RowChange.None => RangeStage.None,
                RowChange.Merge => RangeStage.Merge,
                RowChange.Fuse => RangeStage.Fuse,
                _ when Rows.HasTwoPaths => RangeStage.Split,
                _ => Rows.CountOf(RowRole.Visual) == 0 ? RangeStage.Leave : RangeStage.Select,
            };
            if (Rows.HasTwoPaths)
                stage |= RangeStage.Paths;
            if (IsFrozen)
                stage |= RangeStage.Frozen;
            if (_ranges is not null || MlpShare > 1)
                stage |= RangeStage.View;
            if (_probedRows.Count > 0 || HeadProbedRows.Length > 0 || WantsValues || WantsPathWeights || WatchedGroups.Count > 0)
                stage |= RangeStage.Probe;
            return stage;
        }
    }
}

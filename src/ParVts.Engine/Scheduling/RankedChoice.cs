namespace ParVts.Engine.Scheduling;

/// <summary>What visual tokens are ranked by.</summary>
public enum TokenScore
{
    /// <summary><see cref="ScheduleState.ClassAttention"/>.</summary>
    ClassAttention,

    /// <summary><see cref="ScheduleState.RowScores"/>.</summary>
    RowAttention,
}

/// <summary>Of the visual tokens that are there, in row order, those from <paramref name="First"/> on: how many of them stay.</summary>
/// <param name="First">The first one.</param>
/// <param name="Count">How many are ranked among each other.</param>
/// <param name="Keep">How many of them stay; at most <paramref name="Count"/>.</param>
public readonly record struct RankGroup(int First, int Count, int Keep);

/// <summary>
/// A choice by rank whose sizes are known and whose outcome is not, until the device has made it and it is read back
/// (contract P2). Until then the first tokens of each group stand for those that stay.
/// </summary>
/// <param name="Source">What is ranked.</param>
/// <param name="Groups">Who is ranked among whom, in order; together they hold every visual token that is there.</param>
/// <param name="RankedTokens">The visual tokens that are there, as they were known then, in row order.</param>
/// <param name="RankedRows">Their rows.</param>
/// <param name="Event">The trace's event that tells of it.</param>
internal sealed record RankedChoice(TokenScore Source, RankGroup[] Groups, int[] RankedTokens, int[] RankedRows, int Event)
{
    /// <summary>Tokens that stay, of all groups.</summary>
    public int Kept { get; } = Groups.Sum(group => group.Keep);

    /// <summary>Places among the ranked tokens: those that stay, ascending, then those that do not, ascending. Made by the device.</summary>
    public int[] Places { get; } = new int[RankedTokens.Length];

    /// <summary>The scores of the ranked tokens, once they are read back.</summary>
    public float[] Scores { get; } = new float[RankedTokens.Length];

    /// <summary>Where in <see cref="Places"/> each ranked token's stand-in is.</summary>
    public int PlaceOf(int ranked)
    {
        int kept = 0;
        int rest = Kept;
        foreach (RankGroup group in Groups)
        {
            int within = ranked - group.First;
            if (within < group.Count)
                return within < group.Keep ? kept + within : rest + within - group.Keep;
            kept += group.Keep;
            rest += group.Count - group.Keep;
        }

        throw new ArgumentOutOfRangeException(nameof(ranked));
    }
}

namespace ParVts.Engine.Scheduling;

/// <summary>Choices by rank, as SCHEDULES.md wants them: ties go to the lower index, the chosen stay in raster order.</summary>
internal static class Selection
{
    /// <summary>The places of the <paramref name="count"/> highest scores, ascending. A NaN ranks below every number.</summary>
    public static int[] Top(ReadOnlySpan<float> scores, int count)
    {
        int[] top = new int[Math.Clamp(count, 0, scores.Length)];
        Top(scores, new ulong[scores.Length], top);
        return top;
    }

    /// <summary>The same where nothing is to be allocated: as many as <paramref name="top"/> takes.</summary>
    /// <param name="scores">What is ranked.</param>
    /// <param name="scratch">As many as scores.</param>
    /// <param name="top">The places.</param>
    public static void Top(ReadOnlySpan<float> scores, Span<ulong> scratch, Span<int> top)
    {
        // Higher scores are lower numbers; where they are the same, the place decides.
        for (int place = 0; place < scores.Length; place++)
            scratch[place] = (ulong)~Ordered(scores[place]) << 32 | (uint)place;
        scratch.Sort();
        for (int i = 0; i < top.Length; i++)
            top[i] = (int)(uint)scratch[i];
        top.Sort();
    }

    /// <summary>
    /// The lowest score of those that stayed less the highest of those that did not; null where there is no such pair, or one of the
    /// two is infinite. A NaN ranks below every number.
    /// </summary>
    /// <param name="ranked">What was ranked.</param>
    /// <param name="scores">Its scores.</param>
    /// <param name="kept">What stayed, ascending.</param>
    public static double? Margin(ReadOnlySpan<int> ranked, ReadOnlySpan<float> scores, ReadOnlySpan<int> kept)
    {
        float lowest = float.PositiveInfinity;
        float highest = float.NegativeInfinity;
        for (int i = 0; i < ranked.Length; i++)
            Count(scores[i], kept.BinarySearch(ranked[i]) >= 0, ref lowest, ref highest);
        return Lead(lowest, highest);
    }

    /// <summary>The same of scores by their places.</summary>
    /// <param name="scores">What was ranked.</param>
    /// <param name="places">The places that stayed, ascending.</param>
    public static double? Margin(ReadOnlySpan<float> scores, ReadOnlySpan<int> places)
    {
        float lowest = float.PositiveInfinity;
        float highest = float.NegativeInfinity;
        for (int place = 0; place < scores.Length; place++)
            Count(scores[place], places.BinarySearch(place) >= 0, ref lowest, ref highest);
        return Lead(lowest, highest);
    }

    private static void Count(float score, bool stayed, ref float lowest, ref float highest)
    {
        score = float.IsNaN(score) ? float.NegativeInfinity : score;
        if (stayed)
            lowest = Math.Min(lowest, score);
        else
            highest = Math.Max(highest, score);
    }

    private static double? Lead(float lowest, float highest) =>
        float.IsFinite(lowest) && float.IsFinite(highest) ? lowest - highest : null;

    // Numbers in the order of the scores; both zeros are one, and a NaN is as low as it gets.
    private static uint Ordered(float score)
    {
        uint bits = BitConverter.SingleToUInt32Bits(float.IsNaN(score) ? float.NegativeInfinity : score + 0f);
        return (int)bits < 0 ? ~bits : bits | 0x8000_0000;
    }
}

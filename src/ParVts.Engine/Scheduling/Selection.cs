namespace ParVts.Engine.Scheduling;

/// <summary>Choices by rank, as SCHEDULES.md wants them: ties go to the lower index, the chosen stay in raster order.</summary>
internal static class Selection
{
    /// <summary>The places of the <paramref name="count"/> highest scores, ascending. A NaN ranks below every number.</summary>
    public static int[] Top(ReadOnlySpan<float> scores, int count)
    {
        int[] places = new int[scores.Length];
        float[] keys = new float[scores.Length];
        for (int i = 0; i < places.Length; i++)
        {
            places[i] = i;
            keys[i] = float.IsNaN(scores[i]) ? float.NegativeInfinity : scores[i];
        }

        Array.Sort(places, (a, b) => keys[a] != keys[b] ? keys[b].CompareTo(keys[a]) : a.CompareTo(b));
        int[] top = places[..Math.Min(count, places.Length)];
        Array.Sort(top);
        return top;
    }

    /// <summary>
    /// The lowest score of those that stayed less the highest of those that did not; null where there is no such pair, or one of the
    /// two is infinite. A NaN ranks below every number.
    /// </summary>
    public static double? Margin(ReadOnlySpan<int> ranked, ReadOnlySpan<float> scores, ReadOnlySpan<int> kept)
    {
        float lowest = float.PositiveInfinity;
        float highest = float.NegativeInfinity;
        for (int i = 0; i < ranked.Length; i++)
        {
            float score = float.IsNaN(scores[i]) ? float.NegativeInfinity : scores[i];
            if (kept.BinarySearch(ranked[i]) >= 0)
                lowest = Math.Min(lowest, score);
            else
                highest = Math.Max(highest, score);
        }

        return float.IsPositiveInfinity(lowest) || float.IsNegativeInfinity(highest) ? null : lowest - highest;
    }
}

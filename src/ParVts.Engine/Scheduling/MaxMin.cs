namespace ParVts.Engine.Scheduling;

/// <summary>A greedy choice for diversity: each pick is the token whose nearest chosen one is farthest (max-min).</summary>
/// <param name="Picks">The picks that were added, in order.</param>
/// <param name="Distances">For each of them the distance to the nearest one before it; for a first one, to its nearest neighbour (0 where it has none).</param>
/// <param name="Lead">The smallest lead of a pick over the next best; null where there was never a choice.</param>
internal sealed record MaxMin(int[] Picks, float[] Distances, double? Lead)
{
    /// <summary>
    /// Adds picks until <paramref name="count"/> tokens are chosen; ties go to the lower index. Where nothing is chosen yet, the first
    /// is the token farthest from its nearest neighbour.
    /// </summary>
    /// <param name="similarity">[n, n] cosines; a distance is 1 less the cosine.</param>
    /// <param name="n">Tokens.</param>
    /// <param name="chosen">Those that are chosen already.</param>
    /// <param name="count">How many are to be chosen in all.</param>
    public static MaxMin Choose(ReadOnlySpan<float> similarity, int n, ReadOnlySpan<int> chosen, int count)
    {
        float[] nearest = new float[n];
        bool[] taken = new bool[n];
        Array.Fill(nearest, float.PositiveInfinity);
        foreach (int token in chosen)
        {
            taken[token] = true;
            Approach(similarity, token, nearest);
        }

        int[] picks = new int[Math.Max(0, count - chosen.Length)];
        float[] distances = new float[picks.Length];
        double? lead = null;
        for (int i = 0; i < picks.Length; i++)
        {
            bool first = i == 0 && chosen.IsEmpty;
            float[] ranked = first ? ToNeighbours(similarity, n) : nearest;
            (picks[i], float ahead) = Farthest(ranked, taken);
            distances[i] = float.IsPositiveInfinity(ranked[picks[i]]) ? 0 : ranked[picks[i]];
            if (float.IsFinite(ahead))
                lead = Math.Min(lead ?? double.PositiveInfinity, ahead);
            taken[picks[i]] = true;
            Approach(similarity, picks[i], nearest);
        }

        return new MaxMin(picks, distances, lead);
    }

    /// <summary>Keeps the visual tokens of a choice, and says in the trace how the picks came about.</summary>
    /// <param name="state">The state that the similarities are of, unchanged since.</param>
    /// <param name="core">Places of the tokens that were chosen before the picks.</param>
    /// <param name="score">What the picks were made by, in words.</param>
    public void Keep(ScheduleState state, ReadOnlySpan<int> core, string score)
    {
        int[] alive = state.AliveVisual();
        int[] labels = state.VisualLabels();
        int[] kept = [.. core, .. Picks];
        Array.Sort(kept);
        state.Record(
            ScheduleEventKind.Measure, score, [.. Picks.Select(place => labels[place])], Distances, [.. kept.Select(place => labels[place])], Lead);
        state.Keep([.. kept.Select(place => alive[place])]);
    }

    // The farthest token that is free, and its lead over the next.
    private static (int Token, float Lead) Farthest(float[] nearest, bool[] taken)
    {
        int best = -1;
        float second = float.NegativeInfinity;
        for (int token = 0; token < nearest.Length; token++)
        {
            if (taken[token])
                continue;
            if (best < 0 || nearest[token] > nearest[best])
            {
                second = best < 0 ? second : nearest[best];
                best = token;
            }
            else
            {
                second = Math.Max(second, nearest[token]);
            }
        }

        return (best, nearest[best] - second);
    }

    private static float[] ToNeighbours(ReadOnlySpan<float> similarity, int n)
    {
        float[] nearest = new float[n];
        for (int token = 0; token < n; token++)
        {
            nearest[token] = float.PositiveInfinity;
            for (int other = 0; other < n; other++)
            {
                if (other != token)
                    nearest[token] = Math.Min(nearest[token], 1f - similarity[token * n + other]);
            }
        }

        return nearest;
    }

    private static void Approach(ReadOnlySpan<float> similarity, int pick, float[] nearest)
    {
        for (int token = 0; token < nearest.Length; token++)
            nearest[token] = Math.Min(nearest[token], 1f - similarity[token * nearest.Length + pick]);
    }
}

namespace ParVts.Runner.Benchmarking;

/// <summary>A figure of several rounds.</summary>
internal readonly record struct BenchmarkSummary(double Median, double Smallest, double Largest)
{
    /// <summary>Of at least one value.</summary>
    public static BenchmarkSummary Of(IReadOnlyCollection<double> values)
    {
        double[] sorted = [.. values.Order()];
        return new((sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2, sorted[0], sorted[^1]);
    }
}

/// <summary>The few statistics that repeated measurements are judged by. Pure functions; any thread.</summary>
internal static class BenchmarkStatistics
{
    /// <summary>Rounds of a run, at most: up to there the test is exact.</summary>
    public const int MostRounds = 100;

    /// <summary>
    /// How likely it is that the median of a second run of as many rounds lies between the smallest and the largest value of the first, where
    /// nothing but chance tells the rounds apart: whatever the distribution is. Of an even number, a lower bound.
    /// </summary>
    public static double Coverage(int rounds)
    {
        // Outside it lies where the least half of all values, the median's included, are the second run's, or the greatest are.
        int half = (rounds + 1) / 2;
        double outside = 1;
        for (int i = 0; i < half; i++)
            outside *= (rounds - i) / (2.0 * rounds - i);
        return Math.Max(0, 1 - 2 * outside);
    }

    /// <summary>
    /// The Mann-Whitney test (Wilcoxon's rank sum), two-sided and exact: how likely it is that rank sums differ at least this much when the
    /// values were dealt to the two runs at random. Equal values share their mean rank.
    /// </summary>
    public static double MannWhitney(IReadOnlyList<double> a, IReadOnlyList<double> b)
    {
        // Twice the mean ranks are whole numbers.
        (double Value, bool IsA)[] all = [.. a.Select(value => (value, true)), .. b.Select(value => (value, false))];
        Array.Sort(all, (x, y) => x.Value.CompareTo(y.Value));
        int[] ranks = new int[all.Length];
        for (int start = 0; start < all.Length;)
        {
            int end = start + 1;
            while (end < all.Length && all[end].Value == all[start].Value)
                end++;
            Array.Fill(ranks, start + 1 + end, start, end - start);
            start = end;
        }

        int observed = all.Select((one, i) => one.IsA ? ranks[i] : 0).Sum();
        double[] sums = RankSums(ranks, a.Count);
        long expected = (long)a.Count * (all.Length + 1);
        double tail = 0;
        for (int sum = 0; sum < sums.Length; sum++)
        {
            if (Math.Abs(sum - expected) >= Math.Abs(observed - expected))
                tail += sums[sum];
        }

        return Math.Min(1, tail / sums.Sum());
    }

    /// <summary>The least p that the test can give for runs of these lengths.</summary>
    public static double LeastProbability(int a, int b)
    {
        double ways = 1;
        for (int i = 0; i < a; i++)
            ways = ways * (a + b - i) / (i + 1);
        return Math.Min(1, 2 / ways);
    }

    /// <summary>Holm's correction: with it, the chance that any of all these differences is found where there is none stays below the level.</summary>
    public static double[] Holm(IReadOnlyList<double> probabilities)
    {
        double[] corrected = new double[probabilities.Count];
        double largest = 0;
        int[] order = [.. Enumerable.Range(0, corrected.Length).OrderBy(i => probabilities[i])];
        for (int place = 0; place < order.Length; place++)
        {
            largest = Math.Max(largest, Math.Min(1, probabilities[order[place]] * (order.Length - place)));
            corrected[order[place]] = largest;
        }

        return corrected;
    }

    // In how many ways so many of the ranks make each sum.
    private static double[] RankSums(int[] ranks, int count)
    {
        int largest = ranks.OrderDescending().Take(count).Sum();
        double[][] ways = new double[count + 1][];
        for (int taken = 0; taken <= count; taken++)
            ways[taken] = new double[largest + 1];
        ways[0][0] = 1;
        foreach (int rank in ranks)
        {
            for (int taken = count; taken > 0; taken--)
            {
                for (int sum = largest; sum >= rank; sum--)
                    ways[taken][sum] += ways[taken - 1][sum - rank];
            }
        }

        return ways[count];
    }
}

namespace ParVts.Runner.Evaluation;

/// <summary>The few statistics that an evaluation is judged by. Pure functions; any thread.</summary>
internal static class EvaluationStatistics
{
    // The normal distribution's 97.5 % quantile: 95 % of it lie between this and its negative.
    private const double Quantile = 1.959963984540054;

    /// <summary>
    /// Wilson's 95 % interval of a share (E. B. Wilson, 1927): unlike the textbook's, it stays within 0 and 1 and says
    /// something where all or none are right.
    /// </summary>
    /// <param name="right">How many are right.</param>
    /// <param name="count">Of how many; 0 gives all of 0 to 1.</param>
    public static (double Low, double High) Wilson(int right, int count)
    {
        if (count == 0)
            return (0, 1);
        double n = count;
        double share = right / n;
        double square = Quantile * Quantile;
        double centre = share + square / (2 * n);
        double half = Quantile * Math.Sqrt(share * (1 - share) / n + square / (4 * n * n));
        double scale = 1 + square / n;

        // At its ends the interval touches 0 or 1, which rounding would miss by a hair.
        return (right == 0 ? 0 : (centre - half) / scale, right == count ? 1 : (centre + half) / scale);
    }

    /// <summary>
    /// McNemar's exact test, two-sided: how likely it is that two equally good policies differ at least this unevenly on
    /// the questions that just one of them has right.
    /// </summary>
    /// <param name="onlyA">Questions that only the first has right.</param>
    /// <param name="onlyB">Questions that only the second has right.</param>
    public static double McNemar(int onlyA, int onlyB)
    {
        int n = onlyA + onlyB;

        // Binomial(n, 1/2) from 0 to the smaller count; the terms as logarithms, since 2^-n alone is soon below what a
        // double holds.
        double log = -n * Math.Log(2);
        double tail = 0;
        for (int i = 0; i <= Math.Min(onlyA, onlyB); i++)
        {
            tail += Math.Exp(log);
            log += Math.Log(n - i) - Math.Log(i + 1);
        }

        return Math.Min(1, 2 * tail);
    }

    /// <summary>The 95 % interval of a mean of scores from 0 to 1: Wilson's where all are 0 or 1, else the normal one within 0 and 1.</summary>
    public static (double Low, double High) Interval(IReadOnlyList<double> scores)
    {
        if (scores.All(score => score is 0 or 1))
            return Wilson(scores.Count(score => score == 1), scores.Count);
        double mean = scores.Average();
        double variance = scores.Sum(score => (score - mean) * (score - mean)) / Math.Max(1, scores.Count - 1);
        double half = Quantile * Math.Sqrt(variance / scores.Count);
        return (Math.Max(0, mean - half), Math.Min(1, mean + half));
    }

    /// <summary>
    /// The exact sign-flip test, two-sided: how likely it is that paired scores of two equally good policies differ at least this much
    /// in sum, when each difference could as well have been the other way round. Where they are 1, 0 and −1, this is McNemar's.
    /// </summary>
    /// <param name="differences">Differences from −1 to 1; they count to a hundredth (soft scores are tenths).</param>
    public static double SignFlip(IReadOnlyList<double> differences)
    {
        const int Units = 100;
        int[] counts = new int[Units + 1];
        long sum = 0;
        foreach (double difference in differences)
        {
            int units = (int)Math.Round(difference * Units);
            sum += units;
            counts[Math.Abs(units)]++;
        }

        int[] sizes = [.. Enumerable.Range(1, Units).Where(size => counts[size] > 0)];
        if (sizes.Length <= 1)
            return sizes.Length == 0 ? 1 : McNemar((counts[sizes[0]] - (int)(sum / sizes[0])) / 2, (counts[sizes[0]] + (int)(sum / sizes[0])) / 2);

        // The distribution of the sum, size by size: size · (2 B − n) with B binomial; places count from the lowest sum, in steps of twice the sizes.
        double[] distribution = [1];
        foreach (int size in sizes)
            distribution = Add(distribution, size, Binomial(counts[size]));
        long lowest = -sizes.Sum(size => (long)size * counts[size]);
        long atLeast = Math.Abs(sum);
        double tail = 0;
        for (int place = 0; place < distribution.Length; place++)
        {
            if (Math.Abs(lowest + 2L * place) >= atLeast)
                tail += distribution[place];
        }

        return Math.Min(1, tail);
    }

    private static double[] Add(double[] distribution, int size, double[] binomial)
    {
        double[] sum = new double[distribution.Length + size * (binomial.Length - 1)];
        for (int ups = 0; ups < binomial.Length; ups++)
        {
            for (int place = 0; place < distribution.Length && binomial[ups] > 0; place++)
                sum[place + size * ups] += distribution[place] * binomial[ups];
        }

        return sum;
    }

    private static double[] Binomial(int n)
    {
        double[] terms = new double[n + 1];
        double log = -n * Math.Log(2);
        for (int i = 0; i <= n; i++)
        {
            terms[i] = Math.Exp(log);
            log += Math.Log(n - i) - Math.Log(i + 1);
        }

        return terms;
    }
}

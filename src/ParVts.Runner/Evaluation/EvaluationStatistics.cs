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
}

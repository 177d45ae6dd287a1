using ParVts.Runner.Benchmarking;

namespace ParVts.Runner.Tests;

/// <summary>What repeats are judged by, against values counted one by one or worked out by hand.</summary>
public sealed class BenchStatisticsTests
{
    [TestCase(new[] { 3.0 }, 3, 3, 3)]
    [TestCase(new[] { 5.0, 1, 3 }, 3, 1, 5)]
    [TestCase(new[] { 4.0, 1, 3, 9 }, 3.5, 1, 9)]
    public void MediansAreAsByHand(double[] values, double median, double smallest, double largest) =>
        Assert.That(BenchmarkSummary.Of(values), Is.EqualTo(new BenchmarkSummary(median, smallest, largest)));

    // Of the 20 ways to deal three and three, 2 and 4 are as uneven; one and one, or equal ones, are always.
    [TestCase(new[] { 1.0, 2, 3 }, new[] { 4.0, 5, 6 }, 0.1)]
    [TestCase(new[] { 1.0, 2, 4 }, new[] { 3.0, 5, 6 }, 0.2)]
    [TestCase(new[] { 1.0 }, new[] { 2.0 }, 1)]
    [TestCase(new[] { 7.0, 7, 7 }, new[] { 7.0, 7, 7, 7 }, 1)]
    public void MannWhitneyIsAsByHand(double[] a, double[] b, double expected)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(BenchmarkStatistics.MannWhitney(a, b), Is.EqualTo(expected).Within(1e-12));
            Assert.That(BenchmarkStatistics.MannWhitney(b, a), Is.EqualTo(expected).Within(1e-12), "the other way round");
        }
    }

    // Every way to deal the values, counted; with equal ones among them, and of different numbers.
    [TestCase(new[] { 1.5, 2, 9, 4 }, new[] { 3.0, 2, 8, 11, 2 })]
    [TestCase(new[] { 1.0, 1, 2 }, new[] { 1.0, 2, 2, 3, 3, 3 })]
    [TestCase(new[] { 10.0, 11, 12, 13, 14 }, new[] { 9.0, 8, 7, 6, 5 })]
    public void MannWhitneyCountsEveryDeal(double[] a, double[] b)
    {
        double[] all = [.. a, .. b];
        double RankOf(double value) => all.Count(other => other < value) + (all.Count(other => other == value) + 1) / 2.0;
        double expected = a.Length * (all.Length + 1) / 2.0;
        double observed = Math.Abs(a.Sum(RankOf) - expected);
        int deals = 0;
        int asUneven = 0;
        for (int deal = 0; deal < 1 << all.Length; deal++)
        {
            double[] dealt = [.. all.Where((_, i) => (deal >> i & 1) == 1)];
            if (dealt.Length != a.Length)
                continue;
            deals++;
            asUneven += Math.Abs(dealt.Sum(RankOf) - expected) >= observed - 1e-9 ? 1 : 0;
        }

        Assert.That(BenchmarkStatistics.MannWhitney(a, b), Is.EqualTo((double)asUneven / deals).Within(1e-12));
    }

    [TestCase(3, 3)]
    [TestCase(5, 9)]
    [TestCase(100, 100)]
    public void TheClearestOutcomeHasTheLeastProbability(int a, int b)
    {
        double[] low = [.. Enumerable.Range(0, a).Select(i => (double)i)];
        double[] high = [.. Enumerable.Range(a, b).Select(i => (double)i)];
        Assert.That(BenchmarkStatistics.MannWhitney(low, high), Is.EqualTo(BenchmarkStatistics.LeastProbability(a, b)).Within(1e-6).Percent);
    }

    [Test]
    public void HolmIsAsByHand()
    {
        using (Assert.EnterMultipleScope())
        {
            // 4 · 0.01; 3 · 0.02; 2 · 0.04, and what is behind it is no less.
            Assert.That(BenchmarkStatistics.Holm([0.04, 0.01, 0.05, 0.02]), Is.EqualTo(new[] { 0.08, 0.04, 0.08, 0.06 }).Within(1e-12));
            Assert.That(BenchmarkStatistics.Holm([0.7, 0.6]), Is.EqualTo(new[] { 1.0, 1 }));
            Assert.That(BenchmarkStatistics.Holm([]), Is.Empty);
        }
    }

    // Every order in which the values of two runs can come, counted: is the second one's median within the first one's spread?
    [TestCase(1)]
    [TestCase(3)]
    [TestCase(5)]
    [TestCase(7)]
    public void TheSpreadHoldsAnotherRunsMedianAsOftenAsItSays(int rounds)
    {
        int orders = 0;
        int within = 0;
        for (int order = 0; order < 1 << 2 * rounds; order++)
        {
            if (int.PopCount(order) != rounds)
                continue;
            int[] mine = [.. Enumerable.Range(0, 2 * rounds).Where(place => (order >> place & 1) == 1)];
            int[] other = [.. Enumerable.Range(0, 2 * rounds).Where(place => (order >> place & 1) == 0)];
            orders++;
            within += other[rounds / 2] > mine[0] && other[rounds / 2] < mine[^1] ? 1 : 0;
        }

        Assert.That(BenchmarkStatistics.Coverage(rounds), Is.EqualTo((double)within / orders).Within(1e-12));
    }
}

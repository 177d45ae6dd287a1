using System.Globalization;
using System.Numerics;
using System.Text;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Tests;

/// <summary>What an evaluation is judged by, against values worked out by hand or exactly.</summary>
public sealed class EvaluationStatisticsTests
{
    // 2 (1 + 9) / 2^9; 2 / 2^5; 2 (1 + 10 + 45) / 2^10; the two halves of an even split add up to more than 1.
    [TestCase(1, 8, 0.0390625)]
    [TestCase(0, 5, 0.0625)]
    [TestCase(2, 8, 0.109375)]
    [TestCase(0, 1, 1)]
    [TestCase(4, 4, 1)]
    [TestCase(0, 0, 1)]
    public void McNemarIsExact(int onlyA, int onlyB, double expected)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(EvaluationStatistics.McNemar(onlyA, onlyB), Is.EqualTo(expected).Within(1e-14));
            Assert.That(EvaluationStatistics.McNemar(onlyB, onlyA), Is.EqualTo(expected).Within(1e-14), "the other way round");
        }
    }

    // Where differences are of one size, the sign-flip test is McNemar's.
    [TestCase(1, 8, 1)]
    [TestCase(4, 4, 1)]
    [TestCase(0, 0, 1)]
    [TestCase(2, 9, 0.3)]
    public void SignFlipIsMcNemarOfOneSize(int onlyA, int onlyB, double size)
    {
        double[] differences = [.. Enumerable.Repeat(size, onlyA), .. Enumerable.Repeat(-size, onlyB), 0, 0, 0];
        Assert.That(EvaluationStatistics.SignFlip(differences), Is.EqualTo(EvaluationStatistics.McNemar(onlyA, onlyB)).Within(1e-12));
    }

    // All signs of every difference, counted one by one.
    [TestCase(0.3, 0.6)]
    [TestCase(0.3, -0.6, 1, 1, -0.1, 0.3)]
    [TestCase(0.9, 0.3, 0.3, 0.3, 0.6, -0.3, 1, 0, -0.9)]
    public void SignFlipCountsEverySign(params double[] differences)
    {
        int atLeast = 0;
        for (int signs = 0; signs < 1 << differences.Length; signs++)
        {
            double sum = differences.Select((difference, i) => (signs >> i & 1) == 0 ? difference : -difference).Sum();
            atLeast += Math.Abs(sum) >= Math.Abs(differences.Sum()) - 1e-9 ? 1 : 0;
        }

        Assert.That(EvaluationStatistics.SignFlip(differences), Is.EqualTo(atLeast / (double)(1 << differences.Length)).Within(1e-12));
    }

    // Mean 0.5, variance ((0.25 + 0.01 + 0.01 + 0.25) / 3), half width 1.96 sqrt(variance / 4).
    [Test]
    public void IntervalOfSoftScoresIsTheNormalOne()
    {
        double half = 1.959963984540054 * Math.Sqrt(0.52 / 3 / 4);
        (double low, double high) = EvaluationStatistics.Interval([0, 0.4, 0.6, 1]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(low, Is.EqualTo(0.5 - half).Within(1e-12));
            Assert.That(high, Is.EqualTo(0.5 + half).Within(1e-12));
            Assert.That(EvaluationStatistics.Interval([0, 1, 1, 0]), Is.EqualTo(EvaluationStatistics.Wilson(2, 4)));
            Assert.That(EvaluationStatistics.Interval([]), Is.EqualTo((0.0, 1.0)));
            Assert.That(EvaluationStatistics.Interval([0.8, 1, 1]).High, Is.EqualTo(1));
        }
    }

    [TestCase(40, 70)]
    [TestCase(300, 401)]
    [TestCase(900, 1200)]
    public void McNemarHoldsForManyQuestions(int onlyA, int onlyB)
    {
        int n = onlyA + onlyB;
        BigInteger term = 1;
        BigInteger tail = 0;
        for (int i = 0; i <= onlyA; i++)
        {
            tail += term;
            term = term * (n - i) / (i + 1);
        }

        double expected = Math.Exp(BigInteger.Log(2 * tail) - n * Math.Log(2));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(EvaluationStatistics.McNemar(onlyA, onlyB), Is.EqualTo(expected).Within(1e-9).Percent);
            Assert.That(EvaluationStatistics.McNemar(onlyB, onlyA), Is.EqualTo(EvaluationStatistics.McNemar(onlyA, onlyB)));
        }
    }

    // With z = 1.96 squared 3.8415: 8 of 10 is (0.8 + 0.19207 ± 1.96 √(0.016 + 0.0096036)) / 1.38415; none of 10 ends at
    // z² / (10 + z²), which all of 10 mirrors.
    [TestCase(8, 10, 0.490162, 0.943318)]
    [TestCase(0, 10, 0, 0.277533)]
    [TestCase(10, 10, 0.722467, 1)]
    [TestCase(0, 0, 0, 1)]
    public void WilsonsIntervalIsAsByHand(int right, int count, double low, double high)
    {
        (double Low, double High) interval = EvaluationStatistics.Wilson(right, count);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(interval.Low, Is.EqualTo(low).Within(1e-6));
            Assert.That(interval.High, Is.EqualTo(high).Within(1e-6));
        }
    }

    [Test]
    public void DivergenceIsAsByHand()
    {
        // (1/2, 1/2) and (1/4, 3/4): half the logarithm of 4/3; the other way round (ln 1/2 + 3 ln 3/2) / 4.
        float[] even = [100, 100];
        float[] uneven = [-50, -50 + MathF.Log(3)];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(TokenDistribution.Divergence(even, uneven), Is.EqualTo(Math.Log(4.0 / 3) / 2).Within(1e-6));
            Assert.That(
                TokenDistribution.Divergence(uneven, even), Is.EqualTo((Math.Log(0.5) + 3 * Math.Log(1.5)) / 4).Within(1e-6));
            Assert.That(TokenDistribution.Divergence(uneven, uneven), Is.Zero);

            // What one holds to be impossible, and what is beyond a double's exponent.
            Assert.That(TokenDistribution.Divergence([0, 0, float.NegativeInfinity], [0, 0, 0]), Is.EqualTo(Math.Log(1.5)).Within(1e-12));
            Assert.That(TokenDistribution.Divergence([0, 0, 0], [0, 0, float.NegativeInfinity]), Is.EqualTo(double.PositiveInfinity));
            Assert.That(TokenDistribution.Divergence([3e4f, 0], [0, 3e4f]), Is.EqualTo(3e4).Within(1e-6));
        }
    }

    [Test]
    public void CutCsvIsReadUpToItsLastCompleteLine()
    {
        string[][] records = [["a", "", "b,c"], ["\"", "ä\r\n\"x\",", "猫"], ["", "1.5", "\n"]];
        byte[][] lines = [.. records.Select(record => Encoding.UTF8.GetBytes(Csv.Line(record)))];
        byte[] all = [.. lines.SelectMany(line => line)];
        int[] ends = [0, lines[0].Length, lines[0].Length + lines[1].Length, all.Length];
        using (Assert.EnterMultipleScope())
        {
            for (int length = 0; length <= all.Length; length++)
            {
                int complete = ends.Count(end => end <= length) - 1;
                string what = length.ToString(CultureInfo.InvariantCulture);
                Assert.That(Csv.Read(all.AsSpan(0, length), out int end), Is.EqualTo(records[..complete]), what);
                Assert.That(end, Is.EqualTo(ends[complete]), what);
            }
        }
    }
}

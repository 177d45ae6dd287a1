using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Scheduling;

namespace ParVts.Gpu.Tests;

/// <summary>kernels/select.cu chooses what Scheduling/Selection.cs chooses.</summary>
internal sealed class SelectTests : KernelTest
{
    private static readonly float[] s_special = [float.NaN, float.PositiveInfinity, float.NegativeInfinity, 0f, -0f, 1f, -1f, float.Epsilon, -float.Epsilon, float.MaxValue];

    /// <summary>How scores lie: all different, in few values, or of the special ones.</summary>
    public enum Scores
    {
        Random,
        Ties,
        Special,
        Equal,
    }

    [Test]
    public void The_highest_stay([Values(1, 2, 31, 576, 1024, 1025, 16384)] int count, [Values] Scores kind)
    {
        var random = new Random(count + (int)kind);
        float[] scores = [.. Enumerable.Range(0, count).Select(_ => Score(random, kind))];
        ulong place = Upload<float>(scores);
        foreach (int keep in new[] { 0, 1, count / 3, count - 1, count }.Distinct())
        {
            int[] expected = Selection.Top(scores, keep);
            int[] others = [.. Enumerable.Range(0, count).Except(expected)];
            ulong kept = Empty<int>(keep);
            ulong rest = Empty<int>(count - keep);
            ulong margin = Empty<float>(1);
            Run("select.cu", "select_top", 1024, new SelectTopArguments { Scores = place, Count = count, Keep = keep, Kept = kept, Rest = rest, Margin = margin });
            Assert.That(Read<int>(kept, keep), Is.EqualTo(expected), $"{keep} of {count}");
            Assert.That(Read<int>(rest, count - keep), Is.EqualTo(others), $"all but {keep} of {count}");
            double? gap = Selection.Margin([.. Enumerable.Range(0, count)], scores, expected);
            Assert.That((double)Read<float>(margin, 1)[0], Is.EqualTo(gap ?? double.NaN), $"margin of {keep} of {count}");
        }

        // The rest and the margin may not be wanted.
        ulong alone = Empty<int>(1);
        Run("select.cu", "select_top", 1024, new SelectTopArguments { Scores = place, Count = count, Keep = 1, Kept = alone });
        Assert.That(Read<int>(alone, 1), Is.EqualTo(Selection.Top(scores, 1)));
    }

    [Test]
    public void What_reaches_the_threshold_stays([Values(1, 33, 1024, 20000)] int count, [Values] Scores kind)
    {
        var random = new Random(count);
        float[] scores = [.. Enumerable.Range(0, count).Select(_ => Score(random, kind))];
        ulong place = Upload<float>(scores);
        foreach (float least in (float[])[0f, 0.25f, float.NegativeInfinity, float.PositiveInfinity, float.NaN])
        {
            int[] expected = [.. Enumerable.Range(0, count).Where(i => scores[i] >= least)];
            ulong kept = Empty<int>(count);
            ulong number = Empty<int>(1);
            Run("select.cu", "select_threshold", 1024, new SelectThresholdArguments { Scores = place, Count = count, Least = least, Kept = kept, KeptCount = number });
            Assert.That(Read<int>(number, 1)[0], Is.EqualTo(expected.Length), $"least {least}");
            Assert.That(Read<int>(kept, expected.Length), Is.EqualTo(expected), $"least {least}");
        }
    }

    private static float Score(Random random, Scores kind) => kind switch
    {
        Scores.Random => random.NextSingle() * 2 - 1,
        Scores.Ties => random.Next(-3, 4) / 4f,
        Scores.Special => s_special[random.Next(s_special.Length)],
        _ => 0.5f,
    };
}

using FsCheck;
using FsCheck.Fluent;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Choices and mergings against what their rules say word for word; few different numbers, so that there are ties.</summary>
public class ChoiceTests
{
    [Test]
    public void The_highest_are_those_that_fewer_than_so_many_beat() => Each((random, n) =>
    {
        float[] scores = Numbers(random, n);
        if (n > 2 && random.Next(3) == 0)
            scores[random.Next(n)] = float.NaN;
        int count = random.Next(n + 2);
        bool Beats(int a, int b) => Low(scores[a]) > Low(scores[b]) || (Low(scores[a]) == Low(scores[b]) && a < b);
        int[] expected = [.. Enumerable.Range(0, n).Where(one => Enumerable.Range(0, n).Count(other => Beats(other, one)) < count)];
        Assert.That(Selection.Top(scores, count), Is.EqualTo(expected));

        static float Low(float score) => float.IsNaN(score) ? float.NegativeInfinity : score;
    });

    [Test]
    public void Max_min_takes_the_farthest_from_all_before() => Each((random, n) =>
    {
        float[] similarity = Symmetric(random, n);
        int[] seeds = [.. Enumerable.Range(0, n).Where(_ => random.Next(4) == 0)];
        int count = random.Next(seeds.Length, n + 1);
        var chosen = new List<int>(seeds);
        while (chosen.Count < count)
        {
            float Distance(int token) => chosen.Count == 0
                ? Enumerable.Range(0, n).Where(other => other != token).Select(other => 1 - similarity[token * n + other]).DefaultIfEmpty(0).Min()
                : chosen.Min(other => 1 - similarity[token * n + other]);
            int[] free = [.. Enumerable.Range(0, n).Except(chosen)];
            chosen.Add(free.First(token => Distance(token) == free.Max(Distance)));
        }

        Assert.That(seeds.Concat(MaxMin.Choose(similarity, n, seeds, count).Picks), Is.EqualTo(chosen));
    });

    [Test]
    public void Others_join_the_nearest_target() => Each((random, n) =>
    {
        float[] similarity = Symmetric(random, n);
        int count = random.Next(n + 2);
        int[] kept = [.. Enumerable.Range(0, n).Where(_ => random.Next(4) == 0)];
        int[] rest = [.. Enumerable.Range(0, n).Except(kept)];
        ContextualMerge merge = ContextualMerge.Make(rest, count, (rows, others) => [.. rows.SelectMany(row => others.Select(other => similarity[row * n + other]))]);
        RowMap map = merge.Map(kept);

        int targets = Math.Min(count, rest.Length);
        int stride = targets == 0 ? 1 : Math.Max(1, rest.Length / targets);
        int[] wanted = [.. Enumerable.Range(0, targets).Select(i => rest[i * stride])];
        Assert.That(map.Rows, Is.EqualTo(kept.Length + targets));
        double[] weights = new double[n];
        for (int row = 0; row < map.Rows; row++)
        {
            int[] sources = map.Sources[map.Offsets[row]..map.Offsets[row + 1]];
            int first = row < kept.Length ? kept[row] : wanted[row - kept.Length];
            int[] joined = row < kept.Length ? [] : [.. rest.Except(wanted).Where(token => Target(token) == first)];
            Assert.That(sources, Is.EqualTo((int[])[first, .. joined]));
            Assert.That(map.Weights[map.Offsets[row]], Is.EqualTo(1));
            Assert.That(map.Weights[(map.Offsets[row] + 1)..map.Offsets[row + 1]], Is.All.EqualTo(1f / joined.Length));
        }

        int Target(int token) => wanted.First(target => similarity[token * n + target] == wanted.Max(other => similarity[token * n + other]));
    });

    [Test]
    public void Pairs_merge_from_the_best_on() => Each((random, n) =>
    {
        float[] similarity = Symmetric(random, n);
        float[] penalty = Numbers(random, n);
        int classRows = random.Next(2);
        int count = random.Next(n + 1);
        PairMerge match = PairMerge.Match(
            n, classRows, count, (rows, others) => [.. rows.SelectMany(row => others.Select(other => similarity[row * n + other]))], row => penalty[row]);

        int[] odd = [.. Enumerable.Range(0, n).Where(row => row % 2 == 1)];
        int Partner(int row) => odd.First(other => similarity[row * n + other] == odd.Max(one => similarity[row * n + one]));
        var able = Enumerable.Range(0, n).Where(row => row % 2 == 0 && row >= classRows && odd.Length > 0).ToList();
        var groups = Enumerable.Range(0, n).ToDictionary(row => row, row => new List<int> { row });
        for (int merged = 0; merged < count && able.Count > 0; merged++)
        {
            float Score(int row) => similarity[row * n + Partner(row)] - penalty[row];
            int best = able.First(row => Score(row) == able.Max(Score));
            groups[Partner(best)].Add(best);
            groups.Remove(best);
            able.Remove(best);
        }

        int[][] expected = [.. groups.OrderBy(group => group.Key % 2).ThenBy(group => group.Key).Select(group => group.Value.ToArray())];
        Assert.That(match.Groups(n), Is.EqualTo(expected));
    });

    private static void Each(Action<Random, int> check)
    {
        Gen<(int Seed, int Count)> cases =
            from seed in Gen.Choose(1, 1_000_000)
            from count in Gen.Choose(1, 12)
            select (seed, count);
        Prop.ForAll(cases.ToArbitrary(), one => check(new Random(one.Seed), one.Count)).Check(Config.QuickThrowOnFailure.WithMaxTest(TestData.Full ? 3000 : 300));
    }

    private static float[] Numbers(Random random, int n) => [.. Enumerable.Range(0, n).Select(_ => random.Next(5) / 4f)];

    private static float[] Symmetric(Random random, int n)
    {
        float[] values = new float[n * n];
        for (int row = 0; row < n; row++)
        {
            values[row * n + row] = 1;
            for (int other = 0; other < row; other++)
                values[row * n + other] = values[other * n + row] = random.Next(-2, 3) / 2f;
        }

        return values;
    }
}

using ParVts.Engine.Generation;

namespace ParVts.Engine.Tests.Generation;

/// <summary>The choice of tokens, against a straightforward computation of the allowed set.</summary>
public class SamplerTests
{
    private static readonly float[] s_logits = [1f, 3f, 3f, -2f, 0.5f, 2.5f, float.NegativeInfinity, 2.9f];

    [Test]
    public void Greedy_takes_the_largest_and_the_lower_of_equals() => Assert.That(Choose(new GenerationOptions()), Is.EqualTo(1));

    [Test]
    public void NaN_is_never_chosen_and_is_reported()
    {
        var sampler = new Sampler(new GenerationOptions { Temperature = 1 }, 4);
        for (int i = 0; i < 100; i++)
            Assert.That(sampler.Next([float.NaN, 1f, float.NaN, 1f]), Is.AnyOf(1, 3));
        Assert.That(sampler.SawNaN, Is.True);
        Assert.That(sampler.Next([float.NaN, float.NaN, float.NaN, float.NaN]), Is.EqualTo(-1));
        Assert.That(sampler.Next([float.NegativeInfinity, 0f, 0f, 0f]), Is.GreaterThan(0));
    }

    [Test]
    public void Infinite_logits_are_chosen_not_crashed_on() =>
        Assert.That(new Sampler(new GenerationOptions { Temperature = 1 }, 3).Next([0f, float.PositiveInfinity, 1f]), Is.EqualTo(1));

    [TestCase(1f, 0, 1f, 0f)]
    [TestCase(0.7f, 3, 1f, 0f)]
    [TestCase(1.5f, 0, 0.6f, 0f)]
    [TestCase(1f, 0, 1f, 0.5f)]
    [TestCase(2f, 5, 0.9f, 0.3f)]
    public void Samples_follow_the_filtered_distribution(float temperature, int topK, float topP, float minP)
    {
        double[] expected = Distribution(temperature, topK, topP, minP);
        var sampler = new Sampler(
            new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 42 }, s_logits.Length);
        const int draws = 20_000;
        int[] counts = new int[s_logits.Length];
        for (int i = 0; i < draws; i++)
            counts[sampler.Next([.. s_logits])]++;
        for (int id = 0; id < counts.Length; id++)
            Assert.That(counts[id] / (double)draws, Is.EqualTo(expected[id]).Within(expected[id] == 0 ? 0 : 0.02), $"token {id}");
    }

    [Test]
    public void Seeds_decide()
    {
        int[] first = Sequence(1);
        int[] again = Sequence(1);
        Assert.That(again, Is.EqualTo(first));
        Assert.That(Sequence(2), Is.Not.EqualTo(first));

        static int[] Sequence(ulong seed)
        {
            var sampler = new Sampler(new GenerationOptions { Temperature = 2, Seed = seed }, s_logits.Length);
            return [.. Enumerable.Range(0, 30).Select(_ => sampler.Next([.. s_logits]))];
        }
    }

    [Test]
    public void The_repetition_penalty_moves_what_was_seen()
    {
        var options = new GenerationOptions { RepetitionPenalty = 2 };
        var sampler = new Sampler(options, 3);
        sampler.Observe([0]);
        float[] logits = [3f, 2f, -1f];
        Assert.That(sampler.Next(logits), Is.EqualTo(1), "3 / 2 < 2");
        Assert.That(logits[0], Is.EqualTo(1.5f));
        logits = [3f, 2f, -1f];
        Assert.That(sampler.Next(logits), Is.EqualTo(0), "1 was seen now: 3 / 2 > 2 / 2");
        var negative = new Sampler(options, 2);
        negative.Observe([0]);
        Assert.That(negative.Next([-1f, -1.5f]), Is.EqualTo(1), "-1 · 2 < -1.5");
    }

    [Test]
    public void Choosing_allocates_nothing()
    {
        var sampler = new Sampler(
            new GenerationOptions { Temperature = 1, TopK = 50, TopP = 0.9f, MinP = 0.01f, RepetitionPenalty = 1.1f }, 1000);
        float[] logits = [.. Enumerable.Range(0, 1000).Select(i => MathF.Sin(i) * 5)];
        long before = 0;
        for (int i = 0; i < 20; i++)
        {
            before = GC.GetAllocatedBytesForCurrentThread();
            sampler.Next(logits);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static int Choose(GenerationOptions options) => new Sampler(options, s_logits.Length).Next([.. s_logits]);

    // transformers' order: temperature, top-k, top-p, min-p; each on what the one before left.
    private static double[] Distribution(double temperature, int topK, double topP, double minP)
    {
        var kept = s_logits.Select((logit, id) => (Id: id, P: Math.Exp(logit / temperature))).Where(token => token.P > 0)
            .OrderByDescending(token => token.P).ThenBy(token => token.Id).ToList();
        if (topK > 0)
            kept = [.. kept.Take(topK)];
        double total = kept.Sum(token => token.P);
        double mass = 0;
        kept = [.. kept.TakeWhile(token =>
        {
            bool needed = mass < topP * total;
            mass += token.P;
            return needed;
        })];
        kept = [.. kept.Where(token => token.P >= minP * kept[0].P)];
        double sum = kept.Sum(token => token.P);
        double[] result = new double[s_logits.Length];
        foreach ((int id, double p) in kept)
            result[id] = p / sum;
        return result;
    }
}

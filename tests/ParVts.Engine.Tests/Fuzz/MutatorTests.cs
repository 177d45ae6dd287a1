namespace ParVts.Engine.Tests.Fuzz;

public class MutatorTests
{
    [Test]
    public void The_same_random_state_gives_the_same_bytes()
    {
        byte[] seed = "{\"a\": [1, 2, 3], \"b\": \"text\"}"u8.ToArray();
        for (int i = 0; i < 1000; i++)
        {
            byte[] first = Mutator.Mutate(seed, new Random(i));
            byte[] second = Mutator.Mutate(seed, new Random(i));
            Assert.That(second, Is.EqualTo(first));
        }
    }

    [Test]
    public void Most_results_differ_from_the_seed_and_from_each_other()
    {
        byte[] seed = "{\"a\": [1, 2, 3], \"b\": \"text\"}"u8.ToArray();
        var random = new Random(1);
        var distinct = new HashSet<string>();
        for (int i = 0; i < 1000; i++)
            distinct.Add(Convert.ToHexString(Mutator.Mutate(seed, random)));
        Assert.That(distinct, Has.Count.GreaterThan(700));
    }

    [TestCase(0)]
    [TestCase(1)]
    public void Tiny_seeds_are_damaged_as_well(int length)
    {
        var random = new Random(2);
        for (int i = 0; i < 1000; i++)
            Assert.That(() => Mutator.Mutate(new byte[length], random), Throws.Nothing);
    }
}

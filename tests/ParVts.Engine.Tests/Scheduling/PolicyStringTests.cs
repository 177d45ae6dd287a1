using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Policy strings, files and stacks: what is written, what is refused and how.</summary>
public class PolicyStringTests
{
    private static readonly PolicyModel s_model = new(Layers: 32, RowTile: 48);

    [TestCase("dense", "dense")]
    [TestCase("parvts", "parvts:keep=64,migrate=3,fuse=mean")]
    [TestCase(" parvts : fuse=w:0.7 , keep=0.25 ", "parvts:keep=0.25,migrate=3,fuse=w:0.7")]
    [TestCase("parvts:keep=auto,migrate=0,budget=total", "parvts:keep=auto,migrate=0,fuse=mean,budget=total")]
    [TestCase("cls-prune:keep=10", "cls-prune:keep=10")]
    [TestCase("fastv", "fastv:layer=3,keep=0.5")]
    [TestCase("vtw", "vtw:layer=16")]
    [TestCase("random:seed=9", "random:keep=64,seed=9")]
    [TestCase("grid", "grid:keep=64")]
    [TestCase("cls-prune:keep=128 + fastv:layer=8,keep=32", "cls-prune:keep=128+fastv:layer=8,keep=32")]
    [TestCase("parvts:migrate=3+vtw:layer=20", "parvts:keep=64,migrate=3,fuse=mean+vtw:layer=20")]
    public void A_policy_says_its_name_with_defaults(string policy, string name)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy);
        made.Bind(s_model);
        Assert.That(made.Name, Is.EqualTo(name));
        VisualTokenPolicy again = PolicyRegistry.Create(made.Name);
        again.Bind(s_model);
        Assert.That(again.Name, Is.EqualTo(name), "the name makes it again");
    }

    [TestCase(32, "migrate=3", "layer=3", "layer=16")]
    [TestCase(22, "migrate=2", "layer=2", "layer=11")]
    [TestCase(8, "migrate=1", "layer=1", "layer=4")]
    [TestCase(2, "migrate=1", "layer=1", "layer=1")]
    [TestCase(1, "migrate=0", null, "layer=0")]
    public void Published_depths_scale_to_the_model(int layers, string parvts, string? fastv, string vtw)
    {
        foreach ((string policy, string? part) in new[] { ("parvts", parvts), ("fastv", fastv), ("vtw", vtw) })
        {
            VisualTokenPolicy made = PolicyRegistry.Create(policy);
            if (part is null)
            {
                Assert.That(() => made.Bind(new PolicyModel(layers, 48)), Throws.TypeOf<PolicyException>(), "there is no layer before the first");
                continue;
            }

            made.Bind(new PolicyModel(layers, 48));
            Assert.That(made.Name, Does.Contain(part));
        }
    }

    [TestCase("fasv", "there is no policy 'fasv'; there are: dense, parvts,")]
    [TestCase("parvts:kep=3", "no parameter 'kep'; it takes keep (a count of at least 1")]
    [TestCase("parvts:keep", "has no value; write keep=")]
    [TestCase("parvts:keep=3,keep=4", "given twice")]
    [TestCase("parvts:keep=0", "keep=0 is not allowed; keep is a count of at least 1")]
    [TestCase("parvts:keep=-1", "keep=-1 is not allowed")]
    [TestCase("parvts:keep=1.5", "keep=1.5 is not allowed")]
    [TestCase("parvts:keep=1.0", "keep=1.0 is not allowed")]
    [TestCase("parvts:keep=NaN", "keep=NaN is not allowed")]
    [TestCase("parvts:keep=99999999999", "is not allowed")]
    [TestCase("parvts:migrate=-1", "migrate=-1 is not allowed; migrate is a layer")]
    [TestCase("parvts:fuse=max", "fuse=max is not allowed; fuse is mean, w:X")]
    [TestCase("parvts:fuse=w:1.1", "fuse=w:1.1 is not allowed")]
    [TestCase("parvts:fuse=w:", "fuse=w: is not allowed")]
    [TestCase("parvts:budget=all", "budget is per-image or total")]
    [TestCase("fastv:layer=0", "layer=0 is not allowed; layer is a layer, from 1")]
    [TestCase("random:seed=x", "seed=x is not allowed")]
    [TestCase("parvts+", "there is no policy ''")]
    public void A_wrong_string_is_refused_with_what_is_allowed(string policy, string message) =>
        Assert.That(() => PolicyRegistry.Create(policy), Throws.TypeOf<PolicyException>().With.Message.Contain(message));

    [TestCase("parvts:migrate=32", "migrate=32 is beyond the model's last layer; migrate is 0 to 31 here")]
    [TestCase("vtw:layer=32", "layer is 0 to 31 here")]
    [TestCase("fastv:layer=40", "layer is 1 to 31 here")]
    [TestCase("dense+fastv", "keeps every visual token")]
    [TestCase("fastv+dense", "keeps every visual token")]
    [TestCase("parvts+parvts:keep=3", "both split")]
    [TestCase("parvts:migrate=3+fastv:layer=3", "acts at layer 3, while the paths of")]
    [TestCase("fastv:layer=2+parvts:migrate=3", "acts at layer 2, while the paths of")]
    [TestCase("cls-prune+parvts", "acts before the decoder, while the paths of")]
    [TestCase("vtw:layer=5+fastv:layer=8", "has taken every visual token out")]
    [TestCase("random+grid", "both choose before the decoder")]
    [TestCase("fastv:layer=4+fastv:layer=4,keep=3", "both choose at layer 4")]
    public void What_does_not_fit_the_model_or_each_other_is_refused(string policy, string message)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy);
        Assert.That(() => made.Bind(s_model), Throws.TypeOf<PolicyException>().With.Message.Contain(message));
    }

    [Test]
    public void Mutated_strings_are_policies_or_typed_errors()
    {
        string[] seeds =
        [
            "parvts:keep=64,migrate=3,fuse=w:0.7,budget=total", "fastv:layer=3,keep=0.5+vtw:layer=20", "random:keep=auto,seed=18446744073709551615",
            "cls-prune:keep=0.25", "grid", "@policy.json", "dense",
        ];
        var random = new Random(7);
        int policies = 0;
        for (int i = 0; i < (TestData.Full ? 200_000 : 20_000); i++)
        {
            var text = new System.Text.StringBuilder(seeds[random.Next(seeds.Length)]);
            for (int change = random.Next(1, 4); change > 0; change--)
            {
                int place = random.Next(text.Length + 1);
                switch (random.Next(3))
                {
                    case 0 when place < text.Length:
                        text.Remove(place, 1);
                        break;
                    case 1:
                        text.Insert(place, "0123456789.,:=+-@eE w\0∞"[random.Next(23)]);
                        break;
                    default:
                        string other = seeds[random.Next(seeds.Length)];
                        text.Insert(place, other[..random.Next(other.Length + 1)]);
                        break;
                }
            }

            try
            {
                VisualTokenPolicy made = PolicyRegistry.Create(text.ToString());
                made.Bind(s_model);
                policies++;
            }
            catch (Exception error) when (error is PolicyException or ModelFormatException)
            {
                Assert.That(error.Message, Is.Not.Empty);
            }
            catch (Exception error) when (error is not (PolicyException or ModelFormatException))
            {
                Assert.Fail($"'{text}': {error}");
            }
        }

        Assert.That(policies, Is.GreaterThan(100), "some stay valid");
    }

    [Test]
    public void A_file_holds_a_policy()
    {
        using var folder = new TempFolder();
        PolicyFile.Write(folder.File("p.json"), "parvts:keep=9,migrate=1");
        VisualTokenPolicy made = PolicyRegistry.Create("@" + folder.File("p.json"));
        made.Bind(s_model);
        Assert.That(made.Name, Is.EqualTo("parvts:keep=9,migrate=1,fuse=mean"));
    }

    [TestCase("""{"version": 2, "policy": "dense"}""", typeof(PolicyException), "has version 2; this program reads version 1")]
    [TestCase("""{"version": "1", "policy": "dense"}""", typeof(PolicyException), "version")]
    [TestCase("""{"version": 1, "policy": "@other.json"}""", typeof(PolicyException), "may not name another")]
    [TestCase("""{"version": 1, "policy": "nonsense"}""", typeof(PolicyException), "there is no policy 'nonsense'")]
    [TestCase("""{"version": 1}""", typeof(ModelFormatException), "has no \"policy\"")]
    [TestCase("""{"policy": "dense"}""", typeof(ModelFormatException), "is not a policy file")]
    [TestCase("""[1]""", typeof(ModelFormatException), "is not a policy file")]
    [TestCase("""{"version": 1,""", typeof(ModelFormatException), "is not a policy file: not JSON, at line 1")]
    public void A_wrong_file_is_refused(string text, Type error, string message)
    {
        using var folder = new TempFolder();
        string file = folder.Write("p.json", text);
        Assert.That(() => PolicyRegistry.Create("@" + file), Throws.TypeOf(error).With.Message.Contain(message));
    }

    [Test]
    public void A_missing_file_is_named() => Assert.That(
        () => PolicyRegistry.Create("@nowhere.json"), Throws.TypeOf<ModelFormatException>().With.Message.Contain("nowhere.json"));

    [TestCase("0.5", 7, 4)]
    [TestCase("0.5", 5, 2)]
    [TestCase("0.098", 576, 56)]
    [TestCase("0.001", 10, 1)]
    [TestCase("64", 20, 20)]
    public void Shares_round_half_to_even_and_keep_at_least_one(string keep, int visual, int count) =>
        Assert.That(TokenBudget.TryParse(keep)!.Value.Count(visual, 10, 48), Is.EqualTo(count));

    [Test]
    public void Ties_go_to_the_lower_index_and_what_stays_is_in_order()
    {
        Assert.That(Selection.Top([1, 3, 3, 2, 3, float.NaN], 2), Is.EqualTo(new[] { 1, 2 }));
        Assert.That(Selection.Top([float.NaN, float.NaN, -1], 2), Is.EqualTo(new[] { 0, 2 }));
        Assert.That(Selection.Margin([4, 5, 6], [0.5f, 0.2f, 0.1f], [4, 5]), Is.EqualTo(0.1).Within(1e-6));
        Assert.That(Selection.Margin([4], [0.5f], [4]), Is.Null);
    }

    [Test]
    public void The_lottery_keeps_the_same_places_on_every_machine()
    {
        using var model = new TinyModel(1);
        Run run = model.Run(model.Prompt(), "random:keep=4,seed=42");
        Run again = model.Run(model.Prompt(), "random:keep=4,seed=42");
        Run other = model.Run(model.Prompt(), "random:keep=4,seed=43");
        Assert.That(again.Result.Trace.KeptAt(0), Is.EqualTo(run.Result.Trace.KeptAt(0)));
        Assert.That(other.Result.Trace.KeptAt(0), Is.Not.EqualTo(run.Result.Trace.KeptAt(0)));
    }

    [Test]
    public void The_grid_is_even()
    {
        using var model = new TinyModel(1);
        int keep = model.Visual / 3;
        IReadOnlyList<int> kept = model.Run(model.Prompt(), $"grid:keep={keep}").Result.Trace.KeptAt(0);
        Assert.That(kept, Is.EqualTo(Enumerable.Range(0, keep).Select(i => i * model.Visual / keep)));
    }
}

using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Tests.Formats;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Policy strings, files and stacks: what is written, what is refused and how.</summary>
public class PolicyStringTests
{
    private static readonly PolicyModel s_model = new(Layers: 32, RowTile: 48) { Heads = 8 };

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
    [TestCase("visipruner", "visipruner:shallow=6,tcos=0.995,tnorm=0.2,texit=0.999")]
    [TestCase(
        "visipruner:shallow=0,mask_visual=all,consecutive=true,drop_shallow_kv=true",
        "visipruner:shallow=0,tcos=0.995,tnorm=0.2,texit=0.999,mask_visual=all,consecutive=true,drop_shallow_kv=true")]
    [TestCase("shortv", "shortv:layers=31/29/30/28/0/26/27/25/24/22/23/21/2/3/20/18/17/12/19")]
    [TestCase("shortv:layers=", "shortv:layers=")]
    [TestCase("zspaprune", "zspaprune:keep=64,core=0.6")]
    [TestCase("visiondrop", "visiondrop:dominant=42/30/22/16,contextual=6/5/4/3,layers=8/16/24")]
    [TestCase("folder", "folder:keep=192,alpha=5")]
    [TestCase("st3:stride=2", "st3:start=4,stride=2,keep=0.7,floor=16,anneal=0.8,every=4")]
    [TestCase("yopo", "yopo:window=5,cut=16,mlp=2")]
    [TestCase("yopo:tail=mask", "yopo:window=5,cut=16,mlp=2,tail=mask")]
    [TestCase("pyramiddrop", "pyramiddrop:layers=8/16/24,keep=0.5/0.25/0.125")]
    [TestCase("pyramiddrop:layers=3,keep=40", "pyramiddrop:layers=3,keep=40")]
    [TestCase("sparsevlm", "sparsevlm:layers=2/6/15,keep=300/200/110")]
    [TestCase("sparsevlm:score=gravity", "sparsevlm:layers=2/6/15,keep=300/200/110,score=gravity,heads=0")]
    [TestCase("visionzip", "visionzip:dominant=54,contextual=10")]
    [TestCase("divprune", "divprune:keep=0.098")]
    [TestCase("dart", "dart:layer=2,keep=128,visual_pivots=4,text_pivots=4")]
    [TestCase("tome", "tome:merge=16")]
    [TestCase("prumerge:plus=true", "prumerge:plus=true,neighbours=32")]
    [TestCase("keep:tokens=9/3/1/2/11", "keep:tokens=1-3/9/11")]
    [TestCase("keep:tokens=0-575,layer=before", "keep:tokens=0-575")]
    [TestCase("keep:tokens=4-4,layer=7", "keep:layer=7,tokens=4")]
    [TestCase("keep:tokens=", "keep:tokens=")]
    [TestCase("shortv:layers=3+fastv", "shortv:layers=3+fastv:layer=3,keep=0.5")]
    public void A_policy_says_its_name_with_defaults(string policy, string name)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy);
        made.Bind(s_model);
        Assert.That(made.Name, Is.EqualTo(name));
        VisualTokenPolicy again = PolicyRegistry.Create(made.Name);
        again.Bind(s_model);
        Assert.That(again.Name, Is.EqualTo(name), "the name makes it again");
    }

    // Strings from elsewhere, a server's clients for one: nothing of theirs is opened.
    [TestCase("@{0}")]
    [TestCase("@{0}+vtw")]
    [TestCase("yopo:heads={0}")]
    [TestCase("vtw:layer=3 + yopo:heads={0}")]
    [TestCase("dyvte:routers={0}")]
    [TestCase("covipal:scorer={0}")]
    [TestCase("keep:tokens=@{0}")]
    [TestCase("keep:tokens=@")]
    public void A_string_that_may_not_name_files_names_none(string policy)
    {
        string file = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        policy = policy.Replace("{0}", file);
        Assert.That(() => PolicyRegistry.Create(policy, files: false), Throws.TypeOf<PolicyException>().With.Message.Contains("not allowed here"));
        Assert.That(() => PolicyRegistry.Create(policy).Bind(s_model), Throws.InstanceOf<ParVtsException>().With.Message.Not.Contains("not allowed here"));
    }

    [TestCase("dense")]
    [TestCase("yopo")]
    [TestCase("keep:tokens=0-3")]
    [TestCase("parvts:keep=36+vtw:layer=20")]
    public void A_string_without_files_is_taken_from_anybody(string policy) =>
        Assert.That(() => PolicyRegistry.Create(policy, files: false).Bind(s_model), Throws.Nothing);

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

    [TestCase(32, "31/29/30/28/0/26/27/25/24/22/23/21/2/3/20/18/17/12/19")]
    [TestCase(64, "62/58/60/56/0/52/54/50/48/44/46/42/4/6/40/36/34/24/38")]
    [TestCase(8, "7/0/6/5/1")]
    [TestCase(1, "0")]
    public void A_published_ranking_keeps_its_share_of_the_layers(int layers, string scaled)
    {
        VisualTokenPolicy made = PolicyRegistry.Create("shortv");
        made.Bind(new PolicyModel(layers, 48));
        Assert.That(made.Name, Is.EqualTo($"shortv:layers={scaled}"));
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
    [TestCase("keep:tokens=3/5/3", "policy 'keep': token 3 is given twice")]
    [TestCase("keep:tokens=0-4/4", "policy 'keep': token 4 is given twice")]
    [TestCase("keep:tokens=-3", "tokens=-3 is not allowed; tokens is visual tokens, each once")]
    [TestCase("keep:tokens=5-3", "tokens=5-3 is not allowed")]
    [TestCase("keep:tokens=1/", "tokens=1/ is not allowed")]
    [TestCase("keep:tokens=0-2147483647", "is not allowed")]
    [TestCase("keep:tokens=3,layer=-1", "layer=-1 is not allowed; layer is before or a layer")]
    [TestCase("visipruner:tcos=1.5", "tcos=1.5 is not allowed; tcos is a number from 0 to 1")]
    [TestCase("visipruner:tnorm=-1", "tnorm=-1 is not allowed; tnorm is a number of at least 0")]
    [TestCase("visipruner:texit=NaN", "texit=NaN is not allowed")]
    [TestCase("visipruner:mask_visual=none", "mask_visual is first or all")]
    [TestCase("visipruner:consecutive=yes", "consecutive is true or false")]
    [TestCase("shortv:layers=3/3", "layers=3/3 is not allowed; layers is layers, each once")]
    [TestCase("shortv:layers=3/", "layers=3/ is not allowed")]
    [TestCase("shortv:layers=-1", "layers=-1 is not allowed")]
    [TestCase("zspaprune:core=1.1", "core is a share from 0 to 1")]
    [TestCase("visiondrop:layers=8", "dominant has 4 entries for 1 layers; it has one before the decoder")]
    [TestCase("visiondrop:dominant=5/4,layers=8", "dominant has 2 entries and contextual 4")]
    [TestCase("visiondrop:dominant=0/1/1/1", "dominant=0/1/1/1 is not allowed")]
    [TestCase("visiondrop:layers=16/8/24", "layers=16/8/24 is not allowed; layers is layers, ascending")]
    [TestCase("folder:alpha=-1", "alpha is a number of at least 0")]
    [TestCase("st3:start=0", "start=0 is not allowed; start is a layer, from 1")]
    [TestCase("st3:stride=0", "stride=0 is not allowed; stride is a whole number of at least 1")]
    [TestCase("st3:every=0", "every is a whole number of at least 1")]
    [TestCase("st3:keep=2", "keep is a share from 0 to 1")]
    [TestCase("yopo:window=4", "window=4 is not allowed; window is an odd whole number")]
    [TestCase("yopo:cut=0", "cut=0 is not allowed; cut is a layer, from 1")]
    [TestCase("yopo:mlp=0", "mlp=0 is not allowed")]
    [TestCase("yopo:tail=keep", "tail is drop or mask")]
    [TestCase("pyramiddrop:layers=8/16", "layers has 2 entries and keep 3; they belong together")]
    [TestCase("pyramiddrop:layers=8/8/9", "ascending")]
    [TestCase("pyramiddrop:layers=", "layers= is not allowed")]
    [TestCase("pyramiddrop:keep=0/0.1/0.1", "keep=0/0.1/0.1 is not allowed; keep is for each layer a count, or a share")]
    [TestCase("pyramiddrop:keep=1.5/0.1/0.1", "is not allowed")]
    [TestCase("sparsevlm:keep=5/4", "layers has 3 entries and keep 2")]
    [TestCase("sparsevlm:heads=3", "heads=3 is not allowed; heads is a whole number; above 0 only with score=gravity")]
    [TestCase("sparsevlm:keep=0.5/3/2", "is not allowed")]
    [TestCase("visionzip:dominant=0", "dominant is a whole number of at least 1")]
    [TestCase("divprune:keep=0", "keep is a count of at least 1")]
    [TestCase("dart:layer=0", "layer is a layer, from 1")]
    [TestCase("dart:visual_pivots=0", "visual_pivots is a whole number of at least 1")]
    [TestCase("tome:merge=x", "merge is a whole number")]
    [TestCase("prumerge:neighbours=64", "neighbours is a whole number from 1 to 63")]
    [TestCase("prumerge:neighbours=0", "neighbours is a whole number from 1 to 63")]
    public void A_wrong_string_is_refused_with_what_is_allowed(string policy, string message) =>
        Assert.That(() => PolicyRegistry.Create(policy), Throws.TypeOf<PolicyException>().With.Message.Contain(message));

    [TestCase("parvts:migrate=32", "migrate=32 is beyond the model's last layer; migrate is 0 to 31 here")]
    [TestCase("vtw:layer=32", "layer is 0 to 31 here")]
    [TestCase("fastv:layer=40", "layer is 1 to 31 here")]
    [TestCase("visipruner:shallow=32", "shallow is 0 to 31 here")]
    [TestCase("shortv:layers=3/32", "names layer 32, beyond the model's last; layers are 0 to 31 here")]
    [TestCase("st3:start=32", "start is 1 to 31 here")]
    [TestCase("yopo:cut=32", "cut is 1 to 31 here")]
    [TestCase("pyramiddrop:layers=8/16/40", "names layer 40, beyond the model's last")]
    [TestCase("visiondrop:layers=8/16/32", "names layer 32")]
    [TestCase("sparsevlm:layers=2/6/32", "names layer 32")]
    [TestCase("sparsevlm:score=gravity,heads=9", "heads=9 is more than the model has; heads is 0 to 8 here")]
    [TestCase("dart:layer=32", "layer is 1 to 31 here")]
    [TestCase("dense+fastv", "keeps every visual token")]
    [TestCase("fastv+dense", "keeps every visual token")]
    [TestCase("parvts+parvts:keep=3", "both split")]
    [TestCase("parvts:migrate=3+fastv:layer=3", "acts at layer 3, while the paths of")]
    [TestCase("fastv:layer=2+parvts:migrate=3", "acts at layer 2, while the paths of")]
    [TestCase("cls-prune+parvts", "acts before the decoder, while the paths of")]
    [TestCase("vtw:layer=5+fastv:layer=8", "has taken every visual token out")]
    [TestCase("random+grid", "both choose before the decoder")]
    [TestCase("keep:layer=32,tokens=1", "layer is 0 to 31 here, or before")]
    [TestCase("keep:layer=8", "policy 'keep' needs the tokens that stay")]
    [TestCase("fastv:layer=4+keep:layer=8,tokens=3", "both choose at layer 4")]
    [TestCase("keep:layer=8,tokens=+vtw:layer=9", "has taken every visual token out")]
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
            "cls-prune:keep=0.25", "grid", "@policy.json", "dense", "visipruner:tnorm=0.2,mask_visual=all", "shortv:layers=3/1/2", "zspaprune:core=0.5",
            "visiondrop:dominant=5/4,contextual=2/1,layers=8", "folder:alpha=5", "st3:start=4,stride=4,keep=0.7", "yopo:window=5,heads=none.json,tail=mask",
            "pyramiddrop:layers=8/16,keep=0.5/9", "sparsevlm:layers=2,keep=300,score=gravity,heads=3", "visionzip:dominant=54", "divprune:keep=0.1",
            "dart:layer=2,text_pivots=0", "tome:merge=16", "prumerge:plus=true,neighbours=5",
            "keep:layer=3,tokens=0-3/9", "keep:tokens=@none.json",
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

    [TestCase(null, typeof(ModelFormatException), "cannot be read")]
    [TestCase("[[1, 2]]", typeof(ModelFormatException), "has the entry 2; 0 or 1 was expected")]
    [TestCase("[[1, true]]", typeof(ModelFormatException), "0 or 1 was expected")]
    [TestCase("[[1, 0.5]]", typeof(ModelFormatException), "0 or 1 was expected")]
    [TestCase("[1, 0]", typeof(ModelFormatException), "is not a table of heads")]
    [TestCase("{}", typeof(ModelFormatException), "is not a table of heads")]
    [TestCase("[[1, 0]", typeof(ModelFormatException), "is not a table of heads")]
    [TestCase("[[1, 0]]", typeof(PolicyException), "has 1 layers of 2 heads; the model has 32 layers of 8 heads")]
    [TestCase("[]", typeof(PolicyException), "has 0 layers of  heads; the model has 32 layers")]
    public void A_wrong_table_of_heads_is_refused(string? text, Type error, string message)
    {
        using var folder = new TempFolder();
        string file = text is null ? folder.File("none.json") : folder.Write("heads.json", text);
        VisualTokenPolicy made = PolicyRegistry.Create($"yopo:heads={file}");
        Assert.That(() => made.Bind(s_model), Throws.TypeOf(error).With.Message.Contain(message));
    }

    [Test]
    public void A_table_of_heads_that_no_table_can_be_is_not_read()
    {
        using var folder = new TempFolder();
        string file = folder.File("large.json");
        using (FileStream large = File.Create(file))
            large.SetLength(1L << 32);
        foreach (string path in new[] { file, "a\0b", folder.Path })
        {
            VisualTokenPolicy made = PolicyRegistry.Create($"yopo:heads={path}");
            Assert.That(() => made.Bind(s_model), Throws.TypeOf<ModelFormatException>(), path);
        }
    }

    [Test]
    public void What_a_set_of_layers_is_tuned_among()
    {
        (IReadOnlyList<string> settings, Func<IReadOnlyList<string>, string>? together) = PolicyRegistry.Settings("shortv", new PolicyModel(3, 48));
        Assert.That(settings, Is.EqualTo(new[] { "shortv:layers=0", "shortv:layers=1", "shortv:layers=2" }));
        Assert.That(together!(["shortv:layers=2", "shortv:layers=0"]), Is.EqualTo("shortv:layers=2/0"));
        Assert.That(PolicyRegistry.Settings("shortv:layers=1/0", new PolicyModel(3, 48)).Settings, Is.EqualTo(new[] { "shortv:layers=1/0" }));
        Assert.That(PolicyRegistry.Settings("vtw", new PolicyModel(3, 48)).Together, Is.Null);
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

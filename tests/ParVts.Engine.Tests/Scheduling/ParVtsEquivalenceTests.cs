using FsCheck;
using FsCheck.Fluent;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// What ParVTS must be equal to (SCHEDULES.md, section 1), on random models and prompts. Equal means to the bit where
/// both runs do the same arithmetic, and within the end-to-end tolerance of float32 where sums are ordered otherwise.
/// </summary>
public class ParVtsEquivalenceTests
{
    private static readonly string[] s_fusions = ["mean", "w:1", "w:0", "w:0.3", "mass", "lse"];

    /// <summary>A random model and how ParVTS runs on it.</summary>
    internal sealed record Case(int Seed, int Images, double Share, double Depth, string Fuse)
    {
        public int Keep(TinyModel model) => Math.Clamp((int)(Share * model.Visual), 1, model.Visual - 1);

        /// <summary>At least one layer with two paths.</summary>
        public int Migrate(TinyModel model) => Math.Clamp((int)(Depth * model.Layers), 1, model.Layers - 1);
    }

    [Test]
    public void Keeping_all_equals_dense_to_the_bit() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        Run dense = model.Run(prompt, "dense", 3);
        Run parvts = model.Run(prompt, $"parvts:keep={model.Visual},migrate={c.Migrate(model)},fuse=w:1", 3);
        Same(dense, parvts);
        Run more = model.Run(prompt, $"parvts:keep={model.Visual + 7},migrate={c.Migrate(model)},fuse={c.Fuse}", 3);
        Same(dense, more);
        Assert.That(more.Result.Trace.Events.Single().Note, Does.Contain("all"));
    });

    [Test]
    public void The_whole_weight_on_path_A_equals_pruning_before_the_decoder_to_the_bit() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        int keep = c.Keep(model);
        Run pruned = model.Run(prompt, $"cls-prune:keep={keep}", 3);
        Run parvts = model.Run(prompt, $"parvts:keep={keep},migrate={c.Migrate(model)},fuse=w:1", 3);
        Same(pruned, parvts);
        Assert.That(parvts.Result.Trace.Flops, Is.GreaterThan(pruned.Result.Trace.Flops), "path B was computed");
    });

    [Test]
    public void Migrating_at_once_equals_pruning_before_the_decoder_for_every_fusion() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        int keep = c.Keep(model);
        Run pruned = model.Run(prompt, $"cls-prune:keep={keep}", 3);
        foreach (string fuse in s_fusions)
            Same(pruned, model.Run(prompt, $"parvts:keep={keep},migrate=0,fuse={fuse}", 3));
    });

    [Test]
    public void Packed_paths_equal_two_separate_runs() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        int keep = c.Keep(model);
        int migrate = c.Migrate(model);
        Run packed = model.Run(prompt, $"parvts:keep={keep},migrate={migrate},fuse=w:0");
        IReadOnlyList<int> subject = packed.Result.Trace.Events[0].Subject!;
        Run a = model.Run(prompt, $"cls-prune:keep={keep}");
        Run b = model.Run(prompt, new ComplementPolicy(subject));
        for (int layer = 0; layer < migrate; layer++)
        {
            LayerRows rows = packed.Hidden[layer];
            float[][] ofA = Select(rows, (_, path) => path != RowPath.Rest);
            float[][] ofB = Select(rows, (row, path) => path == RowPath.Rest);
            Assert.That(ofA, Is.EqualTo(a.Hidden[layer].Values), $"path A at layer {layer}, to the bit");
            Near(Select(b.Hidden[layer], (row, _) => row.Role != RowRole.Prefix), ofB, $"path B at layer {layer}");
        }

        // With all the weight on path B, the question rows are B's; the subject's are A's.
        LayerRows fused = packed.Hidden[migrate];
        Near(
            Select(b.Hidden[migrate], (row, _) => row.Role == RowRole.Text),
            Select(fused, (row, _) => row.Role == RowRole.Text),
            "question rows after the fusion");
        Assert.That(
            Select(fused, (row, _) => row.Role == RowRole.Visual),
            Is.EqualTo(Select(a.Hidden[migrate], (row, _) => row.Role == RowRole.Visual)));
    });

    [Test]
    public void A_dropped_token_acts_through_the_fusion_alone() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        int keep = c.Keep(model);
        int migrate = c.Migrate(model);
        foreach ((string fuse, bool acts) in new[] { ("w:1", false), ("w:0.5", true) })
        {
            string policy = $"parvts:keep={keep},migrate={migrate},fuse={fuse}";
            Run plain = model.Run(prompt, policy, 3);
            HashSet<int> subject = [.. plain.Result.Trace.Events[0].Subject!];
            int rest = Enumerable.Range(0, c.Images * model.Visual).First(token => !subject.Contains(token));
            Run changed = model.Run(prompt, policy, 3, (stage, rows, hidden) =>
            {
                if (stage == "inputs_embeds")
                    model.Overwrite(rows, hidden, rest, value => 3 - value);
            });

            Assert.That(changed.Result.Trace.Events[0].Subject, Is.EqualTo(plain.Result.Trace.Events[0].Subject));
            Assert.That(
                Select(changed.Hidden[migrate], (row, _) => row.Role == RowRole.Visual),
                Is.EqualTo(Select(plain.Hidden[migrate], (row, _) => row.Role == RowRole.Visual)),
                $"{fuse}: subject rows at layer {migrate}");
            Assert.That(changed.Logits[0].SequenceEqual(plain.Logits[0]), Is.Not.EqualTo(acts), $"{fuse}: logits");
        }
    });

    [Test]
    public void Rows_and_cache_are_as_long_as_planned() => Each((model, c) =>
    {
        Prompt prompt = model.Prompt(c.Images);
        int migrate = c.Migrate(model);
        using Session session = model.Engine.CreateSession($"parvts:keep={c.Keep(model)},migrate={migrate},fuse={c.Fuse}");
        ScheduleTrace planned = session.PlanTrace(prompt);
        ScheduleTrace trace = model.Run(session, prompt).Result.Trace;
        int s = trace.Prefix;
        int m = trace.Text;
        int k = c.Images * c.Keep(model);
        for (int layer = 0; layer < model.Layers; layer++)
        {
            Assert.That(trace.RowsByLayer[layer], Is.EqualTo(layer < migrate ? s + trace.Visual + 2 * m : s + k + m));
            Assert.That(trace.KvRowsByLayer[layer], Is.EqualTo(s + k + m));
            Assert.That(session.Kv.Length(layer), Is.EqualTo(s + k + m), "the store itself");
            Assert.That(trace.FlopsCountedByLayer[layer], Is.EqualTo(trace.FlopsByLayer[layer]).Within(1).Percent);
        }

        Assert.That(planned.FlopsByLayer, Is.EqualTo(trace.FlopsByLayer));
        Assert.That(planned.KvRowsByLayer, Is.EqualTo(trace.KvRowsByLayer));
    });

    [Test]
    public void On_the_demo_model_the_same_holds()
    {
        VlmEngine engine = Generation.DemoModel.Engine;
        int visual = engine.Config.VisualTokensPerImage;
        PromptImage picture = engine.PrepareImage(ImageDecoder.Load(Generation.DemoModel.Picture(0)));
        Prompt prompt = engine.CreatePrompt(
            [new ParVts.Engine.Text.ChatMessage("user", [ParVts.Engine.Text.ChatPart.Image, ParVts.Engine.Text.ChatPart.OfText("how many objects are there?")])],
            [picture]);
        float[] Logits(string policy)
        {
            using Session session = engine.CreateSession(policy);
            return [.. session.Generate(prompt, new GenerationOptions { MaxTokens = 1, KeepLogits = true }).PromptLogits!];
        }

        float[] dense = Logits("dense");
        float[] pruned = Logits("cls-prune:keep=36");
        Assert.That(Logits($"parvts:keep={visual},fuse=w:1"), Is.EqualTo(dense));
        Assert.That(Logits("parvts:keep=36,migrate=3,fuse=w:1"), Is.EqualTo(pruned));
        foreach (string fuse in s_fusions)
            Assert.That(Logits($"parvts:keep=36,migrate=0,fuse={fuse}"), Is.EqualTo(pruned), fuse);
        Assert.That(Logits("parvts:keep=36,migrate=3,fuse=mean"), Is.Not.EqualTo(pruned).And.Not.EqualTo(dense));
    }

    private static void Each(Action<TinyModel, Case> check)
    {
        Gen<Case> cases =
            from seed in Gen.Choose(1, 1_000_000)
            from images in Gen.Frequency((3, Gen.Constant(1)), (1, Gen.Constant(2)))
            from share in Gen.Choose(5, 95)
            from depth in Gen.Choose(0, 99)
            from fuse in Gen.Elements(s_fusions)
            select new Case(seed, images, share / 100.0, depth / 100.0, fuse);
        Prop.ForAll(cases.ToArbitrary(), c =>
        {
            using var model = new TinyModel(c.Seed);
            check(model, c);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestData.Full ? 200 : 12));
    }

    private static void Same(Run expected, Run actual)
    {
        Assert.That(actual.Result.Tokens, Is.EqualTo(expected.Result.Tokens));
        Assert.That(actual.Logits, Is.EqualTo(expected.Logits), "logits, to the bit");
        Assert.That(actual.Result.Trace.KvRowsByLayer, Is.EqualTo(expected.Result.Trace.KvRowsByLayer));
    }

    private static float[][] Select(LayerRows rows, Func<Row, RowPath, bool> wanted) =>
        [.. Enumerable.Range(0, rows.Rows.Length).Where(i => wanted(rows.Rows[i], rows.Paths[i])).Select(i => rows.Values[i])];

    private static void Near(float[][] expected, float[][] actual, string what)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length), what);
        double largest = expected.Max(row => row.Max(Math.Abs));
        for (int row = 0; row < expected.Length; row++)
            Assert.That(GoldenFile.Distance(expected[row], actual[row]), Is.LessThan(TinyModel.Tolerance * largest), what);
    }
}

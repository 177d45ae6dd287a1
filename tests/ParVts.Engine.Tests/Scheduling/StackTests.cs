using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Every policy on top of every other: it runs and the cache is what its trace says, or the stack is refused.</summary>
public class StackTests
{
    private const int Layers = 5;

    private static readonly string[] s_policies =
    [
        "parvts:keep=4,migrate=1", "cls-prune:keep=8", "fastv:layer=2,keep=4", "vtw:layer=3", "random:keep=7", "grid:keep=7",
        "visipruner:shallow=0,tcos=1,tnorm=0.02", "visipruner:shallow=2,drop_shallow_kv=true", "shortv:layers=0/2", "shortv:layers=4",
        "zspaprune:keep=6", "visiondrop:dominant=6/4,contextual=2/1,layers=2", "folder:keep=6", "st3:start=1,stride=2,keep=0.7,floor=2,every=2",
        "yopo:window=3,cut=2", "yopo:window=3,cut=3,tail=mask", "pyramiddrop:layers=1/3,keep=0.5/0.25", "sparsevlm:layers=1/2,keep=6/3",
        "sparsevlm:layers=2,keep=5,score=gravity,heads=1", "visionzip:dominant=6,contextual=2", "divprune:keep=6",
        "dart:layer=3,keep=4,visual_pivots=1,text_pivots=1", "tome:merge=1", "prumerge:neighbours=3",
    ];

    [Test]
    public void Two_policies_run_or_are_refused([ValueSource(nameof(s_policies))] string first)
    {
        using var model = new TinyModel(3, layers: Layers, grid: 4);
        Prompt prompt = model.Prompt(images: 2);
        int ran = 0;
        foreach (string second in s_policies)
        {
            string stack = $"{first}+{second}";
            Session session;
            try
            {
                session = model.Engine.CreateSession(stack);
            }
            catch (PolicyException error)
            {
                Assert.That(error.Message, Does.Contain("contradict each other").Or.Contain("cannot be stacked"), stack);
                continue;
            }

            using (session)
                Holds(model, session, prompt, stack);
            ran++;
        }

        TestContext.Out.WriteLine($"{first}: {ran} of {s_policies.Length} stacks run");
    }

    [TestCase("shortv:layers=4+fastv:layer=2,keep=4")]
    [TestCase("fastv:layer=2,keep=4+shortv:layers=0/2")]
    [TestCase("fastv:layer=2,keep=4+parvts:keep=4,migrate=1")]
    [TestCase("divprune:keep=6+pyramiddrop:layers=1,keep=3")]
    [TestCase("tome:merge=1+shortv:layers=0/2")]
    [TestCase("visionzip:dominant=6,contextual=2+divprune:keep=4")]
    [TestCase("visipruner:shallow=2,tcos=1,tnorm=0.02+fastv:layer=1,keep=5")]
    [TestCase("st3:start=3,keep=0.5+fastv:layer=2,keep=6")]
    [TestCase("sparsevlm:layers=2,keep=5,score=gravity,heads=1+shortv:layers=2")]
    public void What_makes_sense_together_runs(string stack)
    {
        using var model = new TinyModel(3, layers: Layers, grid: 4);
        using Session session = model.Engine.CreateSession(stack);
        Holds(model, session, model.Prompt(), stack);
    }

    [TestCase("tome:merge=1+folder:keep=6", "both merge rows in the vision tower")]
    [TestCase("visionzip+cls-prune", "cannot be stacked")]
    [TestCase("tome:merge=1+visiondrop:dominant=6/4,contextual=2/1,layers=2", "both merge rows")]
    [TestCase("yopo:cut=3+shortv:layers=1", "both change how layer 1")]
    [TestCase("visipruner:shallow=2+yopo:cut=2", "both change how layer 0")]
    [TestCase("yopo:cut=3+grid:keep=4", "neighbours in the whole grid")]
    [TestCase("fastv:layer=2+yopo:cut=3", "neighbours in the whole grid")]
    [TestCase("visipruner:shallow=0+fastv:layer=3", "both choose at layer 3")]
    [TestCase("visipruner:shallow=0+vtw:layer=3", "may still choose at layer 3")]
    [TestCase("st3:start=1,stride=1+fastv:layer=3", "both choose at layer 3")]
    [TestCase("parvts:migrate=2+sparsevlm:layers=3,keep=4", "acts at layer 0, while the paths of")]
    [TestCase("divprune+fastv", "cannot be stacked")]
    public void What_does_not_is_refused(string stack, string message)
    {
        using var model = new TinyModel(3, layers: Layers, grid: 4);
        Assert.That(() => model.Engine.CreateSession(stack), Throws.TypeOf<PolicyException>().With.Message.Contain(message));
    }

    // The order in which masks and choices are written makes no difference: masks settle last.
    [Test]
    public void A_mask_survives_a_choice_that_is_written_behind_it()
    {
        using var model = new TinyModel(3, layers: Layers, grid: 4);
        Prompt prompt = model.Prompt();
        Run one = model.Run(prompt, "visipruner:shallow=3,tcos=0+fastv:layer=1,keep=5", 2);
        Run other = model.Run(prompt, "fastv:layer=1,keep=5+visipruner:shallow=3,tcos=0", 2);
        Assert.That(one.Logits, Is.EqualTo(other.Logits));
        Assert.That(one.Logits, Is.Not.EqualTo(model.Run(prompt, "fastv:layer=1,keep=5", 2).Logits));
    }

    private static void Holds(TinyModel model, Session session, Prompt prompt, string stack)
    {
        Run run = model.Run(session, prompt, 4);
        ScheduleTrace trace = run.Result.Trace;
        for (int layer = 0; layer < Layers; layer++)
        {
            int alive = run.Hidden[layer].Rows.Count(row => row.Role == RowRole.Visual);
            int stored = trace.Events.LastOrDefault(e => e.Kind == ScheduleEventKind.Fuse && e.Layer > layer)?.Kept.Count ?? alive;
            if (layer < 2 && stack.Contains("drop_shallow_kv", StringComparison.Ordinal))
                stored = 0;
            Assert.That(trace.KeptAt(layer), Has.Count.EqualTo(alive), $"{stack}: alive at {layer}");
            Assert.That(trace.KvRowsByLayer[layer], Is.EqualTo(trace.Prefix + stored + trace.Text), $"{stack}: the trace at {layer}");
            int held = session.Kv.Length(layer);
            Assert.That(held, stack.Contains("st3", StringComparison.Ordinal)
                ? Is.LessThanOrEqualTo(trace.KvRowsByLayer[layer] + 3) : Is.EqualTo(trace.KvRowsByLayer[layer] + 3), $"{stack}: three decode steps at {layer}");
        }

        Assert.That(run.Logits.SelectMany(row => row), Has.None.NaN, stack);
    }
}

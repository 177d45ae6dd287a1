using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// Contract P2: on a device that runs ahead of the host, choices are read back when the prefill is over. Everything is the same to
/// the bit as where each is known at once; here the CPU plays such a device.
/// </summary>
internal sealed class DeferredChoiceTests
{
    [Test]
    public void Reading_choices_back_late_changes_nothing(
        [Values(
            "parvts:keep=5,migrate=1", "parvts:keep=4,migrate=1,fuse=mass", "parvts:keep=5,migrate=1,fuse=lse", "parvts:keep=3,migrate=0",
            "parvts:keep=5000,migrate=1", "parvts:keep=5,migrate=1,budget=total", "cls-prune:keep=6", "fastv:layer=1,keep=0.4",
            "cls-prune:keep=7+fastv:layer=1,keep=3", "cls-prune:keep=7+vtw:layer=1", "vtw:layer=1", "random:keep=4,seed=3", "dense",
            "st3:start=1,stride=1,keep=0.6,floor=2,every=2", "pyramiddrop:layers=0/1,keep=0.7/0.3", "sparsevlm:layers=0,keep=5",
            "visiondrop:dominant=7/3,contextual=2/1,layers=1", "tome:merge=1+pyramiddrop:layers=0/1,keep=0.7/0.3", "divprune:keep=6+pyramiddrop:layers=1,keep=2",
            "cls-prune:keep=7+st3:start=1,keep=0.5,floor=1+shortv:layers=1", "dart:layer=1,keep=4,visual_pivots=1,text_pivots=1",
            "grid:keep=7+visipruner:shallow=0,tcos=1,tnorm=0.02", "prumerge:neighbours=3+zspaprune:keep=1")] string policy,
        [Values(1, 2)] int images,
        [Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images);
        using Session session = model.Engine.CreateSession(policy);
        GenerationResult expected = session.Generate(prompt, Options);
        ScheduleTrace known = session.Trace;

        using VlmEngine ahead = VlmEngine.Open(
            model.Engine.Directory, new EngineOptions { OpenDevice = () => new CpuDevice(2) { Defers = true }, Warning = _ => { } });
        using Session late = ahead.CreateSession(policy);
        GenerationResult actual = late.Generate(prompt, Options);
        Assert.That(actual.Tokens, Is.EqualTo(expected.Tokens));
        Assert.That(actual.PromptLogits, Is.EqualTo(expected.PromptLogits));
        Assert.That(late.Trace.Events, Has.Count.EqualTo(known.Events.Count));
        for (int i = 0; i < known.Events.Count; i++)
        {
            ScheduleEvent one = known.Events[i];
            ScheduleEvent other = late.Trace.Events[i];
            Assert.That((other.Layer, other.Kind, other.Score, other.Margin, other.Note), Is.EqualTo((one.Layer, one.Kind, one.Score, one.Margin, one.Note)));
            Assert.That(other.Kept, Is.EqualTo(one.Kept));
            Assert.That(other.Subject, Is.EqualTo(one.Subject));
            Assert.That(other.Ranked, Is.EqualTo(one.Ranked));
            Assert.That(other.Scores, Is.EqualTo(one.Scores));
            Assert.That(other.Weights, Is.EqualTo(one.Weights));
        }

        Assert.That(late.Trace.KvRowsByLayer, Is.EqualTo(known.KvRowsByLayer));
        Assert.That(late.Trace.PairsVisualByLayer, Is.EqualTo(known.PairsVisualByLayer));
        Assert.That(late.Trace.FlopsByLayer, Is.EqualTo(known.FlopsByLayer));
    }

    private static GenerationOptions Options => new() { MaxTokens = 4, IgnoreEndOfSequence = true, KeepLogits = true };
}

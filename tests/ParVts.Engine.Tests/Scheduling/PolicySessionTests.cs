using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Policies in conversations: a second question, several pictures, towers without a class token, what a policy may do in tower and decoding.</summary>
public class PolicySessionTests
{
    [Test]
    public void A_second_question_sees_the_fused_cache([Values("mean", "lse", "w:1")] string fuse)
    {
        using var model = new TinyModel(11);
        Prompt first = model.Prompt();
        string policy = $"parvts:keep={model.Visual / 3},migrate=1,fuse={fuse}";
        using Session session = model.Engine.CreateSession(policy);
        Run one = model.Run(session, first, 3);
        int[] answer = [.. one.Result.Tokens];

        // The trace is the session's own object: the second turn overwrites it.
        int[] stored = [.. one.Result.Trace.KvRowsByLayer];
        var frozen = new FrozenPolicy([.. one.Result.Trace.Events], one.Result.Trace.Text);
        Prompt second = model.Continue(first, [.. answer, 5, 6, 7]);
        Run two = model.Run(session, second, 3);

        // Nothing of the first turn is computed again, and every layer holds what the first turn left, plus the text since.
        Assert.That(two.Result.CachedTokens, Is.EqualTo(first.Length + 2));
        Assert.That(two.Result.Trace.RowsByLayer, Is.All.EqualTo(4));
        Assert.That(two.Result.Trace.KvRowsByLayer, Is.EqualTo(stored.Select(rows => rows + 2 + 4).ToArray()));
        Assert.That(two.Result.Trace.Events, Is.Empty, "no visual tokens, nothing to decide");

        // The same as one pass in which the first turn's choices and weights are frozen and all later rows are path A's.
        Run whole = model.Run(second, frozen);
        Assert.That(GoldenFile.Distance(whole.Logits[0], two.Logits[0]), Is.LessThan(TinyModel.Tolerance * whole.Logits[0].Max(Math.Abs)));
    }

    [Test]
    public void Another_question_about_the_same_picture_is_computed_from_the_picture_on()
    {
        using var model = new TinyModel(12);
        Prompt first = model.Prompt();
        int[] shared = [.. first.Ids[..(first.ImageStarts[0] + model.Visual)]];
        Prompt other = model.Engine.CreatePrompt([.. shared, 3, 9, 4], first.Images);
        using Session session = model.Engine.CreateSession($"parvts:keep={model.Visual / 3},migrate=1");
        model.Run(session, first, 2);
        Run reused = model.Run(session, other, 3);
        Assert.That(reused.Result.CachedTokens, Is.EqualTo(first.ImageStarts[0]), "the rest is gone, so path B must run again");
        Assert.That(reused.Logits[0], Is.EqualTo(model.Run(other, session.Policy, 3).Logits[0]).Within(1e-4f));
    }

    [Test]
    public void A_second_picture_in_a_later_turn_is_scheduled_on_its_own()
    {
        using var model = new TinyModel(13);
        Prompt both = model.Prompt(images: 2);
        int firstPart = both.ImageStarts[1];
        Prompt first = model.Engine.CreatePrompt(both.Ids[..firstPart], [both.Images[0]]);
        int keep = model.Visual / 4;
        using Session session = model.Engine.CreateSession($"parvts:keep={keep},migrate=1");
        model.Run(session, first);
        Run second = model.Run(session, both, 2);
        ScheduleTrace trace = second.Result.Trace;
        Assert.That(second.Result.CachedTokens, Is.EqualTo(firstPart));
        Assert.That(trace.Visual, Is.EqualTo(model.Visual));
        Assert.That(trace.KvRowsByLayer, Is.All.EqualTo(both.Length - 2 * model.Visual + 2 * keep));
    }

    [TestCase("per-image")]
    [TestCase("total")]
    public void Several_pictures_share_or_split_the_budget(string budget)
    {
        using var model = new TinyModel(14);
        Prompt prompt = model.Prompt(images: 3);
        Run run = model.Run(prompt, $"parvts:keep=5,migrate=1,budget={budget}");
        IReadOnlyList<int> subject = run.Result.Trace.Events[0].Subject!;
        int[] perImage = [.. Enumerable.Range(0, 3).Select(image => subject.Count(token => token / model.Visual == image))];
        Assert.That(perImage.Sum(), Is.EqualTo(budget == "total" ? 5 : 15));
        if (budget == "per-image")
            Assert.That(perImage, Is.All.EqualTo(5));
    }

    [Test]
    public void Auto_fills_whole_tiles_of_the_device()
    {
        using var model = new TinyModel(15);
        Prompt prompt = model.Prompt(images: 2);
        Run run = model.Run(prompt, "parvts:keep=auto,migrate=1");
        int rows = run.Result.Trace.RowsByLayer[^1];
        Assert.That(rows % model.Engine.Device.RowTile == 0 || rows == prompt.Length, $"{rows} rows");
    }

    [Test]
    public void Without_a_class_token_the_stand_in_ranks_and_is_said_once()
    {
        using var model = new TinyModel(16, hasClassToken: false);
        Prompt prompt = model.Prompt();
        int keep = model.Visual / 3;
        Run run = model.Run(prompt, $"parvts:keep={keep},migrate=1");
        Run again = model.Run(prompt, $"cls-prune:keep={keep}");
        Assert.That(run.Result.Trace.Events[0].Subject, Has.Count.EqualTo(keep));
        Assert.That(again.Result.Trace.KeptAt(0), Is.EqualTo(run.Result.Trace.Events[0].Subject));
        Assert.That(run.Result.Trace.Events[0].Scores.Sum(), Is.EqualTo(1).Within(1e-4), "mean attention received, over all patches");
        Assert.That(model.Warnings.Count(warning => warning.Contains("no class token", StringComparison.Ordinal)), Is.EqualTo(1));
    }

    [Test]
    public void A_policy_may_merge_rows_in_the_tower_and_thin_the_cache_while_decoding()
    {
        using var model = new TinyModel(17);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(new HalvingPolicy());
        Run run = model.Run(session, prompt, 4);
        int visual = (model.Visual + 1) / 2;
        Assert.That(run.Result.Trace.Visual, Is.EqualTo(visual));
        Assert.That(run.Result.Trace.RowsByLayer, Is.All.EqualTo(prompt.Length - model.Visual + visual));
        Assert.That(session.Kv.Length(1), Is.EqualTo(2 + 2), "thinned to two rows after the first step, two steps since");
        Assert.That(session.Kv.Length(0), Is.EqualTo(run.Result.Trace.RowsByLayer[0] + 3));
    }

    [Test]
    public void A_decode_step_under_a_policy_allocates_nothing()
    {
        using var model = new TinyModel(18);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession($"parvts:keep={model.Visual / 3},migrate=1,fuse=lse");
        var allocated = new List<long>();
        session.OnStep = _ => allocated.Add(GC.GetAllocatedBytesForCurrentThread());
        var options = new GenerationOptions { MaxTokens = 12, IgnoreEndOfSequence = true };
        session.Generate(prompt, options);
        session.Reset();
        allocated.Clear();
        session.Generate(prompt, options);
        Assert.That(allocated[^1] - allocated[2], Is.LessThanOrEqualTo(allocated.Count * 16), "the list of this test aside");
    }

    /// <summary>Averages neighbours after the tower; thins layer 1 to two rows after the first step.</summary>
    private sealed class HalvingPolicy : VisualTokenPolicy
    {
        public override string Name => "halving";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void InVisionLayer(VisionState state)
        {
            if (state.Block < state.Blocks)
                return;
            int visual = state.Rows - state.ClassRows;
            int rows = (visual + 1) / 2;
            state.Merge(new RowMap(
                [.. Enumerable.Range(0, rows + 1).Select(row => Math.Min(2 * row, visual))],
                [.. Enumerable.Range(state.ClassRows, visual)],
                [.. Enumerable.Repeat(0.5f, visual)]));
        }

        public override void OnDecodeStep(DecodeState state)
        {
            if (state.Step == 1)
                state.Keep(1, new[] { 0, 3 });
        }
    }
}

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

    [TestCase(1)]
    [TestCase(3)]
    public void What_was_done_in_the_tower_is_said_of_its_picture(int images)
    {
        using var model = new TinyModel(14);
        ScheduleTrace trace = model.Run(model.Prompt(images), "tome:merge=1").Result.Trace;
        string?[] notes = [.. trace.Events.Select(done => done.Note).Distinct()];
        string?[] pictures = [.. Enumerable.Range(1, images).Select(image => $"picture {image}")];
        Assert.That(notes, Is.EqualTo(images > 1 ? pictures : [null]));
    }

    [Test]
    public void Auto_fills_whole_tiles_of_the_device()
    {
        using var model = new TinyModel(15);
        Prompt prompt = model.Prompt(images: 2);
        Run run = model.Run(prompt, "parvts:keep=auto,migrate=1");
        int rows = run.Result.Trace.RowsByLayer[^1];
        Assert.That(rows, Is.LessThan(prompt.Length), "something leaves");
        Assert.That(rows % model.Engine.Device.RowTile, Is.Zero, $"{rows} rows");
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
    public void Every_picture_is_ranked_by_its_own_attention()
    {
        using var model = new TinyModel(19);
        Prompt both = model.Prompt(images: 2);
        ScheduleEvent together = model.Run(both, "parvts:keep=3,migrate=1").Result.Trace.Events[0];
        for (int image = 0; image < 2; image++)
        {
            Prompt alone = model.Engine.CreatePrompt([1, model.Engine.Config.ImageTokenId, 2, 3], [both.Images[image]]);
            ScheduleEvent one = model.Run(alone, "parvts:keep=3,migrate=1").Result.Trace.Events[0];
            Assert.That(together.Scores.Skip(image * model.Visual).Take(model.Visual), Is.EqualTo(one.Scores), $"picture {image}");
            Assert.That(together.Subject!.Where(t => t / model.Visual == image).Select(t => t % model.Visual), Is.EqualTo(one.Subject));
        }

        Assert.That(together.Scores.Take(model.Visual), Is.Not.EqualTo(together.Scores.Skip(model.Visual)), "the pictures differ");
    }

    [Test]
    public void What_is_measured_does_not_depend_on_what_was_cached([Values("parvts:keep=5,migrate=1,fuse=lse", "fastv:layer=1,keep=5")] string policy)
    {
        using var model = new TinyModel(20);
        Prompt whole = model.Prompt();
        Prompt prompt = model.Engine.CreatePrompt([.. Enumerable.Range(1, 30), .. whole.Ids], whole.Images);
        using Session session = model.Engine.CreateSession(policy);
        model.Run(session, model.Engine.CreatePrompt([.. Enumerable.Range(1, 30)], []));
        Run cached = model.Run(session, prompt, 2);
        Assert.That(cached.Result.CachedTokens, Is.EqualTo(30));
        ScheduleEvent[] later = [.. cached.Result.Trace.Events];
        Run fresh = model.Run(prompt, policy, 2);
        ScheduleEvent[] first = [.. fresh.Result.Trace.Events];
        for (int i = 0; i < first.Length; i++)
        {
            Assert.That(later[i].Kept, Is.EqualTo(first[i].Kept));
            Assert.That(later[i].Scores, Is.EqualTo(first[i].Scores).Within(1e-5f));
            Assert.That(later[i].Weights, Is.EqualTo(first[i].Weights).Within(1e-5f));
        }

        Assert.That(GoldenFile.Distance(fresh.Logits[0], cached.Logits[0]), Is.LessThan(TinyModel.Tolerance * fresh.Logits[0].Max(Math.Abs)));
    }

    [Test]
    public unsafe void A_thinned_layer_holds_the_rows_that_were_kept()
    {
        using var model = new TinyModel(21);
        Prompt prompt = model.Prompt();
        using Session dense = model.Engine.CreateSession();
        using Session thinned = model.Engine.CreateSession(new ThinningPolicy(step: 0, layer: 1, [0, 3]));
        model.Run(dense, prompt);
        Run run = model.Run(thinned, prompt);
        Assert.That(run.Result.Trace.KvRowsByLayer[1], Is.EqualTo(2), "the trace says so");
        Assert.That(Row(thinned, 0), Is.EqualTo(Row(dense, 0)));
        Assert.That(Row(thinned, 1), Is.EqualTo(Row(dense, 3)));

        static float[] Row(Session session, int row)
        {
            ParVts.Engine.Compute.KvLayer layer = session.Kv.Layer(1);
            return new ReadOnlySpan<float>(layer.Keys(0, 0) + row * layer.PaddedHeadDim, layer.PaddedHeadDim).ToArray();
        }
    }

    [Test]
    public void Keeping_every_row_of_a_long_cache_changes_nothing()
    {
        using var model = new TinyModel(22);
        Prompt prompt = model.Prompt();
        int steps = prompt.Length + 70;
        Run dense = model.Run(prompt, "dense", steps);
        Run kept = model.Run(prompt, new ThinningPolicy(steps - 5, layer: 0, rows: null), steps);
        Assert.That(kept.Logits, Is.EqualTo(dense.Logits), "more rows than a pass ever had");
    }

    [Test]
    public void A_thinned_cache_is_never_cut_back_into()
    {
        using var model = new TinyModel(23);
        Prompt prompt = model.Prompt();
        Prompt other = model.Engine.CreatePrompt([.. prompt.Ids[..^1], 90], prompt.Images);
        using Session session = model.Engine.CreateSession(new ThinningPolicy(step: 1, layer: 0, [0, 1, 2]));
        model.Run(session, prompt, 2);
        Run reused = model.Run(session, other);
        Assert.That(reused.Result.CachedTokens, Is.Zero);
        Assert.That(reused.Logits[0], Is.EqualTo(model.Run(other, "dense").Logits[0]));
    }

    [Test]
    public void What_a_policy_may_not_do_is_refused()
    {
        using var model = new TinyModel(24);
        Prompt prompt = model.Prompt();
        Refused(new ThinningPolicy(step: 0, layer: 1, [3, 0]), "rows must ascend");
        Refused(new ThinningPolicy(step: 0, layer: 1, [prompt.Length]), "rows must ascend and be there");
        Refused(new ActingPolicy(state => state.Keep([2, 1])), "not in ascending order");
        Refused(new ActingPolicy(state => state.Split([.. state.AliveVisual()])), "and none");
        Refused(new ActingPolicy(state => state.Split([1, 0])), "not in ascending order");
        Refused(new ActingPolicy(state => state.Split([999])), "token 999, which is not there");
        Refused(new FusingPolicy(), "layer -1 was not asked");
        Refused(new ActingPolicy(state => { state.Keep([1]); state.Keep([1]); }), "two policies change the rows");
        Refused(new ActingPolicy(state => state.ProbeEntry(0)), "before the decoder");
        Prompt picture = model.Engine.CreatePrompt([1, model.Engine.Config.ImageTokenId], prompt.Images);
        Assert.That(() => model.Run(picture, "vtw:layer=1"), Throws.TypeOf<RequestException>().With.Message.Contain("ends with a picture"));
        Assert.That(model.Run(picture, "dense").Logits, Has.Length.EqualTo(1));

        void Refused(VisualTokenPolicy policy, string message) =>
            Assert.That(() => model.Run(prompt, policy), Throws.TypeOf<PolicyException>().With.Message.Contain(message));
    }

    [Test]
    public void A_plan_is_refused_while_the_session_works_and_a_cut_off_run_reports_nothing_old()
    {
        using var model = new TinyModel(25);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession($"parvts:keep={model.Visual / 3},migrate=1");
        session.Progress = step =>
        {
            if (step.Phase == "prefill")
                session.PlanTrace(prompt);
        };
        Assert.That(() => session.Generate(prompt), Throws.InvalidOperationException);
        session.Progress = null;
        session.Generate(prompt, new GenerationOptions { MaxTokens = 1 });
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        session.Reset();
        ScheduleTrace trace = session.Generate(prompt, cancellation: cancelled.Token).Trace;
        Assert.That(trace.Events, Is.Empty);
        Assert.That(trace.Visual + trace.Flops + trace.KvRowsByLayer.Sum(), Is.Zero);
    }

    [Test]
    public void A_policy_may_merge_rows_in_the_tower_and_thin_the_cache_while_decoding()
    {
        using var model = new TinyModel(17);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(new HalvingPolicy());
        Run run = model.Run(session, prompt, 4);
        int visual = (model.Visual + 1) / 2;
        Assert.That(run.Result.Trace.KeptAt(0), Has.Count.EqualTo(visual));
        Assert.That(run.Result.Trace.RowsByLayer, Is.All.EqualTo(prompt.Length - model.Visual + visual));
        Assert.That(session.Kv.Length(1), Is.EqualTo(2 + 2), "thinned to two rows after the first step, two steps since");
        Assert.That(session.Kv.Length(0), Is.EqualTo(run.Result.Trace.RowsByLayer[0] + 3));
    }

    [TestCase("parvts:keep=k,migrate=1,fuse=lse")]
    [TestCase("parvts:keep=k,migrate=1+fastv:layer=2,keep=3")]
    [TestCase("visipruner:shallow=1,drop_shallow_kv=true")]
    [TestCase("st3:start=1,keep=1,floor=1,anneal=0.9,every=2")]
    [TestCase("yopo:window=3,cut=1,tail=mask")]
    [TestCase("visionzip:dominant=k,contextual=2")]
    public void A_decode_step_under_a_policy_allocates_nothing(string policy)
    {
        using var model = new TinyModel(18);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(policy.Replace("=k", $"={model.Visual / 3}", StringComparison.Ordinal));
        var allocated = new List<long>(64);
        session.OnStep = _ => allocated.Add(GC.GetAllocatedBytesForCurrentThread());
        var options = new GenerationOptions { MaxTokens = 12, IgnoreEndOfSequence = true };
        session.Generate(prompt, options);
        session.Reset();
        allocated.Clear();
        session.Generate(prompt, options);
        Assert.That(allocated[^1] - allocated[2], Is.Zero, "by steps: " + string.Join(' ', allocated.Zip(allocated.Skip(1), (a, b) => b - a)));
    }

    /// <summary>Thins one layer after a step; null keeps all of its rows.</summary>
    private sealed class ThinningPolicy(int step, int layer, int[]? rows) : VisualTokenPolicy
    {
        public override string Name => "thinning";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void OnDecodeStep(DecodeState state)
        {
            if (state.Step == step)
                state.Keep(layer, rows ?? [.. Enumerable.Range(0, state.KvRows(layer))]);
        }
    }

    /// <summary>Fuses by mass at once, without having asked for it.</summary>
    private sealed class FusingPolicy : VisualTokenPolicy
    {
        public override string Name => "fusing";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void OnVisionTokens(ScheduleState state) => state.Split([0]);

        public override void BeforeLayer(ScheduleState state)
        {
            if (state.Layer == 0)
                state.FuseByMass();
        }
    }

    /// <summary>Does something before the decoder.</summary>
    private sealed class ActingPolicy(Action<ScheduleState> act) : VisualTokenPolicy
    {
        public override string Name => "acting";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void OnVisionTokens(ScheduleState state) => act(state);
    }

    /// <summary>Averages neighbours after the tower; thins layer 1 to two rows after the first step.</summary>
    private sealed class HalvingPolicy : VisualTokenPolicy
    {
        public override string Name => "halving";

        public override bool SizesAreKnown => false;

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

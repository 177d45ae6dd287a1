using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// Contract P3, for every policy (<see cref="PolicyCase.All"/>): keep-all equals dense, the cache is what the trace says, a dropped row
/// is gone, decoding and later turns equal a replay.
/// </summary>
internal sealed class PolicyInvariantTests
{
    private static readonly PolicyCase[] s_all = PolicyCase.All;
    private static readonly PolicyCase[] s_dropping = [.. s_all.Where(one => one.Drops)];
    private static readonly PolicyCase[] s_keepAll = [.. s_all.Where(one => one.KeepAll is not null)];

    [Test]
    public void Every_policy_is_tried_here()
    {
        foreach (PolicyInfo info in PolicyRegistry.All)
        {
            PolicyCase[] cases = [.. s_all.Where(one => one.Policy.Split(':', '+')[0] == info.Name)];
            Assert.That(cases, Is.Not.Empty, $"'{info.Name}' is in no test of the invariants");
            Assert.That(cases.Select(one => one.KeepAll ?? one.Why), Has.None.Null, "without settings that keep everything it is said why");
        }
    }

    [Test]
    public void Keeping_all_equals_dense_to_the_bit([ValueSource(nameof(s_keepAll))] PolicyCase one, [Range(1, 4)] int seed)
    {
        using TinyModel model = one.Model(seed);
        int images = 1 + seed % 2;
        Prompt prompt = model.Prompt(images);
        Run run = model.Run(prompt, PolicyCase.Fill(one.KeepAll!, model, images), 3);
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));
        Assert.That(run.Result.Trace.RowsByLayer, Is.All.EqualTo(prompt.Length));
    }

    [Test]
    public void The_cache_is_what_the_trace_says([ValueSource(nameof(s_all))] PolicyCase one, [Range(1, 4)] int seed)
    {
        using TinyModel model = one.Model(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        using Session session = model.Engine.CreateSession(one.For(model));
        ScheduleTrace planned = session.PlanTrace(prompt);
        Run run = model.Run(session, prompt, steps: 3);
        ScheduleTrace trace = run.Result.Trace;
        for (int layer = 0; layer < model.Layers; layer++)
        {
            Row[] alive = [.. run.Hidden[layer].Rows.Where(row => row.Role == RowRole.Visual)];
            Assert.That(trace.KvRowsByLayer[layer], Is.EqualTo(trace.Prefix + Stored(one, trace, layer, alive.Length) + trace.Text), $"the trace at {layer}");
            Assert.That(session.Kv.Length(layer), Is.EqualTo(trace.KvRowsByLayer[layer] + 2), "two decode steps");
            Assert.That(planned.RowsByLayer[layer], Is.GreaterThanOrEqualTo(trace.RowsByLayer[layer]), "the plan is the worst case");
            Assert.That(trace.FlopsCountedByLayer[layer], Is.EqualTo(trace.FlopsByLayer[layer]).Within(1).Percent, $"work at {layer}");
            Assert.That(trace.KeptAt(layer), Has.Count.EqualTo(alive.Length), $"alive at {layer}");
            if (!one.Merges)
                Assert.That(trace.KeptAt(layer), Is.EqualTo(alive.Select(row => row.Visual)), $"who is alive at {layer}");
        }

        int[] known = [.. trace.KeptAt(model.Layers).Where(token => token >= 0)];
        Assert.That(known, Is.Unique.And.All.LessThan(trace.Visual));
        Assert.That(session.Kv.ReservedBytes, Is.LessThanOrEqualTo(run.Result.Memory.KeyValues), "not more than planned");
    }

    [Test]
    public void A_warm_session_repeats_itself_in_the_same_memory([ValueSource(nameof(s_all))] PolicyCase one)
    {
        using TinyModel model = one.Model(5);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(one.For(model));
        Run first = model.Run(session, prompt, 6);
        long reserved = session.Kv.ReservedBytes;
        session.Reset();
        Run again = model.Run(session, prompt, 6);
        Assert.That(again.Logits, Is.EqualTo(first.Logits));
        Assert.That(again.Result.Memory, Is.EqualTo(first.Result.Memory));
        Assert.That(session.Kv.ReservedBytes, Is.EqualTo(reserved));
    }

    // Others measure the rows that enter the decoder, or make them of several.
    [Test]
    public void A_row_that_left_before_the_decoder_has_no_influence(
        [Values("cls-prune:keep=k", "random:keep=k,seed=7", "grid:keep=k", "cls-prune:keep=k+vtw:layer=K")] string policy, [Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        string filled = PolicyCase.Fill(policy, model);
        Run plain = model.Run(prompt, filled, 3);
        int gone = Enumerable.Range(0, model.Visual).Except(plain.Result.Trace.KeptAt(0)).First();
        Run changed = model.Run(prompt, filled, 3, (stage, rows, hidden) =>
        {
            if (stage == "inputs_embeds")
                model.Overwrite(rows, hidden, gone, _ => float.NaN);
        });
        Assert.That(changed.Logits, Is.EqualTo(plain.Logits));
    }

    [Test]
    public void What_rows_that_left_leave_behind_is_never_read([ValueSource(nameof(s_dropping))] PolicyCase one, [Range(1, 3)] int seed)
    {
        // Deep enough for those that choose after having looked at some layers.
        using TinyModel model = one.Model(seed, layers: 5);
        Prompt prompt = model.Prompt();
        Run plain = model.Run(prompt, one.For(model), 3);
        int before = plain.Result.Trace.Prefix + plain.Result.Trace.Visual + plain.Result.Trace.Text;
        int poisonings = 0;
        Run poisoned = model.Run(prompt, one.For(model), 3, (stage, rows, hidden) =>
        {
            // The memory behind the rows of now is where those that left were.
            if (!stage.StartsWith("hidden.", StringComparison.Ordinal) || rows.Count >= before)
                return;
            Poison(model, hidden, before - rows.Count);
            poisonings++;
        });
        Assert.That(poisonings, Is.Positive);
        Assert.That(poisoned.Logits, Is.EqualTo(plain.Logits));
    }

    // ST3's thinning while decoding is not replayed: rows leave that earlier steps have seen (MethodTests look at it).
    [Test]
    public void Decoding_equals_replaying_the_frozen_trace([ValueSource(nameof(s_all))] PolicyCase one, [Range(1, 3)] int seed)
    {
        using TinyModel model = one.Model(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        using Session session = model.Engine.CreateSession(one.For(model));
        Run run = model.Run(session, prompt, 5);
        VisualTokenPolicy frozen = Frozen(one, model, run);

        // A generated image token would ask for a picture when it is read again.
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        Assert.That(tokens, Is.Not.Empty);
        for (int step = 1; step < Math.Min(5, tokens.Length + 1); step++)
            Near(run.Logits[step], model.Run(model.Continue(prompt, tokens.Take(step)), frozen), $"step {step}");
    }

    [Test]
    public void A_second_turn_equals_replaying_the_frozen_trace([ValueSource(nameof(s_all))] PolicyCase one, [Range(1, 2)] int seed)
    {
        using TinyModel model = one.Model(seed);
        Prompt prompt = model.Prompt(images: seed);
        using Session session = model.Engine.CreateSession(one.For(model));
        Run first = model.Run(session, prompt, 2);
        int[] before = [.. Enumerable.Range(0, model.Layers).Select(session.Kv.Length)];
        VisualTokenPolicy frozen = Frozen(one, model, first);
        if (first.Result.Tokens[0] == model.Engine.Config.ImageTokenId)
            Assert.Ignore("the answer is an image token, which would ask for a picture when it is read again");
        Prompt second = model.Continue(prompt, [first.Result.Tokens[0], 5, 9, 3]);
        Run turn = model.Run(session, second);
        ScheduleTrace trace = turn.Result.Trace;
        Assert.That(turn.Result.CachedTokens, Is.EqualTo(prompt.Length + 1));
        Assert.That(trace.Events, Is.Empty, "no visual tokens, nothing to decide");
        Assert.That(trace.RowsByLayer, Is.All.EqualTo(3));
        Assert.That(trace.KvRowsByLayer, Is.EqualTo(before.Select(rows => rows + 3).ToArray()));
        if (!one.ForgetsPictures)
            Near(turn.Logits[0], model.Run(second, frozen), "the turn");
    }

    [Test]
    public void Another_question_about_the_same_picture_is_answered_as_afresh([ValueSource(nameof(s_all))] PolicyCase one, [Range(1, 2)] int seed)
    {
        using TinyModel model = one.Model(seed + 10);
        Prompt prompt = model.Prompt();
        Prompt other = model.Engine.CreatePrompt([.. prompt.Ids[..(prompt.ImageStarts[0] + model.Visual)], 3, 9, 4, 8], prompt.Images);
        using Session session = model.Engine.CreateSession(one.For(model));
        model.Run(session, prompt, 3);
        Run reused = model.Run(session, other, 2);
        Run fresh = model.Run(other, one.For(model), 2);
        for (int step = 0; step < 2; step++)
            Assert.That(GoldenFile.Distance(fresh.Logits[step], reused.Logits[step]), Is.LessThan(TinyModel.Tolerance * fresh.Logits[step].Max(Math.Abs)), $"step {step}");
    }

    [Test]
    public void Without_pictures_every_policy_is_dense_to_the_bit([ValueSource(nameof(s_all))] PolicyCase one)
    {
        using TinyModel model = one.Model(3);
        Prompt prompt = model.Prompt(images: 0);
        Run run = model.Run(prompt, one.For(model), 3);
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));
        Assert.That(run.Result.Trace.Events, Is.Empty);
    }

    // Rows that a layer's store holds after the prefill, of those that were alive at its entry.
    private static int Stored(PolicyCase one, ScheduleTrace trace, int layer, int alive)
    {
        // What a fusion drops, it drops from the layers behind it as well.
        if (trace.Events.LastOrDefault(e => e.Kind == ScheduleEventKind.Fuse && e.Layer > layer) is { } fusion)
            return fusion.Kept.Count;
        int middle = Math.Max(1, trace.KvRowsByLayer.Length / 2);
        if (one.Policy.StartsWith("vica", StringComparison.Ordinal) && layer != 0 && layer != middle)
            return 0;
        bool shallow = layer < middle;
        return shallow && one.Policy.Contains("drop_shallow_kv=true", StringComparison.Ordinal) ? 0 : alive;
    }

    private static VisualTokenPolicy Frozen(PolicyCase one, TinyModel model, Run run)
    {
        VisualTokenPolicy policy = PolicyRegistry.Create(one.For(model));
        ScheduleTrace trace = run.Result.Trace;
        if (one.Replay == Replay.Itself)
            return policy;
        if (one.Replay == Replay.Masked)
        {
            string settings = one.For(model);
            int shallow = int.Parse(settings.Split("shallow=")[1].Split(',')[0]);
            return new FrozenVisiPruner(
                trace, shallow, settings.Contains("mask_visual=all", StringComparison.Ordinal), settings.Contains("drop_shallow_kv=true", StringComparison.Ordinal));
        }

        var frozen = new FrozenPolicy([.. trace.Events], trace.Text, policy.CompactPositions);

        // Frozen layers are replayed by the policy that freezes them.
        string? freezing = one.For(model).Split('+').FirstOrDefault(part => part.StartsWith("shortv", StringComparison.Ordinal));
        return freezing is null ? frozen : new PolicyStack([frozen, PolicyRegistry.Create(freezing)]);
    }

    private static void Near(float[] expected, Run replay, string what) =>
        Assert.That(GoldenFile.Distance(expected, replay.Logits[0]), Is.LessThan(TinyModel.Tolerance * expected.Max(Math.Abs)), what);

    private static void Poison(TinyModel model, Tensor hidden, int rows)
    {
        float[] values = new float[rows * hidden.Columns];
        Array.Fill(values, float.NaN);
        var behind = new Tensor(hidden.Address + hidden.Rows * hidden.Stride * sizeof(float), hidden.Type, rows, hidden.Columns);
        model.Engine.Device.Upload<float>(values, behind);
    }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Contract P3, for every policy: keep-all equals dense, the cache is what the trace says, a dropped row is gone, decoding equals a replay.</summary>
public class PolicyInvariantTests
{
    // K stands for a layer of the model, N for its visual tokens, k for some of them.
    private static readonly string[] s_policies =
    [
        "dense", "parvts:keep=k,migrate=K,fuse=mean", "parvts:keep=k,migrate=K,fuse=mass", "parvts:keep=k,migrate=K,fuse=lse",
        "cls-prune:keep=k", "fastv:layer=K,keep=k", "vtw:layer=K", "random:keep=k,seed=7", "grid:keep=k",
        "cls-prune:keep=k+vtw:layer=K", "grid:keep=0.9+fastv:layer=K,keep=k",
    ];

    private static readonly string[] s_dropping = s_policies[1..];

    private static readonly string[] s_keepAll =
        ["parvts:keep=N,migrate=K", "cls-prune:keep=N", "fastv:layer=K,keep=N", "random:keep=N", "grid:keep=N", "cls-prune:keep=N+fastv:layer=K,keep=N"];

    [Test]
    public void Keeping_all_equals_dense_to_the_bit([ValueSource(nameof(s_keepAll))] string policy, [Range(1, 4)] int seed)
    {
        using var model = new TinyModel(seed);
        int images = 1 + seed % 2;
        Prompt prompt = model.Prompt(images);
        string filled = Fill(policy.Replace("=N", $"={images * model.Visual}", StringComparison.Ordinal), model);
        Assert.That(model.Run(prompt, filled, 3).Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));
    }

    [Test]
    public void The_cache_is_what_the_trace_says([ValueSource(nameof(s_policies))] string policy, [Range(1, 4)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        using Session session = model.Engine.CreateSession(Fill(policy, model));
        Run run = model.Run(session, prompt, steps: 3);
        for (int layer = 0; layer < model.Layers; layer++)
        {
            // What a fusion drops, it drops from the layers behind it as well.
            ScheduleTrace trace = run.Result.Trace;
            int alive = trace.KeptAt(layer).Count;
            int stored = trace.Events.LastOrDefault(e => e.Kind == ScheduleEventKind.Fuse && e.Layer > layer)?.Kept.Count ?? alive;
            Assert.That(trace.KvRowsByLayer[layer], Is.EqualTo(trace.Prefix + stored + trace.Text), $"the trace at {layer}");
            Assert.That(session.Kv.Length(layer), Is.EqualTo(trace.KvRowsByLayer[layer] + 2), "two decode steps");
            Assert.That(run.Hidden[layer].Rows.Count(row => row.Role == RowRole.Visual), Is.EqualTo(alive), $"alive at {layer}");
        }
    }

    [Test]
    public void A_row_that_left_before_the_decoder_has_no_influence(
        [Values("cls-prune:keep=k", "random:keep=k,seed=7", "grid:keep=k", "cls-prune:keep=k+vtw:layer=K")] string policy, [Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        Run plain = model.Run(prompt, Fill(policy, model), 3);
        int gone = Enumerable.Range(0, model.Visual).Except(plain.Result.Trace.KeptAt(0)).First();
        Run changed = model.Run(prompt, Fill(policy, model), 3, (stage, rows, hidden) =>
        {
            if (stage == "inputs_embeds")
                model.Overwrite(rows, hidden, gone, _ => float.NaN);
        });
        Assert.That(changed.Logits, Is.EqualTo(plain.Logits));
    }

    [Test]
    public void What_rows_that_left_leave_behind_is_never_read([ValueSource(nameof(s_dropping))] string policy, [Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        Run plain = model.Run(prompt, Fill(policy, model), 3);
        int before = plain.Result.Trace.Prefix + plain.Result.Trace.Visual + plain.Result.Trace.Text;
        int poisonings = 0;
        Run poisoned = model.Run(prompt, Fill(policy, model), 3, (stage, rows, hidden) =>
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

    [Test]
    public void Decoding_equals_replaying_the_frozen_trace([ValueSource(nameof(s_policies))] string policy, [Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        Run run = model.Run(prompt, Fill(policy, model), 5);

        // A generated image token would ask for a picture when it is read again.
        int[] tokens = [.. run.Result.Tokens.TakeWhile(token => token != model.Engine.Config.ImageTokenId)];
        Assert.That(tokens, Is.Not.Empty);
        for (int step = 1; step < Math.Min(5, tokens.Length + 1); step++)
        {
            var frozen = new FrozenPolicy(run.Result.Trace.Events, run.Result.Trace.Text);
            Run replay = model.Run(model.Continue(prompt, tokens.Take(step)), frozen);
            float scale = run.Logits[step].Max(Math.Abs);
            Assert.That(GoldenFile.Distance(run.Logits[step], replay.Logits[0]), Is.LessThan(TinyModel.Tolerance * scale), $"step {step}");
        }
    }

    [Test]
    public void Without_pictures_every_policy_is_dense_to_the_bit([ValueSource(nameof(s_policies))] string policy)
    {
        using var model = new TinyModel(3);
        Prompt prompt = model.Prompt(images: 0);
        Run run = model.Run(prompt, Fill(policy, model), 3);
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits));
        Assert.That(run.Result.Trace.Events, Is.Empty);
    }

    private static string Fill(string policy, TinyModel model) => policy
        .Replace("=k", $"={model.Visual / 3}", StringComparison.Ordinal)
        .Replace("=K", $"={Math.Max(1, model.Layers / 2)}", StringComparison.Ordinal);

    private static void Poison(TinyModel model, Tensor hidden, int rows)
    {
        float[] values = new float[rows * hidden.Columns];
        Array.Fill(values, float.NaN);
        var behind = new Tensor(hidden.Address + hidden.Rows * hidden.Stride * sizeof(float), hidden.Type, rows, hidden.Columns);
        model.Engine.Device.Upload<float>(values, behind);
    }
}

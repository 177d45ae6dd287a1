using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>What the seam offers to policies that are still to come: frozen rows, compact positions, probes before a layer.</summary>
public class SeamTests
{
    [Test]
    public void Freezing_visual_rows_in_the_last_layer_changes_no_answer([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt(images: 1 + seed % 2);
        Run dense = model.Run(prompt, "dense", 3);
        Run frozen = model.Run(prompt, new Freezing(model.Layers - 1, giveKeys: true), 3);
        ScheduleTrace trace = frozen.Result.Trace;
        for (int step = 0; step < 3; step++)
            Near(dense.Logits[step], frozen.Logits[step], "nobody reads what visual rows become in the last layer");
        Assert.That(trace.RowsByLayer[^1], Is.EqualTo(trace.Prefix + trace.Text));
        Assert.That(trace.KeysByLayer[^1], Is.EqualTo(prompt.Length));
        Assert.That(trace.KvRowsByLayer, Is.All.EqualTo(prompt.Length));
        Assert.That(trace.FlopsCountedByLayer, Is.EqualTo(trace.FlopsByLayer));
    }

    [Test]
    public void A_frozen_row_leaves_the_layer_as_it_entered()
    {
        using var model = new TinyModel(4);
        Prompt prompt = model.Prompt();
        Run frozen = model.Run(prompt, new Freezing(0, giveKeys: true));
        LayerRows before = frozen.Hidden[0];
        LayerRows after = frozen.Hidden[1];
        for (int row = 0; row < before.Rows.Length; row++)
            Assert.That(after.Values[row].SequenceEqual(before.Values[row]), Is.EqualTo(before.Rows[row].Role == RowRole.Visual), $"row {row}");

        // The others became what they become in a dense layer, which sees the same keys.
        Run dense = model.Run(prompt, "dense");
        for (int row = 0; row < before.Rows.Length; row++)
        {
            if (before.Rows[row].Role != RowRole.Visual)
                Near(dense.Hidden[1].Values[row], after.Values[row], $"row {row}");
        }
    }

    [Test]
    public void Rows_that_are_frozen_without_keys_from_a_layer_on_have_left_it([Range(1, 3)] int seed)
    {
        using var model = new TinyModel(seed);
        Prompt prompt = model.Prompt();
        Run frozen = model.Run(prompt, new Freezing(1, giveKeys: false), 3);
        Run left = model.Run(prompt, "vtw:layer=1", 3);
        Assert.That(frozen.Logits, Is.EqualTo(left.Logits));
        Assert.That(frozen.Result.Trace.KvRowsByLayer, Is.EqualTo(left.Result.Trace.KvRowsByLayer));
    }

    [Test]
    public void Freezing_goes_together_with_choosing_at_the_same_layer()
    {
        using var model = new TinyModel(5);
        Prompt prompt = model.Prompt();
        var stack = new PolicyStack([new Freezing(1, giveKeys: true), PolicyRegistry.Create("fastv:layer=1,keep=4")]);
        ScheduleTrace trace = model.Run(prompt, stack, 2).Result.Trace;
        Assert.That(trace.RowsByLayer[1], Is.EqualTo(trace.Prefix + trace.Text));
        Assert.That(trace.KeysByLayer[1], Is.EqualTo(trace.Prefix + trace.Text + 4));
    }

    [Test]
    public void A_path_that_begins_later_leaves_earlier_layers_alone()
    {
        using var model = new TinyModel(8);
        Prompt prompt = model.Prompt();
        ScheduleTrace trace = model.Run(prompt, new LateSplit(), 2).Result.Trace;
        Assert.That(trace.KvRowsByLayer[0], Is.EqualTo(prompt.Length));
        Assert.That(trace.KvRowsByLayer[1], Is.EqualTo(trace.Prefix + 3 + trace.Text));
    }

    [Test]
    public void Merging_inside_the_tower_keeps_the_class_token_out_of_the_decoder()
    {
        using var model = new TinyModel(9);
        Prompt prompt = model.Prompt();
        Run run = model.Run(prompt, new EarlyMerge());
        Assert.That(run.Result.Trace.Visual, Is.EqualTo(model.Visual));
        Assert.That(run.Result.Trace.KeptAt(0), Has.Count.EqualTo(model.Visual - 1));
        Assert.That(run.Result.Trace.FlopsDense, Is.EqualTo(model.Run(prompt, "dense").Result.Trace.Flops));
    }

    [Test]
    public void Compact_positions_run_without_gaps_in_prefill_and_decoding()
    {
        using var model = new TinyModel(6);
        Prompt prompt = model.Prompt();
        int start = prompt.ImageStarts[0];
        Prompt text = model.Engine.CreatePrompt([.. prompt.Ids[..start], .. prompt.Ids[(start + model.Visual)..]], []);
        Run without = model.Run(text, "dense", 4);
        Run compact = model.Run(prompt, new Leaving(compact: true), 4);
        Run gaps = model.Run(prompt, new Leaving(compact: false), 4);
        Assert.That(compact.Logits, Is.EqualTo(without.Logits), "as if there had been no picture");
        Assert.That(gaps.Logits[0], Is.Not.EqualTo(without.Logits[0]));
    }

    [Test]
    public void A_probe_before_a_layer_sees_what_the_layer_will_see()
    {
        using var model = new TinyModel(7);
        Prompt prompt = model.Prompt();
        var probing = new Probing();
        Run run = model.Run(prompt, probing, 3);
        Assert.That(probing.Before, Is.EqualTo(probing.After).Within(1e-4).Percent, "two ways to the same log-sum-exp");
        Assert.That(probing.Before.Sum(), Is.EqualTo(1).Within(1e-5), "all keys are this prefill's");
        Assert.That(run.Logits, Is.EqualTo(model.Run(prompt, "dense", 3).Logits), "measuring changes nothing");
    }

    private static void Near(float[] expected, float[] actual, string what) =>
        Assert.That(GoldenFile.Distance(expected, actual), Is.LessThan(TinyModel.Tolerance * expected.Max(Math.Abs)), what);

    private sealed class Freezing(int from, bool giveKeys) : VisualTokenPolicy
    {
        public override string Name => "freezing";

        public override PolicyNeeds Needs => PolicyNeeds.FrozenRows;

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void BeforeLayer(ScheduleState state)
        {
            if (state.Layer >= from)
                state.FreezeVisual(giveKeys);
        }
    }

    /// <summary>Splits at layer 1 and fuses at layer 2, or at the last.</summary>
    private sealed class LateSplit : VisualTokenPolicy
    {
        public override string Name => "late";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void BeforeLayer(ScheduleState state)
        {
            if (state.Layer == 1)
                state.Split([0, 2, 4]);
            if (state.Layer == 2)
                state.Fuse([0.5f]);
        }
    }

    /// <summary>Merges the last two rows in the tower's first block.</summary>
    private sealed class EarlyMerge : VisualTokenPolicy
    {
        public override string Name => "early";

        public override bool SizesAreKnown => false;

        public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Merge)];

        public override void InVisionLayer(VisionState state)
        {
            if (state.Block != 0)
                return;
            int rows = state.Rows - 1;
            state.Merge(new RowMap(
                [.. Enumerable.Range(0, rows), state.Rows],
                [.. Enumerable.Range(0, state.Rows)],
                [.. Enumerable.Range(0, state.Rows).Select(row => row < rows - 1 ? 1f : 0.5f)]));
        }
    }

    private sealed class Leaving(bool compact) : VisualTokenPolicy
    {
        public override string Name => "leaving";

        public override bool CompactPositions => compact;

        public override IReadOnlyList<PolicySpan> Spans => [];

        public override void OnVisionTokens(ScheduleState state) => state.Keep([]);
    }

    private sealed class Probing : VisualTokenPolicy
    {
        public override string Name => "probing";

        public override IReadOnlyList<PolicySpan> Spans => [];

        public float[] Before { get; private set; } = [];

        public float[] After { get; private set; } = [];

        public override void BeforeLayer(ScheduleState state)
        {
            int[] rows = [state.Rows.Count - 1, state.Rows.Count - 2];
            if (state.Layer == 1)
                After = state.RowScores.ToArray();
            if (state.Layer != 0)
                return;
            state.ProbeEntry(rows);
            Before = state.RowScores.ToArray();
            state.Probe(rows);
        }
    }
}

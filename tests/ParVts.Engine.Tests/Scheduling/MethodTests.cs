using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Each method's rule on a few rows, by hand: what SCHEDULES.md says, without a model.</summary>
public class MethodTests
{
    // Layer 1 filters, and tokens 0 and 1 stay. Layers 2, 4, 5 … are quiet, layer 3 is not.
    [TestCase("", new[] { 3, 3, 2, 2, 2, 0, 0, 0 })]
    [TestCase(",consecutive=true", new[] { 3, 3, 2, 2, 2, 2, 0, 0 })]
    public void VisiPruner_leaves_after_two_quiet_layers_which_the_paper_wants_to_follow_each_other(string setting, int[] visual)
    {
        var harness = new PolicyHarness
        {
            Layers = 8,
            Visual = 3,
            Value = (layer, token) => layer == 1 && token < 2 ? (0, 1f / (token + 1)) : layer == 3 ? (0, 1) : (0, 0),
        };
        ScheduleTrace trace = harness.Run("visipruner:shallow=0" + setting);
        Assert.That(VisualRows(trace, 5), Is.EqualTo(visual));
        Assert.That(trace.KeptAt(4), Is.EqualTo(new[] { 0, 1 }));
    }

    [Test]
    public void VisiPruner_probes_behind_the_first_layer_that_is_not_masked()
    {
        var harness = new PolicyHarness { Layers = 8, Visual = 3, Value = (layer, token) => (0, layer <= 3 && token == 1 ? 1 : 0) };
        ScheduleTrace trace = harness.Run("visipruner:shallow=2");
        Assert.That(VisualRows(trace, 5), Is.EqualTo(new[] { 3, 3, 3, 3, 1, 1, 0, 0 }), "layer 3 filters");

        // 2 prefix rows; 3 visual and 3 text rows: masked columns count in the denominator.
        Assert.That(trace.PairsByLayer, Is.EqualTo(new long[] { 36, 36, 36, 36, 21, 21, 15, 15 }));
    }

    [Test]
    public void ShortV_computes_no_visual_row_in_its_layers_and_all_keys()
    {
        ScheduleTrace trace = new PolicyHarness().Run("shortv:layers=3/1");
        Assert.That(trace.RowsByLayer, Is.EqualTo(new[] { 11, 5, 11, 5 }));
        Assert.That(trace.KeysByLayer, Is.All.EqualTo(11));
        Assert.That(trace.PairsByLayer, Is.EqualTo(new long[] { 66, 33, 66, 33 }), "3 of the prefix, 9 + 10 + 11 of the text");
        Assert.That(trace.PairsVisualByLayer, Is.EqualTo(new long[] { 51, 18, 51, 18 }));
    }

    [Test]
    public void ZspaPrune_takes_its_core_by_the_prompt_and_the_rest_by_distance()
    {
        float[] relevance = [.1f, .9f, .8f, .2f, .3f, 0];
        var harness = new PolicyHarness { Relevance = token => relevance[token], Similar = (a, b) => 1 - Math.Abs(a - b) / 10f };
        Assert.That(harness.Run("zspaprune:keep=4,core=0.5").KeptAt(0), Is.EqualTo(new[] { 0, 1, 2, 5 }), "core 1 2, then 5, then 0 by the lower index");
        Assert.That(harness.Asked, Is.EqualTo(new[] { "mean of -1 -2 -3" }), "the rows after the picture");
    }

    [Test]
    public void DivPrune_begins_with_the_loneliest_token()
    {
        int[] place = [0, 1, 2, 7, 8, 20];
        var harness = new PolicyHarness { Similar = (a, b) => 1 - Math.Abs(place[a] - place[b]) / 100f };
        ScheduleTrace trace = harness.Run("divprune:keep=3");
        Assert.That(trace.KeptAt(0), Is.EqualTo(new[] { 0, 4, 5 }));
        Assert.That(trace.Events[0].Ranked, Is.EqualTo(new[] { 5, 0, 4 }), "in the order of the picks");
    }

    [Test]
    public void PyramidDrop_takes_shares_of_the_first_number_and_rounds_down()
    {
        var harness = new PolicyHarness { Attention = (layer, token) => layer == 1 ? token % 2 : -Math.Abs(token - 3) };
        ScheduleTrace trace = harness.Run("pyramiddrop:layers=1/2,keep=0.5/0.3");
        Assert.That(trace.KeptAt(1), Is.EqualTo(new[] { 1, 3, 5 }));
        Assert.That(trace.KeptAt(2), Is.EqualTo(new[] { 3 }), "1.8 of 6");
        Assert.That(harness.Asked, Is.EqualTo(new[] { "entry 1: -3", "entry 2: -3" }), "the last row, in the layer itself");
    }

    [Test]
    public void SparseVlm_asks_the_text_rows_that_the_picture_speaks_to()
    {
        var harness = new PolicyHarness
        {
            Similar = (_, text) => text == -2 ? 5 : 0,
            Attention = (layer, token) => layer == 1 && token is 2 or 4 ? 1 : 0,
        };
        ScheduleTrace trace = harness.Run("sparsevlm:layers=1/2,keep=2/2");
        Assert.That(harness.Asked, Is.EqualTo(new[] { "1: -2", "2: -2" }));
        Assert.That(trace.KeptAt(1), Has.Count.EqualTo(6), "they leave behind the layer");
        Assert.That(trace.KeptAt(2), Is.EqualTo(new[] { 2, 4 }));
        Assert.That(trace.KeptAt(3), Has.Count.EqualTo(1), "at least one leaves");
    }

    [Test]
    public void St3_cuts_in_equal_steps_down_to_its_floor()
    {
        var harness = new PolicyHarness { Layers = 6, Attention = (layer, token) => layer == 0 ? -(token % 2) : token };
        ScheduleTrace trace = harness.Run("st3:start=1,stride=2,keep=0.5,floor=1");
        Assert.That(VisualRows(trace, 5), Is.EqualTo(new[] { 6, 3, 3, 1, 1, 1 }));
        Assert.That(trace.KeptAt(2), Is.EqualTo(new[] { 0, 2, 4 }), "by the last row's attention one layer before");
        Assert.That(harness.Asked, Is.EqualTo(new[] { "0: -3", "2: -3", "4: -3" }));
    }

    [Test]
    public void St3_thins_by_what_the_step_looked_at()
    {
        VisualTokenPolicy policy = PolicyRegistry.Create("st3:anneal=0.5,floor=1,every=1");
        policy.Bind(new PolicyModel(4, 1));
        var rows = new ScheduleState();
        rows.Rows.Clear(1);
        rows.Rows.Add(Row.OfVisual(0, 0, 0));
        policy.OnVisionTokens(rows);
        int held = 9;
        var kept = new List<int[]>();
        var state = new DecodeState(1, _ => held, (_, left) =>
        {
            kept.Add(left.ToArray());
            held = left.Length;
        });
        state.SetVisual(0, 2, [0, 1, 2, 3]);
        policy.OnDecodeStep(state);
        for (state.Step = 1; state.Step < 4; state.Step++)
        {
            float[] attention = [9, 9, .1f, .4f, .3f, .3f, 9, 9, 9];
            attention.AsSpan(0, held).CopyTo(state.BeginAttention(0, held));
            policy.OnDecodeStep(state);
        }

        Assert.That(kept[0], Is.EqualTo(new[] { 0, 1, 3, 4, 6, 7, 8 }), "half of four; the tie to the lower");
        Assert.That(kept[1], Is.EqualTo(new[] { 0, 1, 3, 4, 5, 6 }), "a quarter of four: by what is there now");
        Assert.That(kept, Has.Count.EqualTo(2), "not below the floor");
    }

    [TestCase("st3:start=1,keep=1,floor=2,anneal=0.5,every=2", 9)]
    public void St3_shrinks_every_layer_while_decoding(string policy, int steps)
    {
        using var model = new TinyModel(31, grid: 4);
        Prompt prompt = model.Prompt();
        using Session session = model.Engine.CreateSession(policy);
        model.Run(session, prompt, steps);
        for (int layer = 0; layer < model.Layers; layer++)
            Assert.That(session.Kv.Length(layer), Is.EqualTo(prompt.Length - 16 + 2 + steps - 1), "16, 8, 4, 2");
    }

    [Test]
    public void Dart_takes_what_is_least_like_its_pivots()
    {
        var harness = new PolicyHarness
        {
            KeyNorm = name => name is 2 or -2 ? 3 : 1,
            Similar = (pivot, token) => pivot == 2 ? token : token == 3 ? 1 : 0,
        };
        ScheduleTrace trace = harness.Run("dart:layer=1,keep=4,visual_pivots=1,text_pivots=1");
        Assert.That(trace.KeptAt(1), Is.EqualTo(new[] { 0, 1, 2, 4, 5 }), "the pivot, two for it, and two for the text's");
        Assert.That(trace.RowsByLayer[0], Is.EqualTo(11));
    }

    [Test]
    public void Yopo_sees_the_prefix_and_a_window_both_ways()
    {
        ScheduleTrace trace = new PolicyHarness { Visual = 9 }.Run("yopo:window=3,cut=2,mlp=2");

        // Prefix 3; nine visual rows see 2 rows of it, and 4, 6 or 9 of themselves; text 12 + 13 + 14.
        Assert.That(trace.PairsByLayer, Is.EqualTo(new long[] { 3 + 18 + 49 + 39, 109, 15, 15 }));
        Assert.That(trace.PairsVisualByLayer, Is.EqualTo(new long[] { 94, 94, 0, 0 }));
        Assert.That(VisualRows(trace, 5), Is.EqualTo(new[] { 9, 9, 0, 0 }));
    }

    [Test]
    public void VisionZip_gathers_the_others_round_targets_at_even_strides()
    {
        TowerHarness tower = new TowerHarness { Attention = patch => patch is 1 or 6 ? 1 : 0, Similar = (a, b) => -Math.Abs(a - b) }
            .Run("visionzip:dominant=3,contextual=2");
        Assert.That(tower.Rows[..3].Select(row => row[0].Patch), Is.EqualTo(new[] { -1, 1, 6 }), "the class token first");
        Assert.That(tower.Rows[3], Is.EqualTo(new[] { (0, 1f), (2, 1f) }), "2 is as near to 4: the lower target");
        Assert.That(tower.Rows[4], Is.EqualTo(new[] { (4, 1f), (3, 1f / 3), (5, 1f / 3), (7, 1f / 3) }));
        Assert.That(tower.State.Labels, Is.EqualTo(new[] { -1, 1, 6, -2, -2 }));
    }

    [Test]
    public void VisionZip_makes_no_more_rows_than_there_are_patches()
    {
        TowerHarness tower = new TowerHarness { Patches = 4 }.Run("visionzip");
        Assert.That(tower.Rows, Has.Length.EqualTo(4));
    }

    [Test]
    public void VisionDrop_ranks_by_visual_rows_and_merges_the_rest_stage_by_stage()
    {
        var harness = new PolicyHarness { Attention = (_, token) => token is 0 or 3 ? 1 : 0 };
        ScheduleTrace trace = harness.Run("visiondrop:dominant=9/2/1,contextual=9/1/1,layers=1/3");
        Assert.That(harness.Asked[0], Is.EqualTo("entry 1: 0 1 2 3 4 5"));
        Assert.That(trace.KeptAt(1), Is.EqualTo(new[] { 0, 3, -2 }));
        Assert.That(VisualRows(trace, 5), Is.EqualTo(new[] { 6, 3, 3, 2 }));
    }

    [TestCase("5", 3, 2)]
    [TestCase("0", 1, 0)]
    public void Folder_spares_what_the_class_token_looks_at(string alpha, int merged, int into)
    {
        TowerHarness tower = new TowerHarness
        {
            Patches = 40,
            Attention = patch => patch == 1 ? .01f : 0,
            Similar = (a, b) => (a, b) switch { (1, 0) => .9f, (3, 2) => .8f, _ => 0 },
        }.Run($"folder:keep=39,alpha={alpha}");
        Assert.That(tower.Rows.Single(row => row.Length > 1), Is.EqualTo(new[] { (into, .5f), (merged, .5f) }));
    }

    [Test]
    public void Tome_counts_a_merged_row_as_often_as_it_stands_for_patches()
    {
        TowerHarness tower = new TowerHarness { Patches = 4, Similar = (a, b) => (a, b) == (3, 2) ? .9f : .5f }.Run("tome:merge=1");
        Assert.That(tower.Rows.Select(row => row[0].Patch), Is.EqualTo(new[] { -1, 1, 0, 2 }), "even rows that are left, then the odd ones");
        Assert.That(tower.Rows[3], Is.EqualTo(new[] { (2, .5f), (3, .5f) }));
        Assert.That(tower.State.KeyBias, Is.EqualTo(new[] { 0, 0, 0, MathF.Log(2) }));
    }

    [Test]
    public void PruMerge_keeps_outliers_and_gathers_their_neighbours()
    {
        float[] attention = [1, 2, 3, 4, 5, 6, 12, 20];
        TowerHarness tower = new TowerHarness { Attention = patch => attention[patch], Similar = (a, b) => -Math.Abs(a - b) }.Run("prumerge:neighbours=2");
        Assert.That(tower.Rows.Select(row => row.Select(entry => entry.Patch)), Is.EqualTo(new[] { new[] { 7, 6, 5 }, [0, 1, 2, 3, 4, 5, 6] }));
        Assert.That(tower.Rows[0].Select(entry => entry.Weight), Is.EqualTo(new[] { 1, 12 / 54f, 6 / 54f }).Within(1e-6f), "the class token's own share is 1");
        Assert.That(tower.State.Labels, Is.EqualTo(new[] { 7, -2 }));
    }

    private static int[] VisualRows(ScheduleTrace trace, int others) => [.. trace.RowsByLayer.Select(rows => rows - others)];
}

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// DART (arXiv 2502.11494): pivots are the visual and the text rows of largest keys (L1 norm) in the layer before; for each pivot those
/// visual rows stay that are least like it (cosine under the final norm). Pivots take turns in ascending order, visual ones first (ours).
/// </summary>
internal sealed class DartPolicy : VisualTokenPolicy
{
    private readonly LayerParameter _layer;
    private readonly TokenBudget _keep;
    private readonly int _visualPivots;
    private readonly int _textPivots;
    private int _rowTile = 1;

    private DartPolicy(PolicyParameters parameters)
    {
        _layer = new LayerParameter(parameters, "dart", "layer", minimum: 1);
        _keep = parameters.Budget("keep");
        _visualPivots = parameters.Integer("visual_pivots", 1);
        _textPivots = parameters.Integer("text_pivots", 0);
    }

    public static PolicyInfo Info { get; } = new(
        "dart",
        "keeps a few pivots and the visual tokens least like them, from one layer on",
        "DART, arXiv 2502.11494",
        [
            new("layer", "2", "a layer, from 1 to the last", "from whose entry on the others are gone (the default is of 32 layers, scaled to the model's)"),
            new("keep", "128", TokenBudget.Allowed, "visual tokens that stay beside the visual pivots, an equal whole number for each pivot"),
            new("visual_pivots", "4", "a whole number of at least 1", "visual tokens that stay as pivots"),
            new("text_pivots", "4", "a whole number", "text rows behind the picture that serve as pivots"),
        ],
        parameters => new DartPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "DART",
            Acts = "entry of `layer`",
            Cache = "full before `layer`, then the tokens that stay",
            Idea = """
                A token that is like one that stays adds nothing. A few pivots and what is least like them hold the most.
                """,
            Rule = """
                - Pivots: the `visual_pivots` visual rows and the `text_pivots` rows behind the picture whose keys of layer
                  `layer`−1 (after RoPE, all KV heads) have the largest L1 norm.
                - The pivots take turns, visual ones first, each in ascending order. Each takes `keep`÷pivots visual rows (a whole
                  number), of those that are still free the least like it, by cosine of the rows under the decoder's final norm.
                - What was taken and the visual pivots stay: 128+4 = 132 by default.
                """,
            Ours = "The order of the pivots: the reference walks through an unordered set.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "a public port of the authors' code: same choices, rows and logits, its pivots put into our order",
        },
    };

    public override string Name => $"dart:layer={_layer.Value},keep={_keep},visual_pivots={_visualPivots},text_pivots={_textPivots}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override IReadOnlyList<PolicySpan> Spans => [new(_layer.Value, _layer.Value, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        _layer.Bind(model);
        _rowTile = model.RowTile;
    }

    public override void BeforeLayer(ScheduleState state)
    {
        int[] visual = state.VisualRowNumbers();
        if (state.Layer != _layer.Value || visual.Length == 0)
            return;
        int[] text = state.TextRowNumbers();
        int[] labels = state.VisualLabels();
        float[] norms = state.KeyNorms();
        int[] visualPivots = Pivots(state, "visual pivots: L1 norm of keys", labels, visual, norms, _visualPivots);
        int[] textPivots = Pivots(state, "text pivots: L1 norm of keys", [.. Enumerable.Range(0, text.Length)], text, norms, _textPivots);
        int[] pivots = [.. visualPivots.Select(place => visual[place]), .. textPivots.Select(place => text[place])];
        float[] similarity = state.Similarity(RowSpace.Normed, pivots, visual);

        int budget = _keep.Count(visual.Length, state.Rows.Count - visual.Length, _rowTile);
        int each = budget / pivots.Length;
        bool[] taken = new bool[visual.Length];
        foreach (int place in visualPivots)
            taken[place] = true;
        for (int pivot = 0; pivot < pivots.Length; pivot++)
            TakeLeastSimilar(state, pivots[pivot], similarity.AsSpan(pivot * visual.Length, visual.Length), labels, taken, each);
        int[] alive = state.AliveVisual();
        state.Keep([.. Enumerable.Range(0, visual.Length).Where(place => taken[place]).Select(place => alive[place])]);
    }

    private static int[] Pivots(ScheduleState state, string what, int[] ids, int[] rows, float[] norms, int count)
    {
        float[] scores = [.. rows.Select(row => norms[row])];
        int[] top = Selection.Top(scores, count);
        state.Record(ScheduleEventKind.Measure, what, ids, scores, [.. top.Select(place => ids[place])], Selection.Margin(scores, top));
        return top;
    }

    private static void TakeLeastSimilar(ScheduleState state, int pivot, ReadOnlySpan<float> similarity, int[] labels, bool[] taken, int count)
    {
        var free = new List<int>();
        var scores = new List<float>();
        for (int place = 0; place < taken.Length; place++)
        {
            if (taken[place])
                continue;
            free.Add(place);
            scores.Add(-similarity[place]);
        }

        int[] ids = [.. free.Select(place => labels[place])];
        int[] top = Selection.Top([.. scores], count);
        double? margin = Selection.Margin([.. scores], top);
        foreach (int i in top)
            taken[free[i]] = true;
        state.Record(
            ScheduleEventKind.Measure, $"least similar to row {pivot - state.Rows.CountOf(RowRole.Prefix)} after the prefix: cosine, negated", ids,
            [.. scores], [.. top.Select(i => ids[i])], margin);
    }
}

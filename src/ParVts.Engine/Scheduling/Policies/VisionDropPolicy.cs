namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// VisionDrop (arXiv 2506.22283): VisionZip's choice before the decoder, and the same again at the entry of some layers, where visual rows
/// are ranked by the attention that they receive from each other in the coming layer, and merged by its keys. Positions are renumbered.
/// </summary>
internal sealed class VisionDropPolicy : VisualTokenPolicy
{
    private readonly LayersParameter _layers;
    private readonly int[] _dominant;
    private readonly int[] _contextual;
    private RowMap? _merge;

    private VisionDropPolicy(PolicyParameters parameters)
    {
        _layers = new LayersParameter(parameters, "visiondrop", "layers", minimum: 0, ascending: true);
        _dominant = parameters.Integers("dominant", 1);
        _contextual = parameters.Integers("contextual", 0);
        parameters.RequireSameCount("dominant", _dominant.Length, "contextual", _contextual.Length);
        if (_dominant.Length != _layers.Values.Length + 1)
            throw new PolicyException($"policy 'visiondrop': dominant has {_dominant.Length} entries for {_layers.Values.Length} layers; it has one before the decoder, and one for each layer");
    }

    public static PolicyInfo Info { get; } = new(
        "visiondrop",
        "VisionZip before the decoder, and again in stages within it, by what visual tokens see of each other",
        "VisionDrop, arXiv 2506.22283",
        [
            new("dominant", "42/30/22/16", "counts: before the decoder, then for each layer", "tokens that stay of each picture, the class token counted"),
            new("contextual", "6/5/4/3", "as many counts", "tokens that the others become"),
            new("layers", "8/16/24", "layers, ascending, as 8/16/24", "where tokens leave and merge (the default is of 32 layers, scaled to the model's)"),
        ],
        parameters => new VisionDropPolicy(parameters))
    {
        Budget = WriteCounts,
        Page = new()
        {
            Title = "VisionDrop",
            Acts = "before the decoder, then entries of `layers`",
            CompactPositions = true,
            Cache = "in each stage the tokens that are left then; no decoder layer is full",
            Idea = """
                Text may be a poor judge of visual tokens. Let them judge each other, in several stages, and merge what is not
                chosen.
                """,
            Rule = """
                - Before the decoder: VisionZip, with the first of `dominant` and of `contextual`.
                - At the entry of each of `layers`, from that layer's own norm and projections: probabilities of the visual rows as
                  queries over the causal sequence, mean over heads, then over those rows. The `dominant` highest stay.
                - The others become `contextual` rows as in VisionZip, by cosine of this layer's keys (after RoPE, mean over KV
                  heads); what is merged are the hidden rows.
                - Needs a vision tower with a class token (CLIP); a model with another tower is refused.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name =>
        $"visiondrop:dominant={_dominant[0]}/{_layers.Join(_dominant[1..])},contextual={_contextual[0]}/{_layers.Join(_contextual[1..])},layers={_layers}";

    public override PolicyNeeds Needs => PolicyNeeds.ClassAttention | PolicyNeeds.VisionKeys | PolicyNeeds.Similarity | PolicyNeeds.ManyProbes;

    public override bool SizesAreKnown => false;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans =>
        [new(-1, -1, PolicyEffect.Merge), .. _layers.Values.Select(layer => new PolicySpan(layer, layer, PolicyEffect.Select))];

    public override void Bind(PolicyModel model)
    {
        VisionZipPolicy.RequireClassToken("visiondrop", model);
        _layers.Bind(model);
    }

    public override void InVisionLayer(VisionState state)
    {
        if (state.Block == state.Blocks - 1)
            _merge = VisionZipPolicy.Choose(state, _dominant[0], _contextual[0]);
        else if (state.Block == state.Blocks)
            state.Merge(_merge!);
    }

    public override void BeforeLayer(ScheduleState state)
    {
        int stage = Array.IndexOf(_layers.Values, state.Layer);
        int[] rows = state.VisualRowNumbers();
        if (stage < 0 || rows.Length == 0)
            return;
        int place = _layers.Places[stage] + 1;
        state.ProbeEntry(rows);
        float[] attention = state.RowScores.ToArray();
        float[] scores = [.. rows.Select(row => attention[row])];
        int[] labels = state.VisualLabels();
        var builder = new RowMapBuilder();
        var made = new List<int>();

        // Each picture by itself: its rows are neighbours.
        for (int first = 0; first < rows.Length;)
        {
            int end = first + 1;
            while (end < rows.Length && state.Rows.ImageOf(rows[end]) == state.Rows.ImageOf(rows[first]))
                end++;
            Choose(state, rows, scores, labels, first, end, _dominant[place], _contextual[place], builder, made);
            first = end;
        }

        state.MergeVisual(builder.Build(), [.. made]);
    }

    private static void Choose(
        ScheduleState state, int[] rows, float[] scores, int[] labels, int first, int end, int dominant, int contextual, RowMapBuilder builder,
        List<int> made)
    {
        int[] ids = [.. Enumerable.Range(first, end - first)];
        float[] own = scores[first..end];
        int[] top = [.. Selection.Top(own, dominant).Select(i => first + i)];
        state.Record(
            ScheduleEventKind.Measure, "attention from the visual rows in the coming layer, by place", ids, own, top, Selection.Margin(ids, own, top));
        var merge = ContextualMerge.Make(
            [.. ids.Except(top)], contextual,
            (others, targets) => state.Similarity(RowSpace.EntryKeys, [.. others.Select(i => rows[i])], [.. targets.Select(i => rows[i])]));
        state.Record(
            ScheduleEventKind.Measure, "contextual: cosine to the target joined, by place", merge.Others, merge.Cosines, merge.Targets, merge.Lead);
        RowMap map = merge.Map(top);
        for (int row = 0; row < map.Rows; row++)
            builder.Add(Enumerable.Range(map.Offsets[row], map.Offsets[row + 1] - map.Offsets[row]).Select(entry => (map.Sources[entry], map.Weights[entry])));
        made.AddRange(top.Select(i => labels[i]));
        made.AddRange(Enumerable.Repeat(ScheduleState.MergedLabel, merge.Targets.Length));
    }

    // The budget: the published 42/30/22/16 and 6/5/4/3, in proportion.
    private static string WriteCounts(PolicyBudget budget)
    {
        double[] dominant = [42, 30, 22, 16];
        double[] contextual = [6, 5, 4, 3];
        (int Dominant, int Contextual)[] stages =
        [
            .. Enumerable.Range(0, budget.Given.Integers("layers", 0).Length + 1).Select(stage => Math.Min(stage, dominant.Length - 1)).Select(stage =>
            {
                int all = budget.CountOf(budget.Share * (dominant[stage] + contextual[stage]) / (dominant[0] + contextual[0]));
                int first = Math.Max(1, (int)Math.Round(all * dominant[stage] / (dominant[stage] + contextual[stage])));
                return (first, all - first);
            }),
        ];
        return $"dominant={string.Join('/', stages.Select(stage => stage.Dominant))},contextual={string.Join('/', stages.Select(stage => stage.Contextual))}";
    }
}

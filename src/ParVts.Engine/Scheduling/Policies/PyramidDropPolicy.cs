namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// PyramidDrop (arXiv 2410.17247): at the entry of some layers the visual rows stay that the last row looks at most there, by that
/// layer's own norm and projections (softmax over all keys, mean over heads). Shares are of the first number of visual rows and round
/// down; positions are renumbered.
/// </summary>
internal sealed class PyramidDropPolicy : VisualTokenPolicy
{
    private const string ScoreName = "attention of the last row, in the coming layer";

    private readonly LayersParameter _layers;
    private readonly double[] _keep;
    private int _first;

    private PyramidDropPolicy(PolicyParameters parameters)
    {
        _layers = new LayersParameter(parameters, "pyramiddrop", "layers", minimum: 0, ascending: true);
        _keep = parameters.Amounts("keep");
        parameters.RequireSameCount("layers", _layers.Values.Length, "keep", _keep.Length);
    }

    public static PolicyInfo Info { get; } = new(
        "pyramiddrop",
        "drops visual tokens in stages, each time those that the last row looks at least in the coming layer",
        "PyramidDrop, arXiv 2410.17247",
        [
            new("layers", "8/16/24", "layers, ascending, as 8/16/24", "where tokens leave (the default is of 32 layers, scaled to the model's)"),
            new("keep", "0.5/0.25/0.125", "for each layer a count, or a share below 1 of all visual tokens, rounded down", "visual tokens that stay"),
        ],
        parameters => new PyramidDropPolicy(parameters))
    {
        Budget = budget => "keep=" + budget.Counts("layers", stage => budget.CountOf(Math.Pow(budget.Share, stage + 1))),
        Page = new()
        {
            Title = "PyramidDrop",
            Acts = "entries of `layers`",
            CompactPositions = true,
            Cache = "full before the first of `layers`, then less in each stage",
            Idea = """
                Visual tokens become redundant layer by layer; so drop them in stages, late stages more.
                """,
            Rule = """
                - At the entry of each of `layers` the last row's query and all keys are computed by that layer's own norm and
                  projections, with the positions so far; softmax over all keys, mean over heads.
                - The visual rows of highest mean stay: the share of `keep`, of all visual tokens at the beginning, rounded down.
                """,
            Ours = "Counts in place of shares.",
            Licence = "the authors' code: MIT",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"pyramiddrop:layers={_layers},keep={_layers.Join(_keep)}";

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [.. _layers.Values.Select(layer => new PolicySpan(layer, layer, PolicyEffect.Select))];

    public override void Bind(PolicyModel model) => _layers.Bind(model);

    public override void OnVisionTokens(ScheduleState state) => _first = state.Rows.CountOf(RowRole.Visual);

    public override void BeforeLayer(ScheduleState state)
    {
        int stage = Array.IndexOf(_layers.Values, state.Layer);
        int visual = state.Rows.CountOf(RowRole.Visual);
        if (stage < 0 || visual == 0)
            return;
        double amount = _keep[_layers.Places[stage]];
        int keep = Math.Min(visual, (int)(amount < 1 ? _first * amount : amount));
        state.ProbeEntry(state.Rows.Count - 1);
        state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual, keep)], ScoreName);
    }
}

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// FastV (arXiv 2403.06764): at the entry of one layer the visual rows stay that the last row looked at most in the layer
/// before (softmax over all keys, mean over heads).
/// </summary>
internal sealed class FastVPolicy : VisualTokenPolicy
{
    private const string ScoreName = "attention of the last row, one layer before";

    private readonly LayerParameter _layer;
    private readonly TokenBudget _keep;
    private int _rowTile = 1;

    private FastVPolicy(PolicyParameters parameters)
    {
        _layer = new LayerParameter(parameters, "fastv", "layer", minimum: 1);
        _keep = parameters.Budget("keep");
    }

    public static PolicyInfo Info { get; } = new(
        "fastv",
        "keeps the visual tokens that the last row looks at most, from one layer on",
        "FastV, arXiv 2403.06764",
        [
            new("layer", "3", "a layer, from 1 to the last", "from whose entry on the others are gone (the default is of 32 layers, scaled to the model's)"),
            new("keep", "0.5", TokenBudget.Allowed, "visual tokens that stay, all pictures together"),
        ],
        parameters => new FastVPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "FastV",
            Acts = "entry of `layer`",
            Cache = "full before `layer`, then the tokens that stay",
            Idea = """
                Behind the first layers, most visual tokens get hardly any attention. Those that the end of the prompt looks at say
                what matters.
                """,
            Rule = """
                - In layer `layer`−1 the last prompt row's probabilities over all keys are averaged over heads.
                - At the entry of `layer` the `keep` visual rows of highest average stay, in raster order.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: no licence is given, and nothing is taken from it",
            Checked = "the authors' code: same choices, rows and logits, of the prefill",
        },
    };

    public override string Name => $"fastv:layer={_layer.Value},keep={_keep}";

    public override IReadOnlyList<PolicySpan> Spans => [new(_layer.Value, _layer.Value, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        _layer.Bind(model);
        _rowTile = model.RowTile;
    }

    public override void BeforeLayer(ScheduleState state)
    {
        int visual = state.Rows.CountOf(RowRole.Visual);
        if (visual == 0)
            return;
        if (state.Layer == _layer.Value - 1)
            state.Probe(state.Rows.Count - 1);
        else if (state.Layer == _layer.Value)
            state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual, _keep.Count(visual, state.Rows.Count - visual, _rowTile))], ScoreName);
    }
}

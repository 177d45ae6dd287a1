namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// DivPrune (arXiv 2503.02175): before the decoder, a greedy max-min choice over the cosine distances of the projected tokens; the
/// first is the token farthest from its nearest neighbour. Positions are renumbered.
/// </summary>
internal sealed class DivPrunePolicy : VisualTokenPolicy
{
    private readonly TokenBudget _keep;
    private int _rowTile = 1;

    private DivPrunePolicy(PolicyParameters parameters) => _keep = parameters.Budget("keep");

    public static PolicyInfo Info { get; } = new(
        "divprune",
        "keeps the visual tokens that differ most from each other; the others never enter the decoder",
        "DivPrune, arXiv 2503.02175",
        [new("keep", "0.098", TokenBudget.Allowed, "visual tokens that stay, all pictures together")],
        parameters => new DivPrunePolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "DivPrune",
            Acts = "before the decoder",
            CompactPositions = true,
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                Importance scores keep many tokens that say the same. Choose the most different ones, and nothing is left without a
                near relative.
                """,
            Rule = """
                - Distances are 1 less the cosine of projected visual tokens. The first token is the one farthest from its nearest
                  neighbour; each next one is the token whose nearest chosen one is farthest, until `keep` are chosen. They stay in
                  raster order.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: a non-commercial licence, and nothing is taken from it",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"divprune:keep={_keep}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _rowTile = model.RowTile;

    public override void OnVisionTokens(ScheduleState state)
    {
        int[] rows = state.VisualRowNumbers();
        if (rows.Length == 0)
            return;
        int keep = _keep.Count(rows.Length, state.Rows.Count - rows.Length, _rowTile);
        float[] similarity = state.Similarity(RowSpace.Hidden, rows, rows);
        MaxMin.Choose(similarity, rows.Length, [], keep).Keep(state, [], "max-min picks, in order: distance to the nearest before");
    }
}

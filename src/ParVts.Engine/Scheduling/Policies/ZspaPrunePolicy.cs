namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ZSPAPrune (arXiv 2510.17197): before the decoder, a core of tokens nearest to the mean embedding of the prompt's text, and the rest by
/// a greedy max-min choice that begins with it. Which rows are the prompt (those after the picture), and the core's share, are ours.
/// </summary>
internal sealed class ZspaPrunePolicy : VisualTokenPolicy
{
    private readonly TokenBudget _keep;
    private readonly double _core;
    private readonly string _coreText;
    private int _rowTile = 1;

    private ZspaPrunePolicy(PolicyParameters parameters)
    {
        _keep = parameters.Budget("keep");
        _core = parameters.Number("core", 0, 1);
        _coreText = parameters.Text("core");
    }

    public static PolicyInfo Info { get; } = new(
        "zspaprune",
        "keeps the visual tokens nearest to the prompt, and others that differ most from them; the rest never enter the decoder",
        "ZSPAPrune, arXiv 2510.17197",
        [
            new("keep", "64", TokenBudget.Allowed, "visual tokens that stay, all pictures together"),
            new("core", "0.6", "a share from 0 to 1", "of them, those chosen by the prompt (ours)"),
        ],
        parameters => new ZspaPrunePolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "ZSPAPrune",
            Acts = "before the decoder",
            CompactPositions = true,
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                Some tokens for what is asked, the others for what the picture holds beside it.
                """,
            Rule = """
                - The core: the round(`core`·`keep`) visual tokens of highest cosine to the mean embedding of the rows behind the
                  picture.
                - The others are added greedily, each time the token whose nearest chosen one is farthest (cosine distance), until
                  `keep` are chosen. They stay in raster order.
                """,
            Ours = "Which rows are the prompt (those behind the picture), and the share `core=0.6`.",
            Licence = "no code of the authors was at hand",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"zspaprune:keep={_keep},core={_coreText}";

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
        float[] relevance = state.SimilarityToMean(rows, state.TextRowNumbers());
        float[] similarity = state.Similarity(RowSpace.Hidden, rows, rows);
        int[] labels = state.VisualLabels();
        int[] core = Selection.Top(relevance, (int)Math.Round(_core * keep));
        int[] coreLabels = [.. core.Select(place => labels[place])];
        state.Record(
            ScheduleEventKind.Measure, "cosine to the prompt's mean embedding", labels, relevance, coreLabels, Selection.Margin(relevance, core));
        MaxMin.Choose(similarity, rows.Length, core, keep)
            .Keep(state, core, "max-min picks after the core, in order: distance to the nearest before");
    }
}

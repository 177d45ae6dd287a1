namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Keeps every N/keep-th visual token in raster order, from the first on; the others never enter the decoder.</summary>
internal sealed class GridPolicy : VisualTokenPolicy
{
    private readonly VisualChoice _choice;

    private GridPolicy(PolicyParameters parameters) => _choice = new VisualChoice(parameters);

    public static PolicyInfo Info { get; } = new(
        "grid",
        "keeps visual tokens at even distances; the others never enter the decoder",
        "a baseline (ours)",
        VisualChoice.Parameters,
        parameters => new GridPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "Even grid",
            Acts = "before the decoder",
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                A picture at lower resolution: often hard to beat where a question asks about anything in it.
                """,
            Rule = """
                - Of N visual tokens in raster order, those at `⌊i·N÷keep⌋` stay, for i from 0 to `keep`−1.
                """,
            Ours = "All of it: a baseline.",
            Licence = "ours",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"grid:keep={_choice.Keep}{_choice.Suffix}";

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _choice.Bind(model);

    public override void OnVisionTokens(ScheduleState state)
    {
        if (state.Rows.CountOf(RowRole.Visual) == 0)
            return;
        state.Keep(_choice.Choose(state, (first, count, keep) =>
        {
            int[] kept = new int[keep];
            for (int i = 0; i < keep; i++)
                kept[i] = first + (int)((long)i * count / keep);
            return kept;
        }));
    }
}

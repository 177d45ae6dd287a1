namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Keeps the visual tokens that ParVTS would call the subject, and drops the others before the decoder.</summary>
internal sealed class ClassPrunePolicy : VisualTokenPolicy
{
    private readonly VisualChoice _choice;

    private ClassPrunePolicy(PolicyParameters parameters) => _choice = new VisualChoice(parameters);

    public static PolicyInfo Info { get; } = new(
        "cls-prune",
        "keeps the visual tokens that the vision tower's class token looks at most; the others never enter the decoder",
        "the criterion of ParVTS, arXiv 2511.18875, as a baseline (ours)",
        VisualChoice.Parameters,
        parameters => new ClassPrunePolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "Class-token pruning",
            Acts = "before the decoder",
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                ParVTS's criterion without its second path: the difference between the two is what the second path gains.
                """,
            Rule = """
                - The `keep` patches that the class token looks at most (`a_j` of `parvts`) enter the decoder; the others never do.
                  It equals `parvts` with `migrate=0`.
                """,
            Ours = """
                All of it: a baseline. Without a class token (SigLIP) the mean attention that a patch receives ranks the patches.
                """,
            Licence = "ours",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"cls-prune:keep={_choice.Keep}{_choice.Suffix}";

    public override PolicyNeeds Needs => PolicyNeeds.ClassAttention;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _choice.Bind(model);

    public override void OnVisionTokens(ScheduleState state)
    {
        if (state.Rows.CountOf(RowRole.Visual) > 0)
            state.KeepHighest(TokenScore.ClassAttention, _choice.Groups(state), ParVtsPolicy.ScoreName);
    }
}

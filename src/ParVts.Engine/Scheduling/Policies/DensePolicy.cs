namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Keeps every visual token in every layer: what the others are compared with.</summary>
internal sealed class DensePolicy : VisualTokenPolicy
{
    public static PolicyInfo Info { get; } = new(
        "dense",
        "keeps every visual token in every layer",
        "LLaVA-1.5, arXiv 2310.03744",
        [],
        _ => new DensePolicy())
    {
        Page = new()
        {
            Title = "Dense",
            Acts = "nowhere",
            Cache = "every visual token in every layer",
            Idea = """
                The model as it was trained: what every other policy is compared with.
                """,
            Rule = """
                - Every row is computed in every layer, and sees every row before it.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "Hugging Face's LLaVA: same logits and tokens",
        },
    };

    public override string Name => "dense";

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, int.MaxValue, PolicyEffect.KeepAll)];
}

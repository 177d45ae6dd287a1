namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Keeps every visual token in every layer: what the others are compared with.</summary>
internal sealed class DensePolicy : VisualTokenPolicy
{
    public static PolicyInfo Info { get; } = new(
        "dense",
        "keeps every visual token in every layer",
        "LLaVA-1.5, arXiv 2310.03744",
        [],
        _ => new DensePolicy());

    public override string Name => "dense";

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, int.MaxValue, PolicyEffect.KeepAll)];
}

namespace ParVts.Engine.Scheduling;

/// <summary>
/// Policies one after another (contract P1). Each hook is called in the order in which the policies were written;
/// stacks whose decisions contradict each other are refused. Policies that run two paths come first all the same: what others
/// name are the rows that are left of them.
/// </summary>
internal sealed class PolicyStack(VisualTokenPolicy[] policies) : VisualTokenPolicy
{
    private VisualTokenPolicy[]? _inTurn;

    public override string Name => string.Join("+", policies.Select(policy => policy.Name));

    public override PolicyNeeds Needs => policies.Aggregate(PolicyNeeds.None, (needs, policy) => needs | policy.Needs);

    public override bool SizesAreKnown => policies.All(policy => policy.SizesAreKnown);

    public override bool CompactPositions => Array.Exists(policies, static policy => policy.CompactPositions);

    public override IReadOnlyList<PolicySpan> Spans => [.. policies.SelectMany(policy => policy.Spans)];

    public override void Bind(PolicyModel model)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.Bind(model);
        if (policies.Any(policy => policy.CompactPositions) && policies.Any(policy => !policy.CompactPositions && policy.Spans.Any(TakesRows)))
            throw new PolicyException($"'{Name}': some of these policies keep rotary positions, others make them run without gaps; they cannot be stacked");
        for (int i = 0; i < policies.Length; i++)
        {
            for (int j = 0; j < policies.Length; j++)
            {
                if (i != j)
                    RequireTogether(policies[i], policies[j], i < j);
            }
        }

        _inTurn = [.. policies.OrderBy(policy => policy.Spans.Any(span => span.Effect == PolicyEffect.Paths) ? 0 : 1)];
    }

    public override void InVisionLayer(VisionState state)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.InVisionLayer(state);
    }

    public override void OnVisionTokens(ScheduleState state)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.OnVisionTokens(state);
    }

    public override void BeforeLayer(ScheduleState state)
    {
        foreach (VisualTokenPolicy policy in _inTurn ?? policies)
            policy.BeforeLayer(state);
    }

    public override bool PlansSteps => Array.Exists(policies, static policy => policy.PlansSteps);

    // Asked at every step: no closure.
    public override bool ProbesStep(int step)
    {
        bool probes = false;
        foreach (VisualTokenPolicy policy in policies)
            probes |= policy.ProbesStep(step);
        return probes;
    }

    public override void PlanStep(int layer, DecodeState state, Compute.AttentionPlan plan)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.PlanStep(layer, state, plan);
    }

    public override void OnDecodeStep(DecodeState state)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.OnDecodeStep(state);
    }

    private static bool TakesRows(PolicySpan span) => span.Effect is not (PolicyEffect.View or PolicyEffect.Measure);

    private static void RequireTogether(VisualTokenPolicy first, VisualTokenPolicy second, bool inOrder)
    {
        foreach (PolicySpan a in first.Spans)
        {
            foreach (PolicySpan b in second.Spans)
            {
                if (Contradiction(first.Name, a, second, b, inOrder) is string reason)
                    throw new PolicyException($"policies '{first.Name}' and '{second.Name}' contradict each other: {reason}");
            }
        }
    }

    // What is the same both ways is looked at in order alone.
    private static string? Contradiction(string first, PolicySpan a, VisualTokenPolicy second, PolicySpan b, bool inOrder) => (a.Effect, b.Effect) switch
    {
        (PolicyEffect.KeepAll, _) => $"'{first}' keeps every visual token",
        (PolicyEffect.Paths, PolicyEffect.Paths) => "both split the visual tokens into paths",
        (PolicyEffect.Paths, _) when b.From >= a.From && b.From <= a.To =>
            $"'{second.Name}' acts {Place(b.From)}, while the paths of '{first}' run until layer {a.To}; let it act later",
        (PolicyEffect.Merge, PolicyEffect.Merge) => "both merge rows in the vision tower",
        (PolicyEffect.Merge, PolicyEffect.Select or PolicyEffect.Paths) when second.Needs.HasFlag(PolicyNeeds.ClassAttention) =>
            $"'{first}' merges the patches that '{second.Name}' would rank",
        (PolicyEffect.Leave, _) when b.From >= a.From =>
            $"'{second.Name}' acts {Place(b.From)}, when '{first}' has taken every visual token out",
        (PolicyEffect.Leave, PolicyEffect.Select) when b.To >= a.From => $"'{second.Name}' may still choose at layer {a.From}, when '{first}' takes every visual token out",
        (PolicyEffect.Select, PolicyEffect.Select) when inOrder && a.From <= b.To && b.From <= a.To => $"both choose {Place(Math.Max(a.From, b.From))}",
        (PolicyEffect.Grid, PolicyEffect.Merge or PolicyEffect.Select) when b.From < a.To =>
            $"'{second.Name}' acts {Place(b.From)}, where '{first}' lets visual tokens see their neighbours in the whole grid",
        (PolicyEffect.View or PolicyEffect.Grid, PolicyEffect.View or PolicyEffect.Grid) when inOrder && a.From < b.To && b.From < a.To =>
            $"both change how layer {Math.Max(a.From, b.From)} sees or computes visual tokens",
        _ => null,
    };

    private static string Place(int layer) => layer < 0 ? "before the decoder" : $"at layer {layer}";
}

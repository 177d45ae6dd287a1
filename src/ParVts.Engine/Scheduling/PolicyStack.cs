namespace ParVts.Engine.Scheduling;

/// <summary>
/// Policies one after another (contract P1). Each hook is called in the order in which the policies were written;
/// stacks whose decisions contradict each other are refused.
/// </summary>
internal sealed class PolicyStack(VisualTokenPolicy[] policies) : VisualTokenPolicy
{
    public override string Name => string.Join("+", policies.Select(policy => policy.Name));

    public override PolicyNeeds Needs => policies.Aggregate(PolicyNeeds.None, (needs, policy) => needs | policy.Needs);

    public override bool SizesAreKnown => policies.All(policy => policy.SizesAreKnown);

    public override bool CompactPositions => Array.Exists(policies, static policy => policy.CompactPositions);

    public override IReadOnlyList<PolicySpan> Spans => [.. policies.SelectMany(policy => policy.Spans)];

    public override void Bind(PolicyModel model)
    {
        foreach (VisualTokenPolicy policy in policies)
            policy.Bind(model);
        if (policies.Any(policy => policy.CompactPositions) && policies.Any(policy => !policy.CompactPositions && policy.Spans.Count > 0))
            throw new PolicyException($"'{Name}': some of these policies keep rotary positions, others make them run without gaps; they cannot be stacked");
        for (int i = 0; i < policies.Length; i++)
        {
            for (int j = 0; j < policies.Length; j++)
            {
                if (i != j)
                    RequireTogether(policies[i], policies[j], i < j);
            }
        }
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
        foreach (VisualTokenPolicy policy in policies)
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

    private static void RequireTogether(VisualTokenPolicy first, VisualTokenPolicy second, bool inOrder)
    {
        foreach (PolicySpan a in first.Spans)
        {
            foreach (PolicySpan b in second.Spans)
            {
                string? reason = (a.Effect, b.Effect) switch
                {
                    (PolicyEffect.KeepAll, _) => $"'{first.Name}' keeps every visual token",
                    (PolicyEffect.Paths, PolicyEffect.Paths) => "both split the visual tokens into paths",
                    (PolicyEffect.Paths, _) when b.From >= a.From && b.From <= a.To =>
                        $"'{second.Name}' acts {Place(b.From)}, while the paths of '{first.Name}' run until layer {a.To}; let it act later",
                    (PolicyEffect.Merge, PolicyEffect.Select or PolicyEffect.Paths) when second.Needs.HasFlag(PolicyNeeds.ClassAttention) =>
                        $"'{first.Name}' merges the patches that '{second.Name}' would rank",
                    (PolicyEffect.Leave, _) when b.From >= a.From =>
                        $"'{second.Name}' acts {Place(b.From)}, when '{first.Name}' has taken every visual token out",
                    (PolicyEffect.Select, PolicyEffect.Select) when inOrder && a.From == b.From => $"both choose {Place(a.From)}",
                    _ => null,
                };
                if (reason is not null)
                    throw new PolicyException($"policies '{first.Name}' and '{second.Name}' contradict each other: {reason}");
            }
        }
    }

    private static string Place(int layer) => layer < 0 ? "before the decoder" : $"at layer {layer}";
}

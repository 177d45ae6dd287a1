using ParVts.Engine.Compute;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>A decode step that a policy looks into: what its row sees, and what is measured of that, layer by layer.</summary>
internal sealed class WatchedStep(VisualTokenPolicy policy, DecodeState state, bool probes)
{
    private int _layer;

    /// <summary>The row's attention is measured.</summary>
    public bool Probes => probes;

    /// <summary>What the row sees in the layer.</summary>
    public AttentionPlan Plan { get; } = new();

    /// <summary>Steps to a layer whose store holds so many rows, the step's own not counted.</summary>
    public void Enter(int layer, int length)
    {
        _layer = layer;
        Plan.Clear();
        Plan.AddSegment(0, 1);
        Plan.AddRange(new KeyRange(0, length + 1, KeyRule.Full));
        if (policy.PlansSteps)
            policy.PlanStep(layer, state, Plan);
    }

    /// <summary>The layer's probabilities.</summary>
    public void Receive(float[] probabilities) => state.SetAttention(_layer, probabilities);
}

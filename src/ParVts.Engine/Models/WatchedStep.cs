using ParVts.Engine.Compute;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>Decode steps that a policy looks into: what a step's row sees, and what is measured of that, layer by layer.</summary>
internal sealed class WatchedStep
{
    private VisualTokenPolicy _policy = null!;
    private DecodeState _state = null!;
    private int _layer;

    /// <summary>The row's attention is measured.</summary>
    public bool Probes { get; private set; }

    /// <summary>The row does not simply see every key: <see cref="Plan"/> says what it sees.</summary>
    public bool Plans => _policy.PlansSteps;

    /// <summary>What the row sees in the layer.</summary>
    public AttentionPlan Plan { get; } = new();

    /// <summary>Begins a step.</summary>
    public void Begin(VisualTokenPolicy policy, DecodeState state, bool probes)
    {
        _policy = policy;
        _state = state;
        Probes = probes;
    }

    /// <summary>Steps to a layer whose store holds so many rows, the step's own not counted.</summary>
    public void Enter(int layer, int length)
    {
        _layer = layer;
        Plan.Clear();
        Plan.AddSegment(0, 1);
        Plan.AddRange(new KeyRange(0, length + 1, KeyRule.Full));
        if (Plans)
            _policy.PlanStep(layer, _state, Plan);
    }

    /// <summary>Where the layer's probabilities go, one for each of its rows.</summary>
    public Span<float> Probabilities(int rows) => _state.BeginAttention(_layer, rows);
}

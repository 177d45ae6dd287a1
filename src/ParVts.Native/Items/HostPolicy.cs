using ParVts.Engine;
using ParVts.Engine.Scheduling;

namespace ParVts.Native.Items;

/// <summary>Which visual tokens stay, as the host says.</summary>
/// <param name="layer">The layer at whose entry it is asked.</param>
/// <param name="layers">The model's layers.</param>
/// <param name="tokens">The visual tokens that are there.</param>
/// <param name="scores">The attention that each of them got from the last row in the layer before; empty where it was not asked for.</param>
/// <returns>For each of them, whether it stays.</returns>
internal delegate bool[] KeepDecision(int layer, int layers, ReadOnlySpan<int> tokens, ReadOnlySpan<float> scores);

/// <summary>A policy whose decisions a host makes, layer by layer. Serves one session.</summary>
internal sealed class HostPolicy(KeepDecision decide, bool asksScores) : VisualTokenPolicy
{
    private int _layers = 1;

    public override string Name => "host";

    // What the host decides is not known before it is asked.
    public override bool SizesAreKnown => false;

    public override IReadOnlyList<PolicySpan> Spans => [new PolicySpan(0, _layers, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _layers = model.Layers;

    public override void BeforeLayer(ScheduleState state)
    {
        int[] alive = state.AliveVisual();
        if (alive.Length == 0)
            return;
        float[] scores = asksScores && state.Layer > 0 ? ScoresOf(state) : [];
        bool[] stays = decide(state.Layer, state.Layers, alive, scores);
        int[] kept = [.. Enumerable.Range(0, alive.Length).Where(place => stays[place]).Select(place => alive[place])];
        if (kept.Length < alive.Length)
            state.Keep(kept, "the host's decision", alive, scores);
        if (asksScores && kept.Length > 0)
            state.Probe(state.Rows.Count - 1);
    }

    private static float[] ScoresOf(ScheduleState state) =>
        [.. state.VisualRowNumbers().Select(row => state.RowScores[row])];
}

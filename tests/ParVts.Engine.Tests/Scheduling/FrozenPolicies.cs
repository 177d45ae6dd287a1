using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>Keeps the visual tokens that ParVTS would call the rest: its second path, as a run of its own.</summary>
internal sealed class ComplementPolicy(IReadOnlyList<int> subject) : VisualTokenPolicy
{
    public override string Name => "complement";

    public override IReadOnlyList<PolicySpan> Spans => [];

    public override void OnVisionTokens(ScheduleState state) => state.Keep([.. state.AliveVisual().Except(subject)]);
}

/// <summary>
/// Does again what a trace says, whatever the scores are now: for replaying a run over a longer text. Question rows
/// beyond those of the trace belong to path A alone.
/// </summary>
internal sealed class FrozenPolicy(IReadOnlyList<ScheduleEvent> events, int questionRows) : VisualTokenPolicy
{
    public override string Name => "frozen";

    public override IReadOnlyList<PolicySpan> Spans => [];

    public override void OnVisionTokens(ScheduleState state) => Repeat(state, 0);

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer > 0)
            Repeat(state, state.Layer);
    }

    private void Repeat(ScheduleState state, int layer)
    {
        foreach (ScheduleEvent done in events.Where(e => e.Layer == layer))
        {
            if (done.Kind == ScheduleEventKind.Split)
                state.Split([.. done.Subject!]);
            else if (done.Kind == ScheduleEventKind.Fuse)
                state.Fuse(Weights(state, done));
            else
                state.Keep([.. done.Kept]);
        }
    }

    private float[] Weights(ScheduleState state, ScheduleEvent done)
    {
        int rows = 0;
        for (int row = 0; row < state.Rows.Count; row++)
            rows += state.Rows.Paths[row] == RowPath.Subject && state.Rows.Rows[row].Role == RowRole.Text ? 1 : 0;
        float[] weights = new float[rows];
        Array.Fill(weights, 1f);
        for (int i = 0; i < questionRows; i++)
            weights[i] = done.Weights.Count == 1 ? done.Weights[0] : done.Weights[i];
        return weights;
    }
}

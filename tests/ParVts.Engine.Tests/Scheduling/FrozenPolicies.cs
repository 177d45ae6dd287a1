using ParVts.Engine.Compute;
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
internal sealed class FrozenPolicy(IReadOnlyList<ScheduleEvent> events, int questionRows, bool compact = false) : VisualTokenPolicy
{
    public override string Name => "frozen";

    public override bool CompactPositions => compact;

    public override IReadOnlyList<PolicySpan> Spans => [];

    // Before the decoder and at its first layer are one place in a trace; in both, rows are the same ones.
    public override void OnVisionTokens(ScheduleState state) => Repeat(state, 0);

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer > 0)
            Repeat(state, state.Layer);
    }

    private void Repeat(ScheduleState state, int layer)
    {
        ScheduleEvent[] moves = [.. events.Where(e => e.Layer == layer && e.Kind is not (ScheduleEventKind.Measure or ScheduleEventKind.Merge))];
        foreach (ScheduleEvent done in moves)
        {
            if (done.Kind == ScheduleEventKind.Split)
                state.Split([.. done.Subject!]);
            else if (done.Kind == ScheduleEventKind.Fuse)
                state.Fuse(Weights(state, done));
            else if (done == moves[^1])
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

/// <summary>
/// Does again what a trace of VisiPruner says: shallow layers are masked for the prompt's rows, those behind it see every key that the
/// layer still holds for decoding.
/// </summary>
internal sealed class FrozenVisiPruner(ScheduleTrace trace, int shallow, bool maskAll, bool dropsShallow) : VisualTokenPolicy
{
    private readonly FrozenPolicy _moves = new([.. trace.Events], trace.Text);
    private readonly int _prompt = trace.Prefix + trace.Visual + trace.Text;

    public override string Name => "frozen visipruner";

    public override IReadOnlyList<PolicySpan> Spans => [];

    public override void BeforeLayer(ScheduleState state)
    {
        _moves.BeforeLayer(state);
        if (state.Layer < shallow)
            Mask(state);
    }

    private void Mask(ScheduleState state)
    {
        RowRun[] runs = [.. state.Runs().SelectMany(Split)];
        AttentionPlan plan = state.Plan;
        plan.Clear();
        foreach (RowRun queries in runs)
        {
            plan.AddSegment(queries.Start, queries.End);
            foreach (RowRun keys in runs.TakeWhile(run => run.Start <= queries.Start))
                Add(plan, state, queries, keys, runs.First(run => run.Role == RowRole.Visual).Start);
        }
    }

    private void Add(AttentionPlan plan, ScheduleState state, RowRun queries, RowRun keys, int sink)
    {
        bool later = queries.Start >= _prompt;
        bool visual = keys.Role == RowRole.Visual;
        if (later && visual && dropsShallow)
            return;
        bool masked = visual && !later && (queries.Role != RowRole.Visual || state.Layer == 0 || maskAll);
        ValueRule value = !masked ? ValueRule.Own : state.Layer == 0 && queries.Role == RowRole.Text ? ValueRule.Sink : ValueRule.None;
        plan.AddRange(new KeyRange(keys.Start, keys.End, keys == queries ? KeyRule.Diagonal : KeyRule.Full, value, SinkRow: sink));
    }

    private IEnumerable<RowRun> Split(RowRun run) =>
        run.Start < _prompt && run.End > _prompt ? [run with { End = _prompt }, run with { Start = _prompt }] : [run];
}

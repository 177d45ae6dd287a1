namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ST3 (arXiv 2412.20105), as SCHEDULES.md has it (ours: the publication was not readable): visual rows leave in equal steps of layers by
/// the last row's attention one layer before, and while decoding each layer's cache goes on shrinking by what the steps look at.
/// </summary>
internal sealed class St3Policy : VisualTokenPolicy
{
    private const string ScoreName = "attention of the last row, one layer before";

    private readonly LayerParameter _start;
    private readonly int _stride;
    private readonly double _keep;
    private readonly int _floor;
    private readonly double _anneal;
    private readonly int _every;
    private readonly string _text;
    private int _first;
    private int[] _entered = [];
    private float[] _scores = [];
    private bool[] _leaves = [];
    private int[] _rows = [];

    private St3Policy(PolicyParameters parameters)
    {
        _start = new LayerParameter(parameters, "st3", "start", minimum: 1);
        _stride = parameters.Integer("stride", 1);
        _keep = parameters.Number("keep", 0, 1);
        _floor = parameters.Integer("floor", 0);
        _anneal = parameters.Number("anneal", 0, 1);
        _every = parameters.Integer("every", 1);
        _text = $"stride={_stride},keep={parameters.Text("keep")},floor={_floor},anneal={parameters.Text("anneal")},every={_every}";
    }

    public static PolicyInfo Info { get; } = new(
        "st3",
        "drops visual tokens in equal steps of layers, and thins the cache further while decoding",
        "ST3, arXiv 2412.20105",
        [
            new("start", "4", "a layer, from 1 to the last", "the first layer at whose entry tokens leave (the default is of 32 layers, scaled to the model's)"),
            new("stride", "4", "a whole number of at least 1", "layers from one cut to the next"),
            new("keep", "0.7", "a share from 0 to 1", "at the i-th cut this share, to the power i, of all visual tokens stays, rounded down"),
            new("floor", "16", "a whole number", "never fewer than so many"),
            new("anneal", "0.8", "a share from 0 to 1", "at the i-th thinning this share, to the power i, of a layer's visual keys stays, rounded down"),
            new("every", "4", "a whole number of at least 1", "decode steps from one thinning to the next"),
        ],
        parameters => new St3Policy(parameters))
    {
        Budget = budget => $"keep={PolicyBudget.Number(budget.Share)}",
    };

    public override string Name => $"st3:start={_start.Value},{_text}";

    public override IReadOnlyList<PolicySpan> Spans => [new(_start.Value, _start.Value, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _start.Bind(model);

    public override void OnVisionTokens(ScheduleState state) => _first = state.Rows.CountOf(RowRole.Visual);

    public override void BeforeLayer(ScheduleState state)
    {
        int visual = state.Rows.CountOf(RowRole.Visual);
        if (visual == 0)
            return;
        if (IsCut(state.Layer))
        {
            int cut = (state.Layer - _start.Value) / _stride + 1;
            int keep = Math.Min(visual, Math.Max(_floor, Part(_first, _keep, cut)));
            state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual, keep)], ScoreName);
        }

        if (IsCut(state.Layer + 1))
            state.Probe(state.Rows.Count - 1);
    }

    public override bool ProbesStep(int step) => _first > 0 && step % _every == 0;

    public override void OnDecodeStep(DecodeState state)
    {
        if (state.Step == 0)
        {
            _entered = [.. Enumerable.Range(0, state.Layers).Select(layer => state.VisualRows(layer).Length)];
            return;
        }

        if (!ProbesStep(state.Step))
            return;
        for (int layer = 0; layer < state.Layers; layer++)
        {
            int entered = _entered[layer];
            int keep = Math.Max(Math.Min(_floor, entered), Part(entered, _anneal, state.Step / _every));
            if (keep < state.VisualRows(layer).Length)
                Thin(state, layer, keep);
        }
    }

    private static int Part(int count, double share, int power) => (int)Math.Floor(count * Math.Pow(share, power));

    private bool IsCut(int layer) => layer >= _start.Value && (layer - _start.Value) % _stride == 0;

    private void Thin(DecodeState state, int layer, int keep)
    {
        ReadOnlySpan<int> visual = state.VisualRows(layer);
        ReadOnlySpan<float> attention = state.Attention(layer);
        int rows = state.KvRows(layer);
        Array.Resize(ref _scores, visual.Length);
        for (int i = 0; i < visual.Length; i++)
            _scores[i] = attention[visual[i]];
        Array.Resize(ref _leaves, rows);
        Array.Clear(_leaves);
        foreach (int row in visual)
            _leaves[row] = true;
        foreach (int place in Selection.Top(_scores, keep))
            _leaves[visual[place]] = false;
        Array.Resize(ref _rows, rows - visual.Length + keep);
        for (int row = 0, next = 0; row < rows; row++)
        {
            if (!_leaves[row])
                _rows[next++] = row;
        }

        state.Keep(layer, _rows);
    }
}

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
    private int _layers;
    private int[] _entered = [];
    private float[] _scores = [];
    private ulong[] _scratch = [];
    private int[] _places = [];
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
        Page = new()
        {
            Title = "ST3",
            Acts = "entry of `start` and every `stride` layers on; every `every` decode steps",
            Cache = "a little less in each group of layers, and shrinking while decoding",
            Idea = """
                Visual tokens matter less with every layer and with every token that is written: thin them along both.
                """,
            Rule = """
                - At the i-th cut (i from 1) the last prompt row's probabilities in the layer before, mean over heads, rank the
                  visual rows; max(`floor`, ⌊N·`keep`^i⌋) stay, N being the visual rows that entered the decoder.
                - At every `every`-th decode step, its row computed, each layer ranks its visual keys by that row's own
                  probabilities there, mean over heads. At the i-th thinning max(min(`floor`, G), ⌊G·`anneal`^i⌋) stay, G being the
                  layer's visual keys after the prefill.
                """,
            Ours = "The rule as it stands here and its defaults: the publication was not readable to us.",
            Licence = "no code of the authors was at hand",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"st3:start={_start.Value},{_text}";

    public override IReadOnlyList<PolicySpan> Spans =>
        [.. Enumerable.Range(0, _layers).Where(IsCut).Select(layer => new PolicySpan(layer, layer, PolicyEffect.Select))];

    public override void Bind(PolicyModel model)
    {
        _start.Bind(model);
        _layers = model.Layers;
    }

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
            Array.Resize(ref _entered, state.Layers);
            for (int layer = 0; layer < state.Layers; layer++)
                _entered[layer] = state.VisualRows(layer).Length;
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

    // Once warm this allocates nothing.
    private void Thin(DecodeState state, int layer, int keep)
    {
        ReadOnlySpan<int> visual = state.VisualRows(layer);
        ReadOnlySpan<float> attention = state.Attention(layer);
        int rows = state.KvRows(layer);
        Grow(ref _scores, visual.Length);
        Grow(ref _scratch, visual.Length);
        Grow(ref _places, keep);
        Grow(ref _rows, rows);
        for (int i = 0; i < visual.Length; i++)
            _scores[i] = attention[visual[i]];
        Span<int> stay = _places.AsSpan(0, keep);
        Selection.Top(_scores.AsSpan(0, visual.Length), _scratch.AsSpan(0, visual.Length), stay);
        int left = 0;
        for (int row = 0, place = 0, next = 0; row < rows; row++)
        {
            if (place < visual.Length && visual[place] == row)
            {
                bool stays = next < keep && stay[next] == place;
                place++;
                if (!stays)
                    continue;
                next++;
            }

            _rows[left++] = row;
        }

        state.Keep(layer, _rows.AsMemory(0, left));
    }

    private static void Grow<T>(ref T[] array, int count)
    {
        if (array.Length < count)
            array = new T[Math.Max(count, 2 * array.Length)];
    }
}

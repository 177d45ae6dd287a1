namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// SparseVLM (arXiv 2410.04417), without its recycling: text rows that the picture speaks to rate the visual rows, by their attention in
/// some layers. <c>score=gravity</c> is its second version: probabilities are divided by those of all-ones vectors under RoPE, and only
/// the heads count that look at the picture most.
/// </summary>
internal sealed class SparseVlmPolicy : VisualTokenPolicy
{
    private readonly LayersParameter _layers;
    private readonly int[] _keep;
    private readonly bool _gravity;
    private readonly int _heads;
    private PolicyModel? _model;
    private int[] _raters = [];

    // What stays after each stage, of which a budget keeps the ratios.
    private static readonly double[] s_published = [300, 200, 110];

    private SparseVlmPolicy(PolicyParameters parameters)
    {
        _layers = new LayersParameter(parameters, "sparsevlm", "layers", minimum: 0, ascending: true);
        _keep = parameters.Integers("keep", 1);
        _gravity = parameters.Choice("score", "plain", "gravity") == "gravity";
        _heads = parameters.Integer("heads", 0);
        parameters.RequireSameCount("layers", _layers.Values.Length, "keep", _keep.Length);
        if (_heads > 0 && !_gravity)
            throw parameters.Refuse("heads");
    }

    public static PolicyInfo Info { get; } = new(
        "sparsevlm",
        "lets the text rows that the picture speaks to rate the visual tokens, and drops the lowest in stages",
        "SparseVLM, arXiv 2410.04417 (without its recycling)",
        [
            new("layers", "2/6/15", "layers, ascending, as 2/6/15", "after these tokens leave (the default is of 32 layers, scaled to the model's)"),
            new("keep", "300/200/110", "for each layer a count", "visual tokens that stay; always at least one leaves"),
            new("score", "plain", "plain or gravity", "gravity takes the pull of mere distance out of the ratings (the second version)"),
            new("heads", "0", "a whole number; above 0 only with score=gravity", "of the heads only so many that look at the picture most; 0 for all"),
        ],
        parameters => new SparseVlmPolicy(parameters))
    {
        Budget = budget => "keep=" + budget.Counts("layers", stage => budget.CountOf(budget.Share * s_published[Math.Min(stage, s_published.Length - 1)] / s_published[^1])),
        Page = new()
        {
            Title = "SparseVLM",
            Acts = "entries of the layers after `layers`",
            Cache = "full up to the first of `layers`, then less in each stage",
            Idea = """
                Not all text asks about the picture. The words that do should rate the visual tokens.
                """,
            Rule = """
                - Raters are chosen once, on the rows that enter layer 0: softmax over text rows of each visual row's products with
                  them (unscaled), mean over visual rows; text rows strictly above the mean rate.
                - In each of `layers`: the raters' probabilities, mean over heads, then over raters. At the next layer's entry
                  min(`keep`, present−1) visual rows of highest score stay.
                - `score=gravity`, the second version: each probability is divided by q·k÷√head_dim of all-ones vectors under RoPE
                  at the two positions, and only the `heads` heads with most of that on visual tokens count.
                - Published, `keep` by mean number of tokens: 300/200/110 (192), 303/110/36 (128), 66/30/17 (64); second version
                  with `heads=14`: 300/200/118, 238/108/60, 66/34/20.
                """,
            Ours = """
                Left out: the recycling of the first version (clustering with random noise) and its compact positions. Where no text
                row stands out, the last one rates.
                """,
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits, without recycling",
        },
    };

    public override string Name =>
        $"sparsevlm:layers={_layers},keep={_layers.Join(_keep)}"
        + (_gravity ? $",score=gravity,heads={_heads}" : "");

    public override PolicyNeeds Needs => PolicyNeeds.Similarity | PolicyNeeds.ManyProbes | (_gravity ? PolicyNeeds.HeadScores : PolicyNeeds.None);

    public override IReadOnlyList<PolicySpan> Spans =>
    [
        // Its raters are chosen among the text rows that enter the decoder.
        new(0, 0, PolicyEffect.Measure), .. _layers.Values.Select(layer => new PolicySpan(layer + 1, layer + 1, PolicyEffect.Select)),
    ];

    public override void Bind(PolicyModel model)
    {
        _layers.Bind(model);
        _model = model;
        if (_heads > model.Heads)
            throw new PolicyException($"policy 'sparsevlm': heads={_heads} is more than the model has; heads is 0 to {model.Heads} here");
    }

    public override void OnVisionTokens(ScheduleState state) => _raters = [];

    public override void BeforeLayer(ScheduleState state)
    {
        int[] visual = state.VisualRowNumbers();
        if (visual.Length == 0)
            return;
        if (state.Layer == 0)
            ChooseRaters(state, visual);
        int stage = Array.IndexOf(_layers.Values, state.Layer - 1);
        if (stage >= 0)
            Drop(state, visual, Math.Min(_keep[_layers.Places[stage]], visual.Length - 1));
        if (!_layers.Values.Contains(state.Layer) || state.Layer + 1 == state.Layers)
            return;
        int[] raters = Raters(state);
        if (_gravity)
            state.ProbeHeads(raters);
        else
            state.Probe(raters);
    }

    // Which text rows the visual rows' embeddings are nearest to; kept as places among the text rows.
    private void ChooseRaters(ScheduleState state, int[] visual)
    {
        int[] text = state.TextRowNumbers();
        float[] products = state.Similarity(RowSpace.Hidden, visual, text, cosine: false);
        double[] shares = new double[text.Length];
        for (int row = 0; row < visual.Length; row++)
        {
            ReadOnlySpan<float> line = products.AsSpan(row * text.Length, text.Length);
            double largest = double.NegativeInfinity;
            foreach (float product in line)
                largest = Math.Max(largest, product);
            double sum = 0;
            foreach (float product in line)
                sum += Math.Exp(product - largest);
            for (int i = 0; i < line.Length; i++)
                shares[i] += Math.Exp(line[i] - largest) / sum / visual.Length;
        }

        double mean = shares.Average();
        _raters = [.. Enumerable.Range(0, text.Length).Where(place => shares[place] > mean)];

        // Where all are alike, a plan's zeros for instance, nobody stands out: then the last row rates.
        if (_raters.Length == 0)
            _raters = [text.Length - 1];
        state.Record(
            ScheduleEventKind.Measure, "raters: share above the mean", [.. Enumerable.Range(0, text.Length)], [.. shares.Select(share => (float)share)],
            _raters, shares.Min(share => Math.Abs(share - mean)));
    }

    private int[] Raters(ScheduleState state)
    {
        int[] text = state.TextRowNumbers();
        return [.. _raters.Select(place => text[place])];
    }

    private void Drop(ScheduleState state, int[] visual, int keep)
    {
        if (keep <= 0)
        {
            state.Keep([]);
            return;
        }

        if (!_gravity)
        {
            state.KeepHighest(TokenScore.RowAttention, [new RankGroup(0, visual.Length, keep)], "attention of the raters, one layer before");
            return;
        }

        float[] scores = Gravity(state, visual);
        int[] alive = state.AliveVisual();
        state.Keep([.. Selection.Top(scores, keep).Select(place => alive[place])], "attention of the raters, one layer before, over the pull of distance", alive, scores);
    }

    // Probabilities over the pull of mere distance; then the mean over the heads where most of that falls on the picture, and over raters.
    private float[] Gravity(ScheduleState state, int[] visual)
    {
        int[] raters = Raters(state);
        int rows = state.Rows.Count;
        int heads = _model!.Heads;
        float[][] freed = [.. Enumerable.Range(0, heads).Select(_ => new float[visual.Length])];
        for (int rater = 0; rater < state.HeadScores.Count; rater++)
        {
            for (int i = 0; i < visual.Length; i++)
            {
                float pull = RotaryPull.Between(_model.RopeFrequencies, PositionOf(state, raters[rater]), PositionOf(state, visual[i]));
                for (int head = 0; head < heads; head++)
                    freed[head][i] += state.HeadScores[rater][head * rows + visual[i]] / pull / raters.Length;
            }
        }

        int[] counted = _heads == 0 ? [.. Enumerable.Range(0, heads)] : Selection.Top([.. freed.Select(head => head.Sum())], _heads);
        return [.. Enumerable.Range(0, visual.Length).Select(i => counted.Average(head => freed[head][i]))];
    }

    private static int PositionOf(ScheduleState state, int row) => state.Rows.Rows[row].Temporal;
}

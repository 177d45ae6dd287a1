using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <summary>
/// What a layer's attention does with visual tokens, in VisiPruner's figures (arXiv 2510.17205; SCHEDULES.md section 2).
/// </summary>
/// <param name="Layer">The layer, 0-based.</param>
/// <param name="Visual">Visual tokens that the layer holds.</param>
/// <param name="LastMass">Probability that the last row's softmax gives them, mean over heads.</param>
/// <param name="TextMass">The same of all rows behind the first picture, mean over these.</param>
internal sealed record LayerFigures(int Layer, int Visual, double LastMass, double TextMass)
{
    /// <summary>
    /// 1 − the lowest cosine of the last row's attention output with and without a visual token; null where there is none, or where the
    /// last row does not see every key and its value.
    /// </summary>
    public double? Deviation { get; init; }

    /// <summary>The largest norm of what a visual token adds to that output; null as there.</summary>
    public double? LargestNorm { get; init; }

    /// <summary>The mean of these norms.</summary>
    public double? MeanNorm { get; init; }
}

/// <summary>
/// Another policy, with every layer of its prefill measured. Measuring changes nothing: rows, logits and the cache are the other
/// policy's to the bit.
/// </summary>
internal sealed class AnalysisPolicy(VisualTokenPolicy policy) : VisualTokenPolicy
{
    private readonly List<LayerFigures> _figures = [];
    private ScheduleState? _state;
    private int[] _visual = [];
    private int _layer = -1;
    private bool _values;

    /// <summary>The last prefill's figures, layer by layer, once it is over. A layer that keeps no keys of visual rows is left out.</summary>
    public IReadOnlyList<LayerFigures> Figures => _figures;

    public override string Name => policy.Name;

    public override PolicyNeeds Needs => policy.Needs | PolicyNeeds.Values | PolicyNeeds.ManyProbes;

    public override bool SizesAreKnown => policy.SizesAreKnown;

    public override bool CompactPositions => policy.CompactPositions;

    public override IReadOnlyList<PolicySpan> Spans => policy.Spans;

    public override bool PlansSteps => policy.PlansSteps;

    public override void Bind(PolicyModel model) => policy.Bind(model);

    public override void InVisionLayer(VisionState state) => policy.InVisionLayer(state);

    public override void OnVisionTokens(ScheduleState state)
    {
        _figures.Clear();
        _state = state;
        _layer = -1;
        policy.OnVisionTokens(state);
    }

    public override void BeforeLayer(ScheduleState state)
    {
        Collect(state);
        policy.BeforeLayer(state);
        if (!state.HoldsVisualKeys)
            return;
        _layer = state.Layer;
        _visual = state.VisualRowNumbers();

        // Who sees whom is only asked of a policy when all have spoken: this is the outermost.
        state.Settle();
        _values = SeesEverything(state);
        state.Watch([state.Rows.Count - 1], state.TextRowNumbers());
        if (_values)
            state.ProbeValues();
    }

    public override void PlanStep(int layer, DecodeState state, AttentionPlan plan) => policy.PlanStep(layer, state, plan);

    public override bool ProbesStep(int step) => policy.ProbesStep(step);

    public override void OnDecodeStep(DecodeState state)
    {
        // The last layer has none behind it that could ask.
        if (state.Step == 0 && _state is not null)
            Collect(_state);
        policy.OnDecodeStep(state);
    }

    // What the layer before has measured; a prefill that is only planned measures nothing.
    private void Collect(ScheduleState state)
    {
        if (_layer < 0 || state.Watched.Count == 0)
            return;
        var figures = new LayerFigures(_layer, _visual.Length, Mass(state.Watched[0]), Mass(state.Watched[1]));
        _layer = -1;
        if (_values && _visual.Length > 0)
        {
            (float[] cosines, float[] norms) = state.ValueScores();
            figures = figures with
            {
                Deviation = Math.Max(0, 1.0 - _visual.Min(row => cosines[row])),
                LargestNorm = _visual.Max(row => norms[row]),
                MeanNorm = _visual.Average(row => norms[row]),
            };
        }

        _figures.Add(figures);
    }

    private double Mass(float[] probabilities) => _visual.Sum(row => (double)probabilities[row]);

    // The closed form holds where the last row's output is the whole sum over all keys.
    private static bool SeesEverything(ScheduleState state)
    {
        AttentionPlan plan = state.Plan;
        int row = state.Rows.Count - 1;
        int keys = 0;
        foreach (ref readonly QuerySegment segment in plan.Segments)
        {
            if (row < segment.Start || row >= segment.End)
                continue;
            foreach (ref readonly KeyRange range in plan.RangesOf(segment))
            {
                bool whole = range is { Value: ValueRule.Own, Heads: < 0 } && (range.Start == range.End || range.Sees(row - segment.Start, range.End - 1));
                keys += whole && range.Rule != KeyRule.Window ? range.End - range.Start : 0;
            }
        }

        return plan.KeyMask.IsEmpty && keys == state.CachedRows + state.Rows.Count;
    }
}

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ViCA (arXiv 2602.07574): visual rows skip every layer; in a few layers the others look at keys and values that the layer's own norm and
/// projections make of the projector's output. Needs no tensors beside an ordinary LLaVA checkpoint's, trained for it. Where no layer
/// lets visual rows look, whether prefix rows do is a matter of the checkpoint: the reference's 7B model leaves attention out for them.
/// </summary>
internal sealed class ViCaPolicy : VisualTokenPolicy
{
    private readonly LayersParameter _layers;
    private readonly bool _skipsPrefix;
    private int _depth;

    private ViCaPolicy(PolicyParameters parameters)
    {
        _layers = new LayersParameter(parameters, "vica", "layers", minimum: 0, ascending: false);
        _skipsPrefix = parameters.Choice("prefix", "attend", "skip") == "skip";
    }

    public static PolicyInfo Info { get; } = new(
        "vica",
        "computes visual tokens in no layer; text looks at the projector's output in a few (for checkpoints trained so; untested on the authors' weights)",
        "ViCA, arXiv 2602.07574",
        [
            new(
                "layers", "0/1/7/8/9/10/11/14", "layers, each once, as 0/1/7",
                "where visual tokens give keys and values (the default is of 32 layers, scaled to the model's)"),
            new(
                "prefix", "attend", "attend or skip",
                "rows before the picture attend in every layer, as the reference's 13B model does; or skip attention and get the MLP alone, as in its 7B model"),
        ],
        parameters => new ViCaPolicy(parameters));

    public override string Name => $"vica:layers={_layers}" + (_skipsPrefix ? ",prefix=skip" : "");

    public override PolicyNeeds Needs => PolicyNeeds.FrozenRows;

    public override IReadOnlyList<PolicySpan> Spans => [.. Enumerable.Range(0, _depth).Select(layer => new PolicySpan(layer, layer, PolicyEffect.View))];

    public override void Bind(PolicyModel model)
    {
        _layers.Bind(model);
        _depth = model.Layers;
    }

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Rows.CountOf(RowRole.Visual) > 0)
            state.FreezeVisual(giveKeys: _layers.Values.Contains(state.Layer), _skipsPrefix);
    }
}

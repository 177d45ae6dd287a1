namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ViCA (arXiv 2602.07574): visual rows skip every layer; in a few layers the others look at keys and values that the layer's own norm and
/// projections make of the projector's output. It needs no tensors beside an ordinary LLaVA checkpoint's, trained to be run so.
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
        parameters => new ViCaPolicy(parameters))
    {
        Page = new()
        {
            Title = "ViCA",
            Acts = "every layer",
            Cache = "full in `layers`, no visual token elsewhere",
            Idea = """
                The projector's output already lies in the language model's space. Text can look at it as it is, in a few layers, and no
                layer need compute it.
                """,
            Rule = """
                - Visual rows enter no attention as queries and no MLP: they leave the last layer as the projector made them.
                - In `layers` every row behind them sees their keys and values, made of the projector's output by that layer's own norm
                  and projections, at their own positions. In all other layers they are not there, in prefill and decode.
                - `prefix=skip`: rows before the first picture get no attention's output in any layer, only the MLP's; they give keys and
                  values all the same. Rows of turns before the first picture's turn are not changed by it.
                - The checkpoint is an ordinary LLaVA one, trained to be run so. The default is the published set for 7B.
                """,
            Ours = "`prefix=attend` as the default. The authors' code skips attention for the prefix of its 7B model, and not of its 13B and 2.7B ones.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "a float64 decoder of our own on random models; untested on the authors' weights",
        },
    };

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

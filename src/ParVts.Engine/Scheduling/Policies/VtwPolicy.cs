namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Visual tokens withdrawal (arXiv 2405.05803): every visual row leaves at the entry of one layer.</summary>
internal sealed class VtwPolicy : VisualTokenPolicy
{
    private readonly LayerParameter _layer;

    private VtwPolicy(PolicyParameters parameters) => _layer = new LayerParameter(parameters, "vtw", "layer", minimum: 0);

    public static PolicyInfo Info { get; } = new(
        "vtw",
        "takes every visual token out at the entry of one layer; earlier layers keep theirs",
        "VTW, arXiv 2405.05803",
        [new("layer", "16", "a layer, from 0 to the last", "where they leave (the default is of 32 layers, scaled to the model's)")],
        parameters => new VtwPolicy(parameters))
    {
        Budget = budget => $"layer={Math.Round(budget.Share * (budget.Model.Layers - 1))}",
        Page = new()
        {
            Title = "VTW (visual tokens withdrawal)",
            Acts = "entry of `layer`",
            Cache = "full before `layer`, no visual token from it on",
            Idea = """
                In deep layers the text has taken in what it needs, and visual tokens can leave altogether.
                """,
            Rule = """
                - At the entry of `layer` every visual row leaves. Earlier layers keep their visual keys and values, and decode
                  steps read them there.
                - Published: 16 of 32 layers, 20 of 40. `tune` finds the layer for another model.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: no licence is given, and nothing is taken from it",
            Checked = "the authors' code: same choices, rows and logits",
        },
        Settings = (parameters, model) =>
            LayerParameter.Choices(parameters, "layer", minimum: 0, model).Select(layer => $"vtw:layer={layer}"),
    };

    public override string Name => $"vtw:layer={_layer.Value}";

    public override IReadOnlyList<PolicySpan> Spans => [new(_layer.Value, _layer.Value, PolicyEffect.Leave)];

    public override void Bind(PolicyModel model) => _layer.Bind(model);

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer == _layer.Value && state.Rows.CountOf(RowRole.Visual) > 0)
            state.Keep([]);
    }
}

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

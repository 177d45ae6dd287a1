namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ShortV (arXiv 2504.00502): in a set of layers visual rows are frozen. They leave such a layer as they entered it; their keys and
/// values, of the rows as they are, are there for everybody, and only prefix and text rows are computed.
/// </summary>
internal sealed class ShortVPolicy : VisualTokenPolicy
{
    private const string Start = "shortv:layers=";

    private readonly LayersParameter _layers;

    private ShortVPolicy(PolicyParameters parameters) => _layers = new LayersParameter(parameters, "shortv", "layers", minimum: 0, ascending: false);

    public static PolicyInfo Info { get; } = new(
        "shortv",
        "freezes visual tokens in a set of layers: they give keys and values there, and are not computed",
        "ShortV, arXiv 2504.00502",
        [
            new(
                "layers", "31/29/30/28/0/26/27/25/24/22/23/21/2/3/20/18/17/12/19", "layers, each once, as 3/1/2; none for dense",
                "the frozen layers, the least important first (the default is of 32 layers, scaled to the model's)"),
        ],
        parameters => new ShortVPolicy(parameters))
    {
        Budget = WriteLayers,
        Page = new()
        {
            Title = "ShortV",
            Acts = "the layers of a set",
            Cache = "full",
            Idea = """
                In many layers visual tokens change little. There they can stay as they are, and only the text is computed.
                """,
            Rule = """
                - In a layer of `layers` visual rows are frozen: they give keys and values, of their rows as they are under that
                  layer's norm, and leave the layer as they entered it. Attention output, projection and MLP are computed for prefix
                  and text rows only.
                - The default is the published set for a 7B model of 32 layers, the least important layer first.
                """,
            Ours = "How that set scales to another depth: each layer in proportion, those that coincide once, and of them the first 19/32 of the depth.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits",
        },
        Settings = (parameters, model) => parameters.IsGiven("layers")
            ? [$"{Start}{parameters.Text("layers")}"]
            : Enumerable.Range(0, model.Layers).Select(layer => $"{Start}{layer}"),
        Together = settings => Start + string.Join('/', settings.Select(setting => setting[Start.Length..])),
    };

    public override string Name => $"{Start}{_layers}";

    public override PolicyNeeds Needs => PolicyNeeds.FrozenRows;

    public override IReadOnlyList<PolicySpan> Spans => [.. _layers.Values.Select(layer => new PolicySpan(layer, layer + 1, PolicyEffect.View))];

    public override void Bind(PolicyModel model) => _layers.Bind(model, byRank: true);

    public override void BeforeLayer(ScheduleState state)
    {
        if (_layers.Values.Contains(state.Layer) && state.Rows.CountOf(RowRole.Visual) > 0)
            state.FreezeVisual();
    }

    // The budget: so many of the frozen layers, from the least important on; always one.
    private static string WriteLayers(PolicyBudget budget)
    {
        var layers = new LayersParameter(budget.Given, "shortv", "layers", minimum: 0, ascending: false);
        layers.Bind(budget.Model, byRank: true);
        int frozen = Math.Max(1, (int)Math.Round((1 - budget.Share) * layers.Values.Length));
        return "layers=" + string.Join('/', layers.Values.Take(frozen));
    }
}

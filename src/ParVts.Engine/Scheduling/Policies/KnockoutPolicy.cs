using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// Attention knock-out (arXiv 2304.14767; of visual tokens: 2411.18620): in a range of layers rows of one kind may not look at visual
/// rows, and nothing else changes; a visual row still sees itself, unless the mask comes after the softmax. Pictures of earlier turns count
/// as text. It saves next to nothing: it is there to find out in which layers information flows.
/// </summary>
internal sealed class KnockoutPolicy : VisualTokenPolicy
{
    private readonly LayerParameter _from;
    private readonly LayerParameter _to;
    private readonly string _direction;
    private readonly bool _after;
    private bool _pictured;

    private KnockoutPolicy(PolicyParameters parameters)
    {
        _from = new LayerParameter(parameters, "knockout", "from", minimum: 0);
        _to = new LayerParameter(parameters, "knockout", "to", minimum: 0);
        _direction = parameters.Choice("direction", "text-visual", "visual-visual", "both");
        _after = parameters.Choice("mask", "before", "after") == "after";
    }

    public static PolicyInfo Info { get; } = new(
        "knockout",
        "forbids text or visual tokens to look at visual tokens in a range of layers, to find out where information flows",
        "attention knock-out, arXiv 2304.14767; of visual tokens, arXiv 2411.18620; VisiPruner's analysis, arXiv 2510.17205",
        [
            new("from", "8", "a layer, from 0 to the last", "the first layer without (the default is of 32 layers, scaled to the model's)"),
            new("to", "15", "a layer, from 'from' to the last", "the last layer without (the default is of 32 layers, scaled to the model's)"),
            new("direction", "text-visual", "text-visual, visual-visual or both", "who may not look at whom: text behind the picture, new tokens included; other visual tokens; both"),
            new("mask", "before", "before or after", "before the softmax: the others' probabilities grow; after it: what is taken away is missing, as VisiPruner masks"),
        ],
        parameters => new KnockoutPolicy(parameters))
    {
        Page = new()
        {
            Title = "Attention knock-out",
            Acts = "layers `from` to `to`",
            Cache = "every visual token in every layer",
            Idea = """
                If answers change when text may not look at visual tokens in some layers, that is where text reads them.
                """,
            Rule = """
                - In layers `from` to `to`, both included, text rows and new tokens (`text-visual`), visual rows (`visual-visual`), or both
                  may not look at visual rows; a visual row still sees itself, unless the mask comes after the softmax.
                - `mask=before`: the columns are left out of the softmax. `mask=after`: they count in its denominator and add no value.
                """,
            Ours = "The default range. It is for analysis, and saves next to nothing.",
            Licence = "no code of the authors was at hand",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"knockout:from={_from.Value},to={_to.Value},direction={_direction}" + (_after ? ",mask=after" : "");

    public override IReadOnlyList<PolicySpan> Spans => [new(_from.Value, _to.Value, PolicyEffect.View)];

    // New tokens are text: they are forbidden what the question's are.
    public override bool PlansSteps => _pictured && ForText;

    private bool ForText => _direction != "visual-visual";

    private bool ForVisual => _direction != "text-visual";

    public override void Bind(PolicyModel model)
    {
        _from.Bind(model);
        _to.Bind(model);
        if (_from.Value > _to.Value)
            throw new PolicyException($"policy 'knockout': from={_from.Value} is behind to={_to.Value}; layers are 0 to {model.Layers - 1} here, and 'to' is the last without");
    }

    public override void OnVisionTokens(ScheduleState state) => _pictured = state.Rows.CountOf(RowRole.Visual) > 0;

    public override void BeforeLayer(ScheduleState state)
    {
        if (Acts(state.Layer) && state.Rows.CountOf(RowRole.Visual) > 0)
            state.SetRanges(AddRange);
    }

    public override void PlanStep(int layer, DecodeState state, AttentionPlan plan)
    {
        ReadOnlySpan<int> visual = state.VisualRows(layer);
        if (!Acts(layer) || visual.IsEmpty)
            return;
        plan.Clear();
        plan.AddSegment(0, 1);
        int next = 0;
        for (int i = 0; i < visual.Length;)
        {
            int first = visual[i];
            while (++i < visual.Length && visual[i] == visual[i - 1] + 1)
            {
            }

            int end = visual[i - 1] + 1;
            plan.AddRange(new KeyRange(next, first, KeyRule.Full));
            if (_after)
                plan.AddRange(new KeyRange(first, end, KeyRule.Full, ValueRule.None));
            next = end;
        }

        plan.AddRange(new KeyRange(next, state.KvRows(layer) + 1, KeyRule.Full));
    }

    private bool Acts(int layer) => layer >= _from.Value && layer <= _to.Value;

    private void AddRange(AttentionPlan plan, RowRun queries, RowRun keys, KeyRange causal)
    {
        bool forbidden = keys.Role == RowRole.Visual && (queries.Role == RowRole.Visual ? ForVisual : ForText && queries.Role == RowRole.Text);
        if (!forbidden)
            plan.AddRange(causal);
        else if (_after)
            plan.AddRange(causal with { Value = ValueRule.None });
        else if (queries == keys)
            plan.AddRange(causal with { Rule = KeyRule.Window, Window = 1, GridWidth = 1 });
    }
}

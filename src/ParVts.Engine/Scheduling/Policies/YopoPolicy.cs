using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// YOPO (arXiv 2410.06169): visual rows see the prefix and a window of their neighbours, use a part of the MLP, and some heads neither
/// serve them nor look at them; from one layer on they are gone (ours), or masked altogether as in the reference.
/// </summary>
internal sealed class YopoPolicy : VisualTokenPolicy
{
    private readonly LayerParameter _cut;
    private readonly int _window;
    private readonly int _mlp;
    private readonly bool _mask;
    private readonly string _file;
    private HeadSwitch[] _switches = [];
    private int _gridWidth;
    private bool _pictured;

    private YopoPolicy(PolicyParameters parameters)
    {
        _cut = new LayerParameter(parameters, "yopo", "cut", minimum: 1);
        _window = parameters.Integer("window", 1);
        _mlp = parameters.Integer("mlp", 1);
        _mask = parameters.Choice("tail", "drop", "mask") == "mask";
        _file = parameters.File("heads");
        if (_window % 2 == 0)
            throw parameters.Refuse("window");
    }

    public static PolicyInfo Info { get; } = new(
        "yopo",
        "computes visual tokens in part: a window of neighbours, a part of the MLP, some heads off; none in the last layers",
        "YOPO, arXiv 2410.06169",
        [
            new("window", "5", "an odd whole number", "side of the square of visual tokens that each of them sees round itself"),
            new("cut", "16", "a layer, from 1 to the last", "from whose entry on visual tokens are gone (the default is of 32 layers, scaled to the model's)"),
            new("mlp", "2", "a whole number of at least 1", "visual tokens use only the first 1/mlp of the MLP's inner channels"),
            new("heads", "", "a JSON file of [layers][heads] zeros and ones", "heads of 0 are off for visual tokens; without a file all are on"),
            new("tail", "drop", "drop or mask", "from the cut on visual tokens leave (ours), or only count in the denominator, as in the reference"),
        ],
        parameters => new YopoPolicy(parameters))
    {
        Budget = budget => $"cut={Math.Round(1 + budget.Share * Math.Max(0, budget.Model.Layers - 2))}",
        Page = new()
        {
            Title = "YOPO",
            Acts = "every layer before `cut`; entry of `cut`",
            Cache = "full before `cut`, no visual token from it on (`tail=mask`: full)",
            Idea = """
                Visual tokens need less computation than text: near neighbours, a part of the MLP, some heads, and nothing at all in
                deep layers.
                """,
            Rule = """
                - A visual row sees the prefix and the `window`×`window` square of visual tokens round it, in both directions;
                  nothing else.
                - Visual rows use the first ⌊f÷`mlp`⌋ of the MLP's f inner channels.
                - For a head that is off in `heads`, probabilities on visual columns are zero after the softmax, without
                  renormalisation, in prefill and decode; visual rows get nothing from it.
                - From `cut` on: visual rows leave (`tail=drop`), or every visual column counts in the denominator alone
                  (`tail=mask`).
                """,
            Ours = "`tail=drop`. The reference masks, which computes the same rows at full cost.",
            Licence = "the authors' code: MIT",
            Checked = "the authors' code: same choices, rows and logits, with `tail=mask`",
        },
    };

    public override string Name =>
        $"yopo:window={_window},cut={_cut.Value},mlp={_mlp}" + (_file.Length > 0 ? $",heads={_file}" : "") + (_mask ? ",tail=mask" : "");

    public override IReadOnlyList<PolicySpan> Spans =>
        _mask ? [new(0, int.MaxValue, PolicyEffect.Grid)] : [new(0, _cut.Value, PolicyEffect.Grid), new(_cut.Value, _cut.Value, PolicyEffect.Leave)];

    public override bool PlansSteps => _pictured && (_mask || Array.Exists(_switches, static layer => !layer.AllOn));

    public override void Bind(PolicyModel model)
    {
        _cut.Bind(model);
        _gridWidth = model.PatchesAcross;
        HeadTable? heads = _file.Length > 0 ? HeadTable.Read(_file, "yopo", model) : null;
        _switches = new HeadSwitch[model.Layers];
        for (int layer = 0; layer < model.Layers; layer++)
            _switches[layer] = new HeadSwitch([.. Enumerable.Range(0, model.Heads).Select(head => heads is null || heads.IsOn(layer, head))]);
    }

    public override void OnVisionTokens(ScheduleState state) => _pictured = state.Rows.CountOf(RowRole.Visual) > 0;

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Rows.CountOf(RowRole.Visual) == 0)
            return;
        bool cut = state.Layer >= _cut.Value;
        if (cut && !_mask)
        {
            state.Keep([]);
            return;
        }

        state.ThinMlp(_mlp);
        HeadSets? named = null;
        HeadSwitch heads = _switches[state.Layer];
        state.SetRanges((plan, queries, keys, causal) =>
        {
            HeadSets sets = named ??= heads.NameIn(plan);
            bool isWindow = keys.Role == RowRole.Visual && keys.Start == queries.Start;
            if (isWindow)
                causal = causal with { Rule = KeyRule.Window, Window = _window, GridWidth = _gridWidth };
            if (keys.Role == RowRole.Visual && cut)
                causal = causal with { Value = ValueRule.None };
            if (queries.Role != RowRole.Visual)
                Add(plan, causal, keys.Role == RowRole.Visual, sets);
            else if (isWindow || keys.Role == RowRole.Prefix)
                Add(plan, causal, switches: true, sets);
        });
    }

    public override void PlanStep(int layer, DecodeState state, AttentionPlan plan)
    {
        int rows = state.KvRows(layer) + 1;
        plan.Clear();
        plan.AddSegment(0, 1);
        HeadSets sets = _switches[layer].NameIn(plan);
        ReadOnlySpan<int> visual = state.VisualRows(layer);
        int next = 0;
        for (int i = 0; i < visual.Length;)
        {
            int end = i + 1;
            while (end < visual.Length && visual[end] == visual[end - 1] + 1)
                end++;
            plan.AddRange(new KeyRange(next, visual[i], KeyRule.Full));
            ValueRule value = layer < _cut.Value ? ValueRule.Own : ValueRule.None;
            Add(plan, new KeyRange(visual[i], visual[end - 1] + 1, KeyRule.Full, value), switches: true, sets);
            next = visual[end - 1] + 1;
            i = end;
        }

        plan.AddRange(new KeyRange(next, rows, KeyRule.Full));
    }

    // A range that counts for every head, and adds its values for those that are on where it is switched by heads.
    private static void Add(AttentionPlan plan, KeyRange range, bool switches, HeadSets sets)
    {
        if (!switches || range.Value == ValueRule.None || sets.AllOn)
        {
            plan.AddRange(range);
            return;
        }

        if (!sets.AllOff)
            plan.AddRange(range with { Heads = sets.SkippedByOff });
        plan.AddRange(range with { Value = ValueRule.None, Heads = sets.SkippedByOn });
    }

    /// <summary>How a plan calls the heads that skip a range; −1 where nobody does.</summary>
    private readonly record struct HeadSets(bool AllOn, bool AllOff, int SkippedByOff, int SkippedByOn);

    /// <summary>Which heads of a layer are on for visual tokens.</summary>
    private sealed class HeadSwitch(bool[] on)
    {
        private readonly uint[] _off = Bits(on, skip: false);
        private readonly uint[] _on = Bits(on, skip: true);
        private readonly bool _allOff = on.All(head => !head);

        public bool AllOn { get; } = on.All(head => head);

        /// <summary>Tells a plan of the heads.</summary>
        public HeadSets NameIn(AttentionPlan plan) =>
            new(AllOn, _allOff, AllOn ? -1 : plan.AddHeadMask(_off), _allOff ? -1 : plan.AddHeadMask(_on));

        private static uint[] Bits(bool[] on, bool skip)
        {
            uint[] bits = new uint[(on.Length + 31) / 32];
            for (int head = 0; head < on.Length; head++)
            {
                if (on[head] == skip)
                    bits[head / 32] |= 1u << head;
            }

            return bits;
        }
    }
}

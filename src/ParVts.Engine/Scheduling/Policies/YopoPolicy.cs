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
    private HeadTable? _heads;
    private int _gridWidth;
    private int _headCount;

    private YopoPolicy(PolicyParameters parameters)
    {
        _cut = new LayerParameter(parameters, "yopo", "cut", minimum: 1);
        _window = parameters.Integer("window", 1);
        _mlp = parameters.Integer("mlp", 1);
        _mask = parameters.Choice("tail", "drop", "mask") == "mask";
        _file = parameters.Text("heads");
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
    };

    public override string Name =>
        $"yopo:window={_window},cut={_cut.Value},mlp={_mlp}" + (_file.Length > 0 ? $",heads={_file}" : "") + (_mask ? ",tail=mask" : "");

    public override IReadOnlyList<PolicySpan> Spans =>
        [new(0, _cut.Value, PolicyEffect.View), new(_cut.Value, _cut.Value, _mask ? PolicyEffect.View : PolicyEffect.Leave)];

    public override bool PlansSteps => _mask || _heads is { AnyOff: true };

    public override void Bind(PolicyModel model)
    {
        _cut.Bind(model);
        _gridWidth = model.PatchesAcross;
        _headCount = model.Heads;
        _heads = _file.Length > 0 ? HeadTable.Read(_file, "yopo", model) : null;
    }

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
        bool[] on = On(state.Layer);
        HeadSets? sets = null;
        state.SetRanges((plan, queries, keys, causal) =>
        {
            sets ??= new HeadSets(plan, on);
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
        var sets = new HeadSets(plan, On(layer));
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

    // Heads that are on for visual tokens in a layer.
    private bool[] On(int layer)
    {
        bool[] on = new bool[_headCount];
        for (int head = 0; head < on.Length; head++)
            on[head] = _heads is null || _heads.IsOn(layer, head);
        return on;
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

    /// <summary>The sets of heads that a plan's ranges name; −1 where nobody skips.</summary>
    private sealed class HeadSets
    {
        public HeadSets(AttentionPlan plan, bool[] on)
        {
            AllOn = on.All(head => head);
            AllOff = on.All(head => !head);
            SkippedByOff = AllOn ? -1 : plan.AddHeadMask(Bits(on, skip: false));
            SkippedByOn = AllOff ? -1 : plan.AddHeadMask(Bits(on, skip: true));
        }

        public bool AllOn { get; }

        public bool AllOff { get; }

        public int SkippedByOff { get; }

        public int SkippedByOn { get; }

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

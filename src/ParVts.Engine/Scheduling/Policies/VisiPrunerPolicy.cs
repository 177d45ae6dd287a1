using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// VisiPruner (arXiv 2510.17205; SCHEDULES.md section 2): shallow layers see no visual values, one middle layer filters the visual tokens
/// by what they add to the last row's attention output, and when they no longer change it they leave.
/// </summary>
internal sealed class VisiPrunerPolicy : VisualTokenPolicy
{
    private const int QuietLayers = 2;

    private readonly LayerParameter _shallow;
    private readonly float _tcos;
    private readonly float _tnorm;
    private readonly float _texit;
    private readonly bool _maskAll;
    private readonly bool _consecutive;
    private readonly bool _dropShallow;
    private readonly string _thresholds;
    private Stage _stage;
    private int _layers;
    private int _quiet;

    private VisiPrunerPolicy(PolicyParameters parameters)
    {
        _shallow = new LayerParameter(parameters, "visipruner", "shallow", minimum: 0);
        _tcos = (float)parameters.Number("tcos", 0, 1);
        _tnorm = (float)parameters.Number("tnorm", 0, float.MaxValue);
        _texit = (float)parameters.Number("texit", 0, 1);
        _maskAll = parameters.Choice("mask_visual", "first", "all") == "all";
        _consecutive = parameters.Flag("consecutive");
        _dropShallow = parameters.Flag("drop_shallow_kv");
        _thresholds = $"tcos={parameters.Text("tcos")},tnorm={parameters.Text("tnorm")},texit={parameters.Text("texit")}";
    }

    // What is left of the visual tokens.
    private enum Stage
    {
        Full,
        Kept,
        Gone,
    }

    public static PolicyInfo Info { get; } = new(
        "visipruner",
        "masks visual values in shallow layers, filters visual tokens once by what they change, and lets them leave when they change nothing",
        "VisiPruner, arXiv 2510.17205",
        [
            new("shallow", "6", "a layer, from 0 to the last", "layers before it are masked; layers after it are probed (the default is of 32 layers, scaled to the model's)"),
            new("tcos", "0.995", "a number from 0 to 1", "a layer filters when leaving some token out turns the last row's attention output below this cosine"),
            new("tnorm", "0.2", "a number of at least 0", "tokens stay that add more than this to the output, by norm"),
            new("texit", "0.999", "a number from 0 to 1", "a layer is quiet when no token that stays turns the output below this cosine"),
            new("mask_visual", "first", "first or all", "visual rows are masked in layer 0, as the reference does, or in all shallow layers, as the paper says"),
            new("consecutive", "false", "true or false", "the two quiet layers before the exit must follow each other, as the paper says"),
            new("drop_shallow_kv", "false", "true or false", "after the prefill the shallow layers' visual keys and values go (paper, table 2)"),
        ],
        parameters => new VisiPrunerPolicy(parameters))
    {
        Page = new()
        {
            Title = "VisiPruner",
            Acts = "layers before `shallow` (masks), one middle layer (filter), a deep one (exit)",
            Cache = "full up to the layer that filters, then the tokens that stay, none behind the exit",
            Idea = """
                Shallow layers do not need what visual tokens say, a few middle layers read a few of them, deep layers none. Where
                these stages begin is measured in each request.
                """,
            Rule = """
                - *Shallow*, layers before `shallow`: visual columns count in the softmax's denominator and add no value. In layer 0
                  that holds for visual and text rows, and text rows add the removed mass times the value of the first visual row (a
                  sink); in the other shallow layers it holds for text rows only.
                - Layer `shallow` is dense. From the next one on, except the last, the last prompt row is measured. O is its
                  attention output before the output projection, `c_j` the part of it that visual row j gives, over all heads:
                  `cos_j` is the cosine of O and `O − c_j`, and `norm_j = ‖c_j‖`.
                - *Filter*, once: the first layer with some `cos_j` below `tcos` runs in full; from the next layer's entry on the
                  rows with `norm_j` above `tnorm` stay. It may never happen.
                - *Exit*: a layer after that is quiet when every `cos_j` is at least `texit`. After two quiet layers, not
                  necessarily one after the other, the visual rows that are left leave at the next layer's entry.
                - Decode steps are ordinary: they see every visual key that a layer still holds; with `drop_shallow_kv=true` the
                  shallow layers hold none.
                - Published for LLaVA-1.5-7B: about 10 tokens stay, filtering near layer 15, exit near 24; −53.9 % of the visual
                  FLOPs.
                """,
            Ours = """
                Nothing. Where the paper and its reference differ, the defaults follow the reference; `mask_visual=all` and
                `consecutive=true` are the paper's text. The reference's variant for 13B models (layer 0 without a sink) is left
                out.
                """,
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name =>
        $"visipruner:shallow={_shallow.Value},{_thresholds}" + (_maskAll ? ",mask_visual=all" : "")
        + (_consecutive ? ",consecutive=true" : "") + (_dropShallow ? ",drop_shallow_kv=true" : "");

    /// <summary>Layers before it are masked; valid after <see cref="Bind"/>.</summary>
    internal int Shallow => _shallow.Value;

    /// <summary>A layer filters below this cosine.</summary>
    internal float FilterThreshold => _tcos;

    /// <summary>A layer is quiet from this cosine on.</summary>
    internal float ExitThreshold => _texit;

    public override PolicyNeeds Needs => PolicyNeeds.Values;

    public override bool SizesAreKnown => false;

    public override IReadOnlyList<PolicySpan> Spans =>
    [
        .. _shallow.Value > 0 ? [new PolicySpan(0, _shallow.Value, PolicyEffect.View)] : Array.Empty<PolicySpan>(),
        .. _shallow.Value + 2 < _layers ? [new PolicySpan(_shallow.Value + 2, _layers, PolicyEffect.Select)] : Array.Empty<PolicySpan>(),
    ];

    public override void Bind(PolicyModel model)
    {
        _shallow.Bind(model);
        _layers = model.Layers;
    }

    public override void OnVisionTokens(ScheduleState state)
    {
        _stage = state.Rows.CountOf(RowRole.Visual) > 0 ? Stage.Full : Stage.Gone;
        _quiet = 0;
    }

    public override void BeforeLayer(ScheduleState state)
    {
        if (_stage == Stage.Gone || state.Rows.CountOf(RowRole.Visual) == 0)
            return;
        if (state.Layer < _shallow.Value)
        {
            Mask(state);
            return;
        }

        if (state.Layer > _shallow.Value + 1)
            Decide(state);
        if (_stage != Stage.Gone && state.Layer > _shallow.Value && state.Layer < state.Layers - 1)
            state.ProbeValues();
    }

    public override void OnDecodeStep(DecodeState state)
    {
        if (!_dropShallow || state.Step != 0)
            return;
        for (int layer = 0; layer < _shallow.Value; layer++)
        {
            HashSet<int> visual = [.. state.VisualRows(layer)];
            if (visual.Count > 0)
                state.Keep(layer, Enumerable.Range(0, state.KvRows(layer)).Where(row => !visual.Contains(row)).ToArray());
        }
    }

    // Visual columns count in the denominator alone; in layer 0 text rows add their removed mass times the first visual row's value.
    private void Mask(ScheduleState state)
    {
        bool first = state.Layer == 0;
        int cached = state.CachedRows;
        int sink = -1;
        state.SetRanges((plan, queries, keys, causal) =>
        {
            if (sink < 0 && keys.Role == RowRole.Visual)
                sink = cached + keys.Start;
            bool masked = keys.Role == RowRole.Visual && (queries.Role != RowRole.Visual || first || _maskAll);
            ValueRule value = !masked ? ValueRule.Own : first && queries.Role == RowRole.Text ? ValueRule.Sink : ValueRule.None;
            plan.AddRange(causal with { Value = value, SinkRow = value == ValueRule.Sink ? sink : 0 });
        });
    }

    // What the layer before has measured.
    private void Decide(ScheduleState state)
    {
        (float[] allCosines, float[] allNorms) = state.ValueScores();
        int[] rows = state.VisualRowNumbers();
        int[] tokens = state.VisualLabels();
        float[] cosines = [.. rows.Select(row => allCosines[row])];
        float smallest = cosines.Min();
        if (_stage == Stage.Full)
        {
            bool filters = smallest < _tcos;
            state.Record(
                ScheduleEventKind.Measure, "filter: any cosine below tcos", tokens, cosines, [], Math.Abs(_tcos - smallest),
                state.Layer - 1, filters ? "the layer filters" : null);
            if (filters)
                Filter(state, tokens, [.. rows.Select(row => allNorms[row])]);
            return;
        }

        bool quiet = smallest >= _texit;
        _quiet = quiet ? _quiet + 1 : _consecutive ? 0 : _quiet;
        state.Record(
            ScheduleEventKind.Measure, "quiet: every cosine at least texit", tokens, cosines, quiet ? [1] : [0], Math.Abs(smallest - _texit), state.Layer - 1,
            quiet ? "a quiet layer" : null);
        if (_quiet == QuietLayers)
            Leave(state);
    }

    private void Filter(ScheduleState state, int[] tokens, float[] norms)
    {
        int[] alive = state.AliveVisual();
        int[] kept = [.. Enumerable.Range(0, norms.Length).Where(place => norms[place] > _tnorm)];
        double margin = norms.Min(norm => Math.Abs(norm - _tnorm));
        state.Record(ScheduleEventKind.Measure, "norm above tnorm", tokens, norms, [.. kept.Select(place => tokens[place])], margin, state.Layer);
        _stage = kept.Length > 0 ? Stage.Kept : Stage.Gone;
        state.Keep([.. kept.Select(place => alive[place])]);
    }

    private void Leave(ScheduleState state)
    {
        _stage = Stage.Gone;
        state.Keep([]);
    }
}

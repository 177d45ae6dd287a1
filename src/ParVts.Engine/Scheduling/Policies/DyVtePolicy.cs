using System.Globalization;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// DyVTE (arXiv 2411.19628): after each layer a small router looks at the mean of the text rows but the last, and at the last, as they
/// leave the layer; as soon as one says so, all visual rows leave at the next layer's entry. A router is two matrices without
/// biases and a GELU between them: [2·D] → 2048 → (stay, exit).
/// </summary>
internal sealed class DyVtePolicy : VisualTokenPolicy
{
    private const string FirstRouter = "visual_gates_router.0.w1.weight";

    private readonly string _file;
    private readonly string _thresholdText;
    private readonly float _lead;
    private string _prefix = "";
    private int _hiddenSize;

    private DyVtePolicy(PolicyParameters parameters)
    {
        _file = parameters.File("routers");
        _thresholdText = parameters.Text("threshold");
        double threshold = parameters.Number("threshold", 0, 1);

        // softmax(exit) > t means that the exit's logit leads by more than this.
        _lead = (float)Math.Log(threshold / (1 - threshold));
    }

    public static PolicyInfo Info { get; } = new(
        "dyvte",
        "asks a trained router after each layer whether the text still needs visual tokens, and takes them out when not (untested on the authors' weights)",
        "DyVTE, arXiv 2411.19628",
        [
            new(
                "routers", "", "a safetensors file",
                "the routers, by the reference's names: model.visual_gates_router.LAYER.w1.weight [2048, 2·D] and .w2.weight [2, 2048]"),
            new("threshold", "0.5", "a number from 0 to 1", "a router exits above this probability; 0.5 is the published argmax, 1 never exits (ours)"),
        ],
        parameters => new DyVtePolicy(parameters))
    {
        Page = new()
        {
            Title = "DyVTE",
            Acts = "every layer's entry but the first's, until the exit",
            Cache = "full up to the layer whose router exits, no visual token behind it",
            Idea = """
                When text rows have taken in what they need, visual tokens do nothing more. The state of the text rows tells when.
                """,
            Rule = """
                - After each layer its own router gets [m, t]: m the mean of all text rows but the last, t the last row, both as they
                  leave the layer (the residual stream, under no norm).
                - (stay, exit) = W2·GELU(W1·[m, t]), W1 of [2048, 2·D], W2 of [2, 2048], no biases, GELU by the error function.
                - The first layer with exit > stay is the last that has visual rows: all of them leave at the next layer's entry. Earlier
                  layers keep theirs, and decoding reads them. Nobody is asked in decode steps, or in turns without a picture.
                - With fewer than two text rows nothing exits; in the authors' code the mean is then not a number.
                """,
            Ours = "`threshold` other than 0.5; what counts as text with several pictures: all rows behind the first that are not visual. Routers are read from one safetensors file; a prefix before `visual_gates_router` may be any, as may be the inner width. They run on the host, in float32.",
            Licence = "the authors' code: none stated",
            Checked = "the published equations in float64, with random routers; untested on the authors' weights",
        },
    };

    public override string Name => $"dyvte:routers={_file},threshold={_thresholdText}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override bool SizesAreKnown => false;

    public override IReadOnlyList<PolicySpan> Spans => [new(1, 1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        if (_file.Length == 0)
            throw new PolicyException("policy 'dyvte' needs its routers; write dyvte:routers=FILE.safetensors");
        _hiddenSize = model.HiddenSize;
        using PolicyWeights weights = PolicyWeights.Open(_file);
        string first = weights.Names.FirstOrDefault(name => name.EndsWith(FirstRouter, StringComparison.Ordinal))
            ?? throw new ModelFormatException(_file, "model." + FirstRouter, "is not there; a file of DyVTE's routers was expected");
        _prefix = first[..^"0.w1.weight".Length];
        int routers = 0;
        while (weights.Has(Tensor(routers, "w1")))
            Find(weights, routers++);
        if (routers != model.Layers)
            throw new PolicyException($"policy 'dyvte': {_file} has routers for {routers} layers; the model has {model.Layers}");
    }

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer < 1 || state.Rows.CountOf(RowRole.Visual) == 0)
            return;

        // One row of text has no others to average: then nothing exits, nor does it in the reference, whose mean is not a number.
        int[] text = state.TextRowNumbers();
        if (text.Length < 2)
            return;
        float[] logits = Ask(state.Layer - 1, [.. state.Mean(text.AsSpan(..^1)), .. state.Mean(text.AsSpan(^1..))]);
        float lead = logits[1] - logits[0];
        bool exits = lead > _lead;
        double margin = Math.Abs(lead - _lead);
        state.Record(
            ScheduleEventKind.Measure, "router: the logits of staying (0) and of the exit (1)", [0, 1], logits, [exits ? 1 : 0],
            double.IsFinite(margin) ? margin : null, state.Layer - 1, exits ? "the router exits" : null);
        if (exits)
            state.Keep([]);
    }

    private float[] Ask(int layer, float[] features)
    {
        using PolicyWeights weights = PolicyWeights.Open(_file);
        (StoredTensor inner, StoredTensor outer) = Find(weights, layer);
        float[] values = weights.Multiply(inner, 0, features);
        PolicyWeights.Gelu(values);
        return weights.Multiply(outer, 0, values);
    }

    private (StoredTensor Inner, StoredTensor Outer) Find(PolicyWeights weights, int layer)
    {
        StoredTensor inner = weights.Find(Tensor(layer, "w1"));
        StoredTensor outer = weights.Find(Tensor(layer, "w2"));
        if (inner.Shape.Length != 2 || !outer.Shape.SequenceEqual([2, inner.Shape[0]]))
        {
            throw new ModelFormatException(
                _file, outer.Name,
                $"has the shape [{string.Join(", ", outer.Shape)}] behind one of [{string.Join(", ", inner.Shape)}]; [2, n] behind [n, 2·D] was expected");
        }

        if (inner.Shape[1] != 2L * _hiddenSize)
        {
            throw new PolicyException(
                $"policy 'dyvte': {_file} has routers of width {inner.Shape[1]}; the model's rows have {_hiddenSize} elements, which takes {2L * _hiddenSize}");
        }

        return (inner, outer);
    }

    private string Tensor(int layer, string matrix) => _prefix + layer.ToString(CultureInfo.InvariantCulture) + "." + matrix + ".weight";
}

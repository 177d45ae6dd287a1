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
    private PolicyWeights? _weights;
    private Router[] _routers = [];
    private int _hiddenSize;

    private DyVtePolicy(PolicyParameters parameters)
    {
        _file = parameters.Text("routers");
        if (_file.Length == 0)
            throw new PolicyException("policy 'dyvte' needs its routers; write dyvte:routers=FILE.safetensors");
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
        parameters => new DyVtePolicy(parameters));

    public override string Name => $"dyvte:routers={_file},threshold={_thresholdText}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override bool SizesAreKnown => false;

    public override IReadOnlyList<PolicySpan> Spans => [new(1, 1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        _hiddenSize = model.HiddenSize;
        _weights = PolicyWeights.Open(_file);
        string first = _weights.Names.FirstOrDefault(name => name.EndsWith(FirstRouter, StringComparison.Ordinal))
            ?? throw new ModelFormatException(_file, "model." + FirstRouter, "is not there; a file of DyVTE's routers was expected");
        string prefix = first[..^"0.w1.weight".Length];
        var routers = new List<Router>();
        while (_weights.TryFind(Tensor(prefix, routers.Count, "w1"), out StoredTensor? inner))
            routers.Add(Check(inner, _weights.Find(Tensor(prefix, routers.Count, "w2"))));
        if (routers.Count != model.Layers)
            throw new PolicyException($"policy 'dyvte': {_file} has routers for {routers.Count} layers; the model has {model.Layers}");
        _routers = [.. routers];
    }

    public override void BeforeLayer(ScheduleState state)
    {
        if (state.Layer < 1 || state.Rows.CountOf(RowRole.Visual) == 0)
            return;

        // One row of text has no others to average: then nothing exits, nor does it in the reference, whose mean is not a number.
        int[] text = state.TextRowNumbers();
        if (text.Length < 2)
            return;
        float[] logits = Ask(_routers[state.Layer - 1], [.. state.Mean(text.AsSpan(..^1)), .. state.Mean(text.AsSpan(^1..))]);
        float lead = logits[1] - logits[0];
        bool exits = lead > _lead;
        double margin = Math.Abs(lead - _lead);
        state.Record(
            ScheduleEventKind.Measure, "router: the logits of staying (0) and of the exit (1)", [0, 1], logits, [exits ? 1 : 0],
            double.IsFinite(margin) ? margin : null, state.Layer - 1, exits ? "the router exits" : null);
        if (exits)
            state.Keep([]);
    }

    private float[] Ask(in Router router, float[] features)
    {
        float[] inner = _weights!.Multiply(router.Inner, 0, features);
        PolicyWeights.Gelu(inner);
        return _weights.Multiply(router.Outer, 0, inner);
    }

    private Router Check(StoredTensor inner, StoredTensor outer)
    {
        if (inner.Shape.Length != 2 || outer.Shape.Length != 2 || outer.Shape[0] != 2 || outer.Shape[1] != inner.Shape[0])
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

        return new Router(inner, outer);
    }

    private static string Tensor(string prefix, int layer, string matrix) =>
        prefix + layer.ToString(CultureInfo.InvariantCulture) + "." + matrix + ".weight";

    private readonly record struct Router(StoredTensor Inner, StoredTensor Outer);
}

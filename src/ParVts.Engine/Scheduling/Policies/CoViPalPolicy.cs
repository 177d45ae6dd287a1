using System.Numerics.Tensors;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// CoViPAL (arXiv 2508.17243): before the decoder a small trained module scores every visual token from visual and text tokens,
/// S = p(H_v, H_t), and the share r of highest score stays. The inner form of the module could not be read; this one is ours, the
/// simplest that has both inputs: S_j = w2·GELU(W1·[v_j; mean text row] + b1) + b2, or of v_j alone where W1 is only D wide.
/// </summary>
internal sealed class CoViPalPolicy : VisualTokenPolicy
{
    private readonly string _file;
    private readonly TokenBudget _keep;
    private int _rowTile = 1;
    private int _hiddenSize;
    private PolicyWeights? _weights;
    private StoredTensor? _inner;
    private StoredTensor? _outer;
    private float[] _innerBias = [];
    private float _outerBias;

    private CoViPalPolicy(PolicyParameters parameters)
    {
        _file = parameters.Text("scorer");
        if (_file.Length == 0)
            throw new PolicyException("policy 'covipal' needs its scorer; write covipal:scorer=FILE.safetensors");
        _keep = parameters.Budget("keep");
    }

    public static PolicyInfo Info { get; } = new(
        "covipal",
        "keeps the visual tokens that a small trained scorer ranks highest; the others never enter the decoder (untested on the authors' weights)",
        "CoViPAL, arXiv 2508.17243",
        [
            new(
                "scorer", "", "a safetensors file",
                "the scorer (its form and names are ours): w1.weight [n, 2·D], or [n, D] for visual tokens alone, w2.weight [1, n]; w1.bias [n], w2.bias [1] if any"),
            new("keep", "0.25", TokenBudget.Allowed, "visual tokens that stay, all pictures together (ours)"),
        ],
        parameters => new CoViPalPolicy(parameters));

    public override string Name => $"covipal:scorer={_file},keep={_keep}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        _rowTile = model.RowTile;
        _hiddenSize = model.HiddenSize;
        _weights = PolicyWeights.Open(_file);
        _inner = _weights.Find("w1.weight");
        _outer = _weights.Find("w2.weight");
        if (_inner.Shape.Length != 2)
            throw Wrong(_inner, "[n, 2·D] or [n, D]");
        if (!_outer.Shape.SequenceEqual([1, _inner.Shape[0]]))
            throw Wrong(_outer, $"[1, {_inner.Shape[0]}]");
        _innerBias = Bias("w1.bias", (int)_inner.Shape[0]);
        _outerBias = Bias("w2.bias", 1)[0];
        if (_inner.Shape[1] != _hiddenSize && _inner.Shape[1] != 2L * _hiddenSize)
        {
            throw new PolicyException(
                $"policy 'covipal': {_file} has a scorer of width {_inner.Shape[1]}; the model's rows have {_hiddenSize} elements, which takes {2L * _hiddenSize}, or {_hiddenSize} without text");
        }
    }

    public override void OnVisionTokens(ScheduleState state)
    {
        int[] rows = state.VisualRowNumbers();
        if (rows.Length == 0)
            return;
        int keep = _keep.Count(rows.Length, state.Rows.Count - rows.Length, _rowTile);
        float[] hidden = state.HiddenRows(rows);
        float[] scores = hidden.Length > 0 ? Score(hidden, Context(state)) : new float[rows.Length];
        int[] alive = state.AliveVisual();
        state.Keep([.. Selection.Top(scores, keep).Select(place => alive[place])], "the scorer's score", alive, scores);
    }

    // What the text and the bias add to every token's inner values.
    private float[] Context(ScheduleState state)
    {
        float[] context = [.. _innerBias];
        int[] text = state.TextRowNumbers();
        if (_inner!.Shape[1] == _hiddenSize || text.Length == 0)
            return context;
        TensorPrimitives.Add(context, _weights!.Multiply(_inner, _hiddenSize, state.Mean(text)), context);
        return context;
    }

    // One inner value of all tokens after the other, so that the module's width costs no memory.
    private float[] Score(float[] hidden, float[] context)
    {
        float[] scores = new float[hidden.Length / _hiddenSize];
        Array.Fill(scores, _outerBias);
        float[] values = new float[scores.Length];
        float[] weights = new float[_hiddenSize];
        float[] outer = new float[context.Length];
        _weights!.Read(_outer!, 0, 0, outer);
        for (int place = 0; place < outer.Length; place++)
        {
            _weights.Read(_inner!, place, 0, weights);
            for (int token = 0; token < values.Length; token++)
                values[token] = TensorPrimitives.Dot(weights, hidden.AsSpan(token * _hiddenSize, _hiddenSize)) + context[place];
            PolicyWeights.Gelu(values);
            TensorPrimitives.MultiplyAdd(values, outer[place], scores, scores);
        }

        return scores;
    }

    private float[] Bias(string name, int length)
    {
        if (!_weights!.TryFind(name, out StoredTensor? bias))
            return new float[length];
        if (!bias.Shape.SequenceEqual([length]))
            throw Wrong(bias, $"[{length}]");
        float[] values = new float[length];
        _weights.Read(bias, 0, 0, values);
        return values;
    }

    private ModelFormatException Wrong(StoredTensor tensor, string expected) =>
        new(_file, tensor.Name, $"has the shape [{string.Join(", ", tensor.Shape)}]; {expected} was expected");
}

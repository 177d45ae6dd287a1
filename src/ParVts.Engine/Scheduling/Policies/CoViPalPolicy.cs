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

    private CoViPalPolicy(PolicyParameters parameters)
    {
        _file = parameters.File("scorer");
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
        parameters => new CoViPalPolicy(parameters))
    {
        Page = new()
        {
            Title = "CoViPAL",
            Acts = "before the decoder",
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                Shallow layers do not yet know which visual tokens matter. A small module that was trained to foretell deep layers'
                attention does.
                """,
            Rule = """
                - S = p(H_v, H_t): the module scores every visual token from visual and text tokens as they would enter the decoder.
                - The `keep` tokens of highest score stay, in raster order.
                - Ours: S_j = W2·GELU(W1·[v_j, m] + b1) + b2, with m the mean of the text rows; of v_j alone where W1 is D wide.
                """,
            Ours = "The module's inner form, and so its tensors' names: we could read that it is a small classifier of both kinds of tokens, not how it is built, and the authors' weights will not load. Also the default of `keep`, which rows are text (those behind the picture), and that positions stay.",
            Licence = "no code of the authors was at hand",
            Checked = "its equation in float64, with random weights",
        },
    };

    public override string Name => $"covipal:scorer={_file},keep={_keep}";

    public override PolicyNeeds Needs => PolicyNeeds.Similarity;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model)
    {
        if (_file.Length == 0)
            throw new PolicyException("policy 'covipal' needs its scorer; write covipal:scorer=FILE.safetensors");
        _rowTile = model.RowTile;
        _hiddenSize = model.HiddenSize;
        using PolicyWeights weights = PolicyWeights.Open(_file);
        Find(weights);
    }

    public override void OnVisionTokens(ScheduleState state)
    {
        int[] rows = state.VisualRowNumbers();
        if (rows.Length == 0)
            return;
        int keep = _keep.Count(rows.Length, state.Rows.Count - rows.Length, _rowTile);
        float[] hidden = state.HiddenRows(rows);
        float[] scores = hidden.Length > 0 ? Score(state, hidden) : new float[rows.Length];
        int[] alive = state.AliveVisual();
        state.Keep([.. Selection.Top(scores, keep).Select(place => alive[place])], "the scorer's score", alive, scores);
    }

    // One inner value of all tokens after the other, so that the module's width costs no memory.
    private float[] Score(ScheduleState state, float[] hidden)
    {
        using PolicyWeights weights = PolicyWeights.Open(_file);
        Scorer scorer = Find(weights);
        float[] outer = weights.Read(scorer.Outer);
        float[] context = Context(state, weights, scorer);
        float[] scores = new float[hidden.Length / _hiddenSize];
        Array.Fill(scores, scorer.OuterBias);
        float[] values = new float[scores.Length];
        float[] row = new float[_hiddenSize];
        for (int place = 0; place < outer.Length; place++)
        {
            weights.Read(scorer.Inner, place, 0, row);
            for (int token = 0; token < values.Length; token++)
                values[token] = TensorPrimitives.Dot(row, hidden.AsSpan(token * _hiddenSize, _hiddenSize)) + context[place];
            PolicyWeights.Gelu(values);
            TensorPrimitives.MultiplyAdd(values, outer[place], scores, scores);
        }

        return scores;
    }

    // What the text and the bias add to every token's inner values.
    private float[] Context(ScheduleState state, PolicyWeights weights, in Scorer scorer)
    {
        int[] text = state.TextRowNumbers();
        if (scorer.Inner.Shape[1] == _hiddenSize || text.Length == 0)
            return scorer.InnerBias;
        float[] context = weights.Multiply(scorer.Inner, _hiddenSize, state.Mean(text));
        TensorPrimitives.Add(context, scorer.InnerBias, context);
        return context;
    }

    private Scorer Find(PolicyWeights weights)
    {
        StoredTensor inner = weights.Find("w1.weight");
        StoredTensor outer = weights.Find("w2.weight");
        if (inner.Shape.Length != 2)
            throw Wrong(inner, "[n, 2·D] or [n, D]");
        if (!outer.Shape.SequenceEqual([1, inner.Shape[0]]))
            throw Wrong(outer, $"[1, {inner.Shape[0]}]");
        if (inner.Shape[1] != _hiddenSize && inner.Shape[1] != 2L * _hiddenSize)
        {
            throw new PolicyException(
                $"policy 'covipal': {_file} has a scorer of width {inner.Shape[1]}; the model's rows have {_hiddenSize} elements, which takes {2L * _hiddenSize}, or {_hiddenSize} without text");
        }

        return new Scorer(inner, Bias(weights, "w1.bias", (int)inner.Shape[0]), outer, Bias(weights, "w2.bias", 1)[0]);
    }

    private float[] Bias(PolicyWeights weights, string name, int length)
    {
        if (!weights.Has(name))
            return new float[length];
        StoredTensor bias = weights.Find(name);
        return bias.Shape.SequenceEqual([length]) ? weights.Read(bias) : throw Wrong(bias, $"[{length}]");
    }

    private ModelFormatException Wrong(StoredTensor tensor, string expected) =>
        new(_file, tensor.Name, $"has the shape [{string.Join(", ", tensor.Shape)}]; {expected} was expected");

    private readonly record struct Scorer(StoredTensor Inner, float[] InnerBias, StoredTensor Outer, float OuterBias);
}

using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>
/// A policy alone, without a model: prompts of <c>s</c> prefix rows, <c>N</c> visual rows and <c>m</c> text rows go through as many
/// layers as are asked for, and what a run would measure is given. One head.
/// </summary>
internal sealed class PolicyHarness
{
    private const int Prefix = 2;

    /// <summary>Decoder layers.</summary>
    public int Layers { get; init; } = 4;

    /// <summary>Visual rows.</summary>
    public int Visual { get; init; } = 6;

    /// <summary>Text rows behind them.</summary>
    public int Text { get; init; } = 3;

    /// <summary>Attention of the probed rows in a layer: of each visual token.</summary>
    public Func<int, int, float> Attention { get; init; } = (_, _) => 0;

    /// <summary>The similarity of two rows, by what they are: a visual token, or −1 − i for the i-th text row.</summary>
    public Func<int, int, float> Similar { get; init; } = (_, _) => 0;

    /// <summary>How like the mean of the text a visual token is.</summary>
    public Func<int, float> Relevance { get; init; } = _ => 0;

    /// <summary>The norm of a row's keys, named as in <see cref="Similar"/>.</summary>
    public Func<int, float> KeyNorm { get; init; } = _ => 0;

    /// <summary>In a layer: what the last row's output would lose without a visual token, A and B; S is 1.</summary>
    public Func<int, int, (float A, float B)> Value { get; init; } = (_, _) => default;

    /// <summary>What each layer was asked to do with which rows.</summary>
    public List<string> Asked { get; } = [];

    /// <summary>Runs it.</summary>
    public ScheduleTrace Run(string policy)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy);
        made.Bind(new PolicyModel(Layers, RowTile: 1) { Heads = 1, PatchesAcross = (int)Math.Sqrt(Visual) });
        var trace = new ScheduleTrace(new TextConfig
        {
            ModelType = "llama",
            HiddenSize = 4,
            IntermediateSize = 8,
            Layers = Layers,
            Heads = 1,
            KeyValueHeads = 1,
            HeadDim = 4,
            VocabularySize = 8,
            MaxPositions = 64,
            NormEpsilon = 1e-5,
            Activation = Activation.Silu,
            Rope = new RopeConfig(),
        });
        var state = new ScheduleState();
        Fill(state.Rows);
        state.Begin(trace, new int[Layers], 0, state.Rows.Count, images: 1);
        state.SetClassAttention(Visual, read: null);
        state.Measures = new Measures(this, state);
        state.ReadBack = () => Choose(state);
        made.OnVisionTokens(state);
        for (int layer = 0; layer < Layers; layer++)
        {
            state.Enter(layer);
            made.BeforeLayer(state);
            state.ReadBack?.Invoke();
            state.Settle();
            state.Store();
            Measure(state);
            trace.Record(state);
        }

        return trace;
    }

    // What a device does with choices by rank.
    private static void Choose(ScheduleState state)
    {
        foreach (RankedChoice choice in state.Pending)
        {
            float[] all = state.RowScores.ToArray();
            choice.RankedRows.Select(row => all[row]).ToArray().CopyTo(choice.Scores, 0);
            int[] top = Selection.Top(choice.Scores, choice.Kept);
            top.Concat(Enumerable.Range(0, choice.Places.Length).Except(top)).ToArray().CopyTo(choice.Places, 0);
        }

        state.Resolve();
    }

    private void Measure(ScheduleState state)
    {
        int layer = state.Layer;
        if (state.ProbedRows.Length > 0)
        {
            Asked.Add($"{layer}: {string.Join(' ', state.ProbedRows.ToArray().Select(row => Name(state, row)))}");
            int[] names = Names(state);
            state.SetRowScores(0, scores => Copy(names.Select(name => name >= 0 ? Attention(layer, name) : 0), scores));
        }

        if (state.WantsValues)
        {
            int[] names = Names(state);
            (float A, float B)[] sums = [.. names.Select(name => name >= 0 ? Value(layer, name) : default)];
            state.SetValueSums(values => Copy([.. sums.Select(sum => sum.A), .. sums.Select(sum => sum.B), 1f], values));
        }
    }

    private void Fill(RowBatch rows)
    {
        rows.Clear(Prefix + Visual + Text);
        for (int token = 0; token < Prefix + Visual + Text; token++)
        {
            bool visual = token >= Prefix && token < Prefix + Visual;
            rows.Add(visual ? Row.OfVisual(token, token - Prefix, 0) : Row.OfText(token < Prefix ? RowRole.Prefix : RowRole.Text, token));
        }
    }

    private static int[] Names(ScheduleState state) => [.. Enumerable.Range(0, state.Rows.Count).Select(row => Name(state, row))];

    private static int Name(ScheduleState state, int row)
    {
        Row one = state.Rows.Rows[row];
        return one.Role == RowRole.Visual ? one.Visual : -1 - (row - state.Rows.Count + state.Rows.CountOf(RowRole.Text));
    }

    private static void Copy(IEnumerable<float> from, float[] to) => from.ToArray().CopyTo(to, 0);

    private sealed class Measures(PolicyHarness given, ScheduleState state) : RowMeasures
    {
        public override float[] Similarity(RowSpace space, ReadOnlySpan<int> rows, ReadOnlySpan<int> others, bool cosine)
        {
            int[] left = rows.ToArray();
            int[] right = others.ToArray();
            return [.. left.SelectMany(row => right.Select(other => given.Similar(Name(state, row), Name(state, other))))];
        }

        public override float[] SimilarityToMean(ReadOnlySpan<int> rows, ReadOnlySpan<int> averaged)
        {
            given.Asked.Add("mean of " + string.Join(' ', averaged.ToArray().Select(row => Name(state, row))));
            return [.. rows.ToArray().Select(row => given.Relevance(Name(state, row)))];
        }

        public override float[] Mean(ReadOnlySpan<int> rows) => throw new NotSupportedException();

        public override float[] Hidden(ReadOnlySpan<int> rows) => throw new NotSupportedException();

        public override float[] KeyNorms() => [.. Names(state).Select(given.KeyNorm)];

        public override void ProbeEntry(ReadOnlySpan<int> rows)
        {
            int layer = state.Layer;
            given.Asked.Add($"entry {layer}: {string.Join(' ', rows.ToArray().Select(row => Name(state, row)))}");
            int[] names = Names(state);
            state.SetRowScores(0, scores => Copy(names.Select(name => name >= 0 ? given.Attention(layer, name) : 0), scores));
        }
    }
}

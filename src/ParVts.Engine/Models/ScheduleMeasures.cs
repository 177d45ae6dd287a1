using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>What a policy may have measured at the entry of a decoder layer. One caller at a time.</summary>
internal sealed class ScheduleMeasures(
    ComputeDevice device, DecoderWeights weights, DecoderWorkspace workspace, KvStore kv, ScheduleState state, TextConfig config) : RowMeasures
{
    private readonly float _epsilon = (float)config.NormEpsilon;
    private readonly float _scale = 1f / MathF.Sqrt(config.HeadDim);

    public override float[] Similarity(RowSpace space, ReadOnlySpan<int> rows, ReadOnlySpan<int> others, bool cosine)
    {
        Require();
        Tensor left = Gather(space, rows, workspace.Left);
        Tensor right = Gather(space, others, workspace.Right);
        return Compare(left, right, cosine);
    }

    public override float[] SimilarityToMean(ReadOnlySpan<int> rows, ReadOnlySpan<int> averaged)
    {
        Require();
        Tensor left = Gather(RowSpace.Hidden, rows, workspace.Left);
        return Compare(left, Average(averaged), cosine: true);
    }

    public override float[] Mean(ReadOnlySpan<int> rows)
    {
        Require();
        float[] mean = new float[config.HiddenSize];
        device.Download(Average(rows), mean.AsSpan());
        return mean;
    }

    public override float[] Hidden(ReadOnlySpan<int> rows)
    {
        Require();
        float[] hidden = new float[rows.Length * config.HiddenSize];
        device.Download(Gather(RowSpace.Hidden, rows, workspace.Left), hidden.AsSpan());
        return hidden;
    }

    public override float[] KeyNorms()
    {
        Require();
        int rows = state.Rows.Count;
        Tensor keys = workspace.Key.Slice(0, rows);
        device.ReadKeys(kv.Layer(state.Layer - 1), state.CachedRowsOf(state.Layer - 1), keys);

        // Keys lie where rows are compared, so the sums go where nobody is.
        Tensor sums = Row(workspace.Weights, rows);
        device.AbsoluteSums(keys, sums);
        float[] norms = new float[rows];
        device.Download(sums, norms.AsSpan());
        return norms;
    }

    public override void ProbeEntry(ReadOnlySpan<int> asked)
    {
        int rows = state.Rows.Count;
        int cached = state.CachedRows;
        DecoderLayer layer = weights.Layers[state.Layer];
        Tensor normed = workspace.Normed.Slice(0, rows);
        Tensor query = workspace.Query.Slice(0, rows);
        Tensor key = workspace.Key.Slice(0, rows);
        device.RmsNorm(workspace.Hidden.Slice(0, rows), layer.AttentionNorm, _epsilon, normed);
        device.MatMul(normed, layer.Query, layer.QueryBias, query);
        device.MatMul(normed, layer.Key, layer.KeyBias, key);

        // The keys stand in the store for a moment.
        kv.Extend(state.Layer, cached + rows);
        KvLayer store = kv.Layer(state.Layer);
        device.RopeStore(query, key, key, workspace.Rotary.Slice(0, rows), store, cached);
        Tensor ids = Row(workspace.Ids, asked.Length);
        device.Upload(asked, ids);
        Tensor scores = Row(workspace.Scores, cached + rows);
        device.PreProbe(query, store, state.Plan, _scale, ids, ProbeReduction.RowsAndHeads, scores);
        state.SetRowScores(
            cached,
            found => device.Download<float>(scores with { Address = scores.Address + cached * sizeof(float), Columns = rows, Stride = rows }, found));
        if (!workspace.MeanKeys.IsEmpty)
        {
            device.ReadKeys(store, cached, key);
            device.MeanHeads(key, workspace.MeanKeys.Slice(0, rows));
        }

        kv.Truncate(state.Layer, cached);
    }

    private Tensor Gather(RowSpace space, ReadOnlySpan<int> rows, in Tensor place)
    {
        Tensor ids = Row(workspace.Ids, rows.Length);
        device.Upload(rows, ids);
        if (space == RowSpace.EntryKeys)
        {
            Tensor keys = place.Slice(0, rows.Length) with { Columns = config.HeadDim };
            device.GatherRows(workspace.MeanKeys.Slice(0, state.Rows.Count), ids, keys);
            return keys;
        }

        Tensor gathered = place.Slice(0, rows.Length);
        device.GatherRows(workspace.Hidden.Slice(0, state.Rows.Count), ids, gathered);
        if (space == RowSpace.Normed)
            device.RmsNorm(gathered, weights.Norm, _epsilon, gathered);
        return gathered;
    }

    // In the first of the rows that others are compared with.
    private Tensor Average(ReadOnlySpan<int> rows)
    {
        int[] offsets = [0, rows.Length];
        float[] shares = new float[rows.Length];
        Array.Fill(shares, 1f / rows.Length);
        Tensor ids = Row(workspace.Ids, rows.Length);
        Tensor weightOfRows = Row(workspace.Weights, rows.Length);
        Tensor ends = Row(workspace.Offsets, 2);
        device.Upload<int>(offsets, ends);
        device.Upload(rows, ids);
        device.Upload<float>(shares, weightOfRows);
        Tensor mean = workspace.Right.Slice(0, 1);
        device.MergeRows(workspace.Hidden.Slice(0, state.Rows.Count), ends, ids, weightOfRows, mean);
        return mean;
    }

    private float[] Compare(in Tensor left, in Tensor right, bool cosine)
    {
        float[] found = new float[left.Rows * right.Rows];
        var products = new Tensor(workspace.Products.Address, TensorType.F32, left.Rows, right.Rows);
        device.Similarity(left, right, cosine, products);
        device.Download(products, found.AsSpan());
        return found;
    }

    private void Require()
    {
        if (workspace.Left.IsEmpty)
            throw new PolicyException($"a policy compares rows at layer {state.Layer}, which it did not say it needs");
    }

    private static Tensor Row(in Tensor all, int count) => all with { Columns = count, Stride = count };
}

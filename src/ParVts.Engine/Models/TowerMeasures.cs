using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>What policies may know of the keys in the vision tower. One caller at a time.</summary>
internal sealed class TowerMeasures(ComputeDevice device, VisionWeights weights, VisionConfig config) : VisionMeasures
{
    private VisionWorkspace? _workspace;
    private int _rows;

    /// <summary>From here on this many rows of the workspace are meant.</summary>
    public void Begin(VisionWorkspace workspace, int rows)
    {
        _workspace = workspace;
        _rows = rows;
    }

    public override float[] KeySimilarity(int[] rows, int[] others, RowMap? map)
    {
        VisionWorkspace workspace = _workspace!;
        int headDim = config.HiddenSize / config.Heads;
        Tensor keys = workspace.MeanKeys.Slice(0, _rows);
        device.MeanHeads(workspace.Key.Slice(0, _rows), keys);
        if (map is not null)
        {
            Tensor merged = Narrow(workspace.Left, map.Rows, headDim);
            workspace.Upload(device, map, out Tensor offsets, out Tensor sources, out Tensor shares);
            device.MergeRows(keys, offsets, sources, shares, merged);
            keys = workspace.MeanKeys.Slice(0, map.Rows);
            device.Convert(merged, keys);
        }

        Tensor left = Gather(keys, rows, Narrow(workspace.Left, rows.Length, headDim));
        Tensor right = Gather(keys, others, Narrow(workspace.Right, others.Length, headDim));
        return Compare(left, right, cosine: true);
    }

    public override (float[] Products, float[] Cosines) NextBlockKeys()
    {
        VisionWorkspace workspace = _workspace!;
        if (weights.Next is not VisionLayer next)
            throw new PolicyException("a policy asks for the block behind the one whose output is used; this vision tower has none");
        Tensor normed = workspace.Normed.Slice(0, _rows);
        device.LayerNorm(workspace.Hidden.Slice(0, _rows), next.Norm1, next.Norm1Bias, (float)config.NormEpsilon, normed);
        Tensor keys = workspace.Left.Slice(0, _rows);
        Tensor query = workspace.Right.Slice(0, 1);
        device.MatMul(normed, next.Key, next.KeyBias, keys);
        device.MatMul(normed.Slice(0, 1), next.Query, next.QueryBias, query);
        return (Compare(query, keys, cosine: false), Compare(keys, keys, cosine: true));
    }

    private Tensor Gather(in Tensor keys, int[] rows, in Tensor gathered)
    {
        Tensor ids = _workspace!.Ids with { Columns = rows.Length, Stride = rows.Length };
        device.Upload<int>(rows, ids);
        device.GatherRows(keys, ids, gathered);
        return gathered;
    }

    private float[] Compare(in Tensor left, in Tensor right, bool cosine)
    {
        float[] result = new float[left.Rows * right.Rows];
        Tensor products = new(_workspace!.Products.Address, TensorType.F32, left.Rows, right.Rows);
        device.Similarity(left, right, cosine, products);
        device.Download(products, result.AsSpan());
        return result;
    }

    private static Tensor Narrow(in Tensor rows, int count, int columns) => rows.Slice(0, count) with { Columns = columns };
}

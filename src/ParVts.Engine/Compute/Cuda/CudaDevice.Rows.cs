using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Norms, and rows that move, merge and fuse.</content>
public sealed unsafe partial class CudaDevice
{
    private const int RowThreads = 256;

    // norm.cu: the values of its row that a thread holds.
    private const int NormValues = 16;

    /// <inheritdoc/>
    public override void RmsNorm(in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        CheckSame(x, output);
        Check(weight.Columns == x.Columns && weight.Type == TensorType.F32, "RmsNorm: the weight does not match");
        Launch(
            new KernelId("norm.cu", "rms_norm", Element(output.Type)),
            new LaunchShape(x.Rows, 1, 1, NormThreads(x.Columns)),
            new RmsNormArguments(x.Address, x.Stride, weight.Address, epsilon, output.Address, output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void LayerNorm(in Tensor x, in Tensor weight, in Tensor bias, float epsilon, in Tensor output)
    {
        CheckSame(x, output);
        Check(weight.Columns == x.Columns && weight.Type == TensorType.F32, "LayerNorm: the weight does not match");
        Check(bias.Columns == x.Columns && bias.Type == TensorType.F32, "LayerNorm: the bias does not match");
        Launch(
            new KernelId("norm.cu", "layer_norm", Element(output.Type)),
            new LaunchShape(x.Rows, 1, 1, NormThreads(x.Columns)),
            new LayerNormArguments(x.Address, x.Stride, weight.Address, bias.Address, epsilon, output.Address, output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void GatherRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        Check(x.Columns == output.Columns && rows.Columns == output.Rows, "GatherRows: shapes do not match");
        CheckIndices(rows);
        Launch(
            new KernelId("rows.cu", "gather_rows"),
            new LaunchShape(output.Rows, 1, 1, RowThreads),
            new RowsArguments(x.Address, x.Stride, rows.Address, output.Address, output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void ScatterRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        Check(x.Columns == output.Columns && rows.Columns == x.Rows, "ScatterRows: shapes do not match");
        CheckIndices(rows);
        Launch(
            new KernelId("rows.cu", "scatter_rows"),
            new LaunchShape(x.Rows, 1, 1, RowThreads),
            new RowsArguments(x.Address, x.Stride, rows.Address, output.Address, output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void MergeRows(in Tensor x, in Tensor offsets, in Tensor sources, in Tensor weights, in Tensor output)
    {
        Check(
            x.Columns == output.Columns && offsets.Columns == output.Rows + 1 && sources.Columns == weights.Columns,
            "MergeRows: shapes do not match");
        CheckIndices(sources);
        CheckIndices(offsets);
        Launch(
            new KernelId("rows.cu", "merge_rows"),
            new LaunchShape(output.Rows, 1, 1, RowThreads),
            new MergeArguments(x.Address, x.Stride, offsets.Address, sources.Address, weights.Address, output.Address, output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void FusePaths(in Tensor x, in Tensor first, in Tensor second, in Tensor weights)
    {
        Check(first.Columns == second.Columns && first.Columns == weights.Columns, "FusePaths: shapes do not match");
        CheckIndices(first);
        CheckIndices(second);
        Launch(
            new KernelId("paths.cu", "fuse_paths"),
            new LaunchShape(first.Columns, 1, 1, RowThreads),
            new FuseArguments(x.Address, x.Stride, x.Columns, first.Address, second.Address, weights.Address));
    }

    /// <inheritdoc/>
    public override void PathWeights(in Tensor logSumExp, in Tensor first, in Tensor second, in Tensor output)
    {
        Check(first.Columns == second.Columns && first.Columns == output.Columns, "PathWeights: shapes do not match");
        CheckIndices(first);
        CheckIndices(second);
        const int rowsOfBlock = RowThreads / 32;
        Launch(
            new KernelId("paths.cu", "path_weights"),
            new LaunchShape(Blocks(first.Columns, rowsOfBlock), 1, 1, RowThreads),
            new PathWeightsArguments(
                logSumExp.Address, logSumExp.Stride, logSumExp.Columns, first.Address, second.Address, first.Columns, output.Address));
    }

    private static int NormThreads(int columns)
    {
        int warps = Blocks(columns, 32 * NormValues);
        Check(warps <= 32, $"rows of {columns} columns are longer than the norms take");
        return 32 * warps;
    }

    private readonly record struct RmsNormArguments(nint X, int XStride, nint Weight, float Epsilon, nint Y, int YStride, int Columns);

    private readonly record struct LayerNormArguments(
        nint X, int XStride, nint Weight, nint Bias, float Epsilon, nint Y, int YStride, int Columns);

    private readonly record struct RowsArguments(nint X, int XStride, nint Rows, nint Y, int YStride, int Columns);

    private readonly record struct MergeArguments(
        nint X, int XStride, nint Offsets, nint Sources, nint Weights, nint Y, int YStride, int Columns);

    private readonly record struct FuseArguments(nint X, int Stride, int Columns, nint First, nint Second, nint Weights);

    private readonly record struct PathWeightsArguments(nint LogSumExp, int Stride, int Heads, nint First, nint Second, int N, nint Weights);
}

using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Choices by rank, and what follows from them, without the host (contract P2).</content>
public sealed unsafe partial class CudaDevice
{
    /// <inheritdoc/>
    public override void Increment(in Tensor counts)
    {
        Check(counts.Type == TensorType.I32 && counts.Rows == 1, "Increment takes a row of I32");
        Launch(
            new KernelId("decisions.cu", "increment"),
            new LaunchShape(Blocks(counts.Columns, RowThreads), 1, 1, RowThreads),
            new IncrementArguments(counts.Address, counts.Columns));
    }

    /// <inheritdoc/>
    public override void ResolveRows(in Tensor template, in Tensor places, in Tensor rows, in Tensor output)
    {
        Check(template.Columns == output.Columns && places.Columns == rows.Columns, "ResolveRows: shapes do not match");
        Launch(
            new KernelId("decisions.cu", "resolve_rows"),
            new LaunchShape(Blocks(output.Columns, RowThreads), 1, 1, RowThreads),
            new ResolveArguments(template.Address, places.Address, rows.Address, output.Address, output.Columns));
    }

    /// <inheritdoc/>
    public override void ScoreShare(in Tensor scores, in Tensor places, in Tensor output)
    {
        CheckIndices(places);
        Launch(
            new KernelId("decisions.cu", "score_share"),
            new LaunchShape(1, 1, 1, RowThreads),
            new ShareArguments(scores.Address, scores.Columns, places.Address, places.Columns, output.Address, output.Columns));
    }

    private readonly record struct IncrementArguments(nint Counts, int N);

    private readonly record struct ResolveArguments(nint Template, nint Places, nint Rows, nint Output, int N);

    private readonly record struct ShareArguments(nint Scores, int N, nint Places, int K, nint Output, int M);
}

using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Choices by rank, and what follows from them, without the host (contract P2).</content>
public sealed unsafe partial class CudaDevice
{
    // As kernels/select.cu has them.
    private const int SelectThreads = 1024;
    private const int MostRanked = 16384;

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
    public override void SelectTop(in Tensor scores, int offset, in Tensor kept, in Tensor rest)
    {
        Check(kept.Columns <= scores.Columns, "SelectTop: more are kept than there are");
        Check(rest.IsEmpty || rest.Columns == scores.Columns - kept.Columns, "SelectTop: shapes do not match");
        Check(scores.Columns <= MostRanked, $"SelectTop: {scores.Columns} scores; {MostRanked} can be ranked");
        var arguments = new SelectTopArguments
        {
            Scores = (ulong)scores.Address,
            Count = scores.Columns,
            Keep = kept.Columns,
            First = offset,
            Kept = (ulong)kept.Address,
            Rest = (ulong)rest.Address,
        };
        Launch(new KernelId("select.cu", "select_top"), new LaunchShape(1, 1, 1, SelectThreads), arguments);
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

using System.Runtime.CompilerServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <content>What policies need between layers: rows that move, merge and fuse, choices by rank, thinned caches.</content>
public sealed unsafe partial class CpuDevice
{
    /// <inheritdoc/>
    public override void GatherRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        Check(x.Columns == output.Columns && rows.Columns == output.Rows, "GatherRows: shapes do not match");
        CheckIndices(rows, x.Rows);
        RowMoves.Gather(x, rows, output);
    }

    /// <inheritdoc/>
    public override void ScatterRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        Check(x.Columns == output.Columns && rows.Columns == x.Rows, "ScatterRows: shapes do not match");
        CheckIndices(rows, output.Rows);
        RowMoves.Scatter(x, rows, output);
    }

    /// <inheritdoc/>
    public override void MergeRows(in Tensor x, in Tensor offsets, in Tensor sources, in Tensor weights, in Tensor output)
    {
        Check(
            x.Columns == output.Columns && offsets.Columns == output.Rows + 1 && sources.Columns == weights.Columns,
            "MergeRows: shapes do not match");
        Check(offsets.Integers[0] == 0 && offsets.Integers[output.Rows] == sources.Columns, "MergeRows: the offsets do not match");
        CheckIndices(sources, x.Rows);
        RowMoves.Merge(x, offsets, sources, weights, output);
    }

    /// <inheritdoc/>
    public override void FusePaths(in Tensor x, in Tensor first, in Tensor second, in Tensor weights)
    {
        Check(first.Columns == second.Columns && first.Columns == weights.Columns, "FusePaths: shapes do not match");
        CheckIndices(first, x.Rows);
        CheckIndices(second, x.Rows);
        RowMoves.Fuse(x, first, second, weights);
    }

    /// <inheritdoc/>
    public override void SelectTop(in Tensor scores, int offset, in Tensor kept, in Tensor rest)
    {
        Check(kept.Columns <= scores.Columns, "SelectTop: more are kept than there are");
        Check(rest.IsEmpty || rest.Columns == scores.Columns - kept.Columns, "SelectTop: shapes do not match");
        Ranking.Top(scores, offset, kept, rest);
    }

    /// <inheritdoc/>
    public override void ResolveRows(in Tensor template, in Tensor places, in Tensor rows, in Tensor output)
    {
        Check(template.Columns == output.Columns && places.Columns == rows.Columns, "ResolveRows: shapes do not match");
        CheckIndices(places, rows.Columns);
        Ranking.Resolve(template, places, rows, output);
    }

    /// <inheritdoc/>
    public override void ScoreShare(in Tensor scores, in Tensor places, in Tensor output)
    {
        CheckIndices(places, scores.Columns);
        Ranking.Share(scores, places, output);
    }

    /// <inheritdoc/>
    public override void PathWeights(in Tensor logSumExp, in Tensor first, in Tensor second, in Tensor output)
    {
        Check(first.Columns == second.Columns && first.Columns == output.Columns, "PathWeights: shapes do not match");
        CheckIndices(first, logSumExp.Rows);
        CheckIndices(second, logSumExp.Rows);
        RowMoves.PathWeights(logSumExp, first, second, output);
    }

    /// <inheritdoc/>
    public override void KeepKeys(in KvLayer layer, in Tensor rows, int first = 0)
    {
        CheckIndices(rows, layer.Length);
        for (int i = 0; i < rows.Columns; i++)
            Check(rows.Integers[i] >= first + i, "KeepKeys: rows move towards the front");
        RowMoves.KeepKeys(layer, rows, first);
    }

    private static void CheckIndices(in Tensor rows, int count, [CallerMemberName] string operation = "")
    {
        Check(rows.Type == TensorType.I32, "row numbers are I32");
        for (int i = 0; i < rows.Columns; i++)
        {
            if ((uint)rows.Integers[i] >= (uint)count)
                throw new ArgumentException($"{operation}: there is no row {rows.Integers[i]} of {count}");
        }
    }
}

using System.Runtime.InteropServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <content>What policies measure: probes, similarities, norms, and how they are read.</content>
public sealed unsafe partial class CpuDevice
{
    /// <inheritdoc/>
    public override void Probe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        ProbeReduction reduction, in Tensor output)
    {
        int heads = CheckProbe(q, layer, plan, rows);
        Check(logSumExp.Rows == q.Rows && logSumExp.Columns == heads, "Probe: the log-sum-exp does not match");
        CheckReduction(layer, heads, rows, reduction, output);
        AttentionProbe.Run(Pool, q, layer, plan, scale, logSumExp, rows, reduction, output);
    }

    /// <inheritdoc/>
    public override void PreProbe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        int heads = CheckProbe(q, layer, plan, rows);
        CheckReduction(layer, heads, rows, reduction, output);
        var logSumExp = new Tensor((nint)Scratch(sizeof(float) * (long)q.Rows * heads), TensorType.F32, q.Rows, heads);
        AttentionProbe.LogSumExp(Pool, q, layer, plan, scale, logSumExp, rows);
        AttentionProbe.Run(Pool, q, layer, plan, scale, logSumExp, rows, reduction, output);
    }

    /// <inheritdoc/>
    public override void ValueProbe(
        in Tensor q, in Tensor attended, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        in Tensor sums, in Tensor squares)
    {
        int heads = CheckProbe(q, layer, plan, rows);
        int n = rows.Columns;
        Check(logSumExp.Rows == q.Rows && logSumExp.Columns == heads, "ValueProbe: the log-sum-exp does not match");
        Check(attended.Rows == n && attended.Columns == q.Columns, "ValueProbe: the attended rows do not match");
        Check(sums.Rows == 2 * n && sums.Columns == layer.Length && squares.Columns == n, "ValueProbe: the outputs do not match");
        AttentionProbe.RunValues(Pool, q, attended, layer, plan, scale, logSumExp, rows, sums);
        RowMeasures.Squares(attended, squares);
    }

    /// <inheritdoc/>
    public override void Similarity(in Tensor x, in Tensor y, bool cosine, in Tensor output)
    {
        Check(x.Columns == y.Columns && output.Rows == x.Rows && output.Columns == y.Rows, "Similarity: shapes do not match");
        Check(x.Type == TensorType.F32 && y.Type == TensorType.F32 && output.Type == TensorType.F32, "Similarity: everything is F32");

        // No counter: what a policy measures is no work of the model's.
        Gemm.Run(Pool, x, y, default, output, accumulate: false, Scratch(Gemm.WorkspaceBytes(x.Rows, x.Columns, Threads)));
        if (cosine)
            RowMeasures.Normalise(x, y, output);
    }

    /// <inheritdoc/>
    public override void MeanHeads(in Tensor x, in Tensor output)
    {
        Check(x.Rows == output.Rows && output.Columns > 0 && x.Columns % output.Columns == 0, "MeanHeads: shapes do not match");
        Check(x.Type == TensorType.F32 && output.Type == TensorType.F32, "MeanHeads: everything is F32");
        RowMeasures.MeanHeads(x, output);
    }

    /// <inheritdoc/>
    public override void AbsoluteSums(in Tensor x, in Tensor output)
    {
        Check(output.Rows == 1 && output.Columns == x.Rows, "AbsoluteSums: shapes do not match");
        Check(x.Type == TensorType.F32 && output.Type == TensorType.F32, "AbsoluteSums: everything is F32");
        RowMeasures.AbsoluteSums(x, output);
    }

    /// <inheritdoc/>
    public override void ReadKeys(in KvLayer layer, int firstRow, in Tensor output)
    {
        Check(output.Columns == layer.Heads * layer.HeadDim && output.Type == TensorType.F32, "ReadKeys: an F32 column for each element of a key");
        Check(firstRow >= 0 && firstRow + output.Rows <= layer.Length, "ReadKeys: the layer does not hold these rows");
        RowMeasures.ReadKeys(layer, firstRow, output);
    }

    /// <inheritdoc/>
    public override Readback CreateReadback(int bytes) => new CpuReadback(bytes);

    private static int CheckProbe(in Tensor q, in KvLayer layer, AttentionPlan plan, in Tensor rows)
    {
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "a probe's heads are not a multiple of the KV heads");
        CheckIndices(rows, q.Rows);
        plan.Check(q.Rows, layer.Length, q.Columns / layer.HeadDim);
        return q.Columns / layer.HeadDim;
    }

    private static void CheckReduction(in KvLayer layer, int heads, in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        int lines = reduction switch { ProbeReduction.Heads => rows.Columns, ProbeReduction.Rows => heads, _ => 1 };
        Check(output.Rows == lines && output.Columns == layer.Length, "a probe's output does not match");
    }

    /// <summary>Here results are there at once: a copy keeps what they were.</summary>
    private sealed class CpuReadback(int bytes) : Readback
    {
        private readonly byte[] _copy = new byte[bytes];

        public override void Begin(in Tensor source)
        {
            int count = checked(source.Rows * source.Columns * source.ElementBytes);
            Bytes(source, count).CopyTo(_copy);
        }

        public override void Finish<T>(Span<T> destination) =>
            _copy.AsSpan(0, destination.Length * sizeof(T)).CopyTo(MemoryMarshal.AsBytes(destination));

        protected override void Dispose(bool disposing)
        {
        }
    }
}

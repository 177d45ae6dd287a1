using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Probes (contract S4): probabilities of named rows, reduced where they are made. Segments and ranges are what plan.cuh reads.</content>
public sealed unsafe partial class CudaDevice
{
    // As in probe.cu: rows that one block adds up and bytes that one takes, vectors that a tile is multiplied with at once.
    private const int ProbeRows = 64;
    private const int ProbeRowBytes = 16;
    private const int ProbeVectors = 4;

    /// <inheritdoc/>
    public override void Probe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        ProbeReduction reduction, in Tensor output)
    {
        int heads = CheckProbe(q, layer, plan, rows);
        Check(logSumExp.Rows == q.Rows && logSumExp.Columns == heads, "Probe: the log-sum-exp does not match");
        ProbeShape shape = ShapeOf(layer, heads, rows.Columns, reduction, output);
        PlanArguments view = SendPlan(plan, q.Rows, heads);
        RunProbe(q, layer, view, scale, logSumExp, lseOfRows: true, rows, shape, ProbeScratch(shape.PartialFloats), output);
    }

    /// <inheritdoc/>
    public override void PreProbe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        int heads = CheckProbe(q, layer, plan, rows);
        ProbeShape shape = ShapeOf(layer, heads, rows.Columns, reduction, output);
        int sums = rows.Columns * heads;
        PlanArguments view = SendPlan(plan, q.Rows, heads);
        var logSumExp = new Tensor(ProbeScratch(sums + shape.PartialFloats), TensorType.F32, rows.Columns, heads);
        Launch(
            ProbeKernel("row_log_sum_exp", layer),
            new LaunchShape(rows.Columns, layer.Heads, 1, TileThreads, SharedBytes: ProbeBytes(layer)),
            new LogSumExpArguments(
                q.Address, q.Stride, layer.Pages, layer.Length, rows.Address, view, scale, heads, layer.Heads, logSumExp.Address, heads));
        RunProbe(q, layer, view, scale, logSumExp, lseOfRows: false, rows, shape, logSumExp.Address + sums * sizeof(float), output);
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
        long line = 2L * n * layer.Length;
        PlanArguments view = SendPlan(plan, q.Rows, heads);
        nint parts = ProbeScratch(checked((int)(layer.Heads * line)));
        Launch(
            ProbeKernel("value_probe", layer),
            new LaunchShape(KvStore.PagesFor(layer.Length), n, layer.Heads, TileThreads, SharedBytes: ValueProbeBytes(layer)),
            new ValueProbeArguments(
                q.Address, q.Stride, attended.Address, attended.Stride, layer.Pages, layer.Length, rows.Address, view, scale, logSumExp.Address,
                logSumExp.Stride, 1, heads, layer.Heads, parts));
        SumParts(layer, parts, layer.Heads, line, 2 * n, 1f, sums);
        Launch(
            ProbeKernel("row_squares", layer),
            new LaunchShape(n, 1, 1, TileThreads, SharedBytes: 32 * sizeof(float)),
            new SquaresArguments(attended.Address, attended.Stride, attended.Columns, squares.Address));
    }

    private void RunProbe(
        in Tensor q, in KvLayer layer, in PlanArguments view, float scale, in Tensor logSumExp, bool lseOfRows, in Tensor rows,
        in ProbeShape shape, nint parts, in Tensor output)
    {
        bool direct = shape.PartialFloats == 0;
        int heads = q.Columns / layer.HeadDim;
        Launch(
            ProbeKernel("probe", layer),
            new LaunchShape(
                KvStore.PagesFor(layer.Length), Blocks(rows.Columns, shape.RowsOfBlock), heads / shape.HeadsOfBlock, TileThreads,
                SharedBytes: ProbeBytes(layer)),
            new ProbeArguments(
                q.Address, q.Stride, layer.Pages, layer.Length, rows.Address, rows.Columns, shape.RowsOfBlock, view, scale, logSumExp.Address,
                logSumExp.Stride, lseOfRows ? 1 : 0, heads, layer.Heads, shape.HeadsOfBlock, direct ? shape.Weight : 1f,
                direct ? output.Address : parts, shape.RowStride, shape.HeadStride));
        if (!direct)
            SumParts(layer, parts, shape.Parts, (long)output.Rows * layer.Length, output.Rows, shape.Weight, output);
    }

    private void SumParts(in KvLayer layer, nint parts, int count, long partStride, int lines, float weight, in Tensor output) => Launch(
        ProbeKernel("sum_parts", layer),
        new LaunchShape(Blocks(layer.Length, TileThreads), lines, 1, TileThreads),
        new SumArguments(parts, count, partStride, layer.Length, weight, output.Address, output.Stride));

    private static int CheckProbe(in Tensor q, in KvLayer layer, AttentionPlan plan, in Tensor rows)
    {
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "a probe's heads are not a multiple of the KV heads");
        Check(layer.Length > 0 && rows.Columns > 0, "a probe needs keys and rows");
        CheckIndices(rows);
        plan.Check(q.Rows, layer.Length, q.Columns / layer.HeadDim);
        return q.Columns / layer.HeadDim;
    }

    // How the averaged rows and heads are shared out to blocks. The sum of a KV head's heads, and of 64 rows, is made by itself in
    // each case, so that the bits do not depend on it.
    private ProbeShape ShapeOf(in KvLayer layer, int heads, int rows, ProbeReduction reduction, in Tensor output)
    {
        int lines = reduction switch { ProbeReduction.Heads => rows, ProbeReduction.Rows => heads, _ => 1 };
        Check(output.Rows == lines && output.Columns == layer.Length, "Probe: the output does not match");
        int group = heads / layer.Heads;
        int keys = layer.Length;
        int chunks = Blocks(rows, ProbeRows);
        int Floats(int parts) => checked((int)((long)parts * lines * keys));
        switch (reduction)
        {
            case ProbeReduction.Rows:
                float share = 1f / rows;
                return chunks == 1
                    ? new ProbeShape(ProbeRows, 1, share, 1, 0, 0, output.Stride)
                    : new ProbeShape(ProbeRows, 1, share, chunks, Floats(chunks), (long)heads * keys, keys);
            case ProbeReduction.Heads:
                share = 1f / heads;
                return layer.Heads == 1 || rows * KvStore.PagesFor(keys) > 2 * Multiprocessors
                    ? new ProbeShape(1, heads, share, 1, 0, output.Stride, 0)
                    : new ProbeShape(1, group, share, layer.Heads, Floats(layer.Heads), keys, (long)rows * keys);
            default:
                int parts = chunks * layer.Heads;
                share = 1f / ((float)heads * rows);
                return new ProbeShape(ProbeRows, group, share, parts, parts == 1 ? 0 : Floats(parts), keys, (long)chunks * keys);
        }
    }

    private static KernelId ProbeKernel(string entry, in KvLayer layer) => new("probe.cu", entry, Element(layer.Type), HeadDim(layer));

    private static int ProbeBytes(in KvLayer layer) =>
        HeadBytes(layer) + ProbeVectors * layer.PaddedHeadDim * sizeof(float) + ProbeRows * ProbeRowBytes + 16;

    private static int ValueProbeBytes(in KvLayer layer) => 2 * (HeadBytes(layer) + ProbeVectors * layer.PaddedHeadDim * sizeof(float));

    private PlanArguments SendPlan(AttentionPlan plan, int rows, int heads)
    {
        Send(plan, rows, heads);
        return new PlanArguments(_plan.Segments, _plan.SegmentCount, _plan.Ranges, _plan.KeyMask, _plan.KeyBias, _plan.HeadMasks);
    }

    // Sums of 64 rows each and of every head, two lines of a value probe, and a log-sum-exp of each row.
    private static long ProbeBytes(in ScratchNeeds needs) => needs.ProbedRows == 0
        ? 0
        : ((long)Math.Max(2, Blocks(needs.ProbedRows, ProbeRows)) * needs.Keys + needs.ProbedRows) * needs.Heads * sizeof(float);

    // So many floats of scratch memory; an address even for none.
    private nint ProbeScratch(int floats)
    {
        Grow(ref _scratch, Math.Max(floats, 1) * (long)sizeof(float));
        return _scratch!.DangerousGetHandle();
    }

    /// <summary>How a probe is shared out.</summary>
    private readonly record struct ProbeShape(
        int RowsOfBlock, int HeadsOfBlock, float Weight, int Parts, int PartialFloats, long RowStride, long HeadStride);

    private readonly record struct PlanArguments(nint Segments, int SegmentCount, nint Ranges, nint KeyMask, nint KeyBias, nint HeadMasks);

    private readonly record struct ProbeArguments(
        nint Q, int QStride, nint Pages, int Keys, nint Rows, int RowCount, int RowsOfBlock, PlanArguments Plan, float Scale, nint LogSumExp,
        int LogSumExpStride, int LogSumExpOfRows, int Heads, int KvHeads, int HeadsOfBlock, float Weight, nint Output, long RowStride,
        long HeadStride);

    private readonly record struct LogSumExpArguments(
        nint Q, int QStride, nint Pages, int Keys, nint Rows, PlanArguments Plan, float Scale, int Heads, int KvHeads, nint LogSumExp, int Stride);

    private readonly record struct ValueProbeArguments(
        nint Q, int QStride, nint Attended, int AttendedStride, nint Pages, int Keys, nint Rows, PlanArguments Plan, float Scale, nint LogSumExp,
        int LogSumExpStride, int LogSumExpOfRows, int Heads, int KvHeads, nint Output);

    private readonly record struct SquaresArguments(nint Attended, int Stride, int Columns, nint Output);

    private readonly record struct SumArguments(
        nint Parts, int Count, long PartStride, int Columns, float Weight, nint Output, int OutputStride);
}

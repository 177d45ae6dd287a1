using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>What schedules do between layers.</summary>
internal static class ScheduleCases
{
    private const string Stage = "schedule";

    public static IEnumerable<GpuCase> Make(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        yield return Probe(bench);
        yield return Select(bench);
        int left = model.Rows - model.Visual + model.Keep;
        int[] every = [.. Enumerable.Range(0, left).Select(i => (int)((long)i * model.Rows / left))];
        Tensor x = bench.Memory.Matrix(TensorType.F32, model.Rows, model.Hidden);
        Tensor rows = bench.Memory.Integers(every);
        Tensor few = bench.Memory.Matrix(TensorType.F32, left, model.Hidden);
        long moved = 2 * GpuBench.Bytes(few) + GpuBench.Bytes(rows);
        yield return new GpuCase(Stage, "GatherRows", $"{left} of {model.Rows} x {model.Hidden}", moved, 0, () => bench.Device.GatherRows(x, rows, few));
        yield return new GpuCase(Stage, "ScatterRows", $"{left} to {model.Rows} x {model.Hidden}", moved, 0, () => bench.Device.ScatterRows(few, rows, x));
        yield return Merge(bench, x);
        yield return Fuse(bench);
        yield return Keep(bench, rows);
    }

    // The last row's attention, averaged over heads: what FastV ranks by.
    private static GpuCase Probe(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        int rows = model.Rows;
        KvStore store = bench.Memory.Keys(model.Heads, model.HeadDim, rows);
        Tensor q = bench.Memory.Matrix(TensorType.F32, rows, model.Hidden);
        Tensor attended = bench.Memory.Empty(TensorType.BF16, rows, model.Hidden);
        Tensor sums = bench.Memory.Empty(TensorType.F32, rows, model.Heads);
        var plan = new AttentionPlan();
        plan.SetCausal(rows, 0);
        bench.Device.SegmentAttention(q, store.Layer(0), plan, GpuBench.Scale(model.HeadDim), attended, sums);
        Tensor last = bench.Memory.Integers(rows - 1);
        Tensor output = bench.Memory.Empty(TensorType.F32, 1, rows);
        long bytes = 2L * rows * model.Heads * model.HeadDim + 4L * model.Hidden + GpuBench.Bytes(output);
        return new GpuCase(
            Stage, "Probe, one row", $"{rows} keys, {model.Heads} heads of {model.HeadDim}", bytes, 0,
            () => bench.Device.Probe(q, store.Layer(0), plan, GpuBench.Scale(model.HeadDim), sums, last, ProbeReduction.Heads, output));
    }

    private static GpuCase Select(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        Tensor scores = bench.Memory.Matrix(TensorType.F32, 1, model.Visual);
        Tensor kept = bench.Memory.Empty(TensorType.I32, 1, model.Keep);
        Tensor rest = bench.Memory.Empty(TensorType.I32, 1, model.Visual - model.Keep);
        return new GpuCase(
            Stage, "SelectTop", $"{model.Keep} of {model.Visual}", 8L * model.Visual, 0,
            () => bench.Device.SelectTop(scores, model.Prefix, kept, rest));
    }

    // Neighbours in pairs.
    private static GpuCase Merge(GpuBench bench, Tensor x)
    {
        int pairs = x.Rows / 2;
        Tensor offsets = bench.Memory.Integers([.. Enumerable.Range(0, pairs + 1).Select(i => 2 * i)]);
        Tensor sources = bench.Memory.Integers([.. Enumerable.Range(0, 2 * pairs)]);
        Tensor weights = bench.Memory.Floats([.. Enumerable.Repeat(0.5f, 2 * pairs)]);
        Tensor output = bench.Memory.Empty(TensorType.F32, pairs, x.Columns);
        long bytes = 3 * GpuBench.Bytes(output) + GpuBench.Bytes(offsets) + GpuBench.Bytes(sources) + GpuBench.Bytes(weights);
        return new GpuCase(
            Stage, "MergeRows, pairs", $"{pairs} x {x.Columns}", bytes, 0, () => bench.Device.MergeRows(x, offsets, sources, weights, output));
    }

    private static GpuCase Fuse(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        Tensor x = bench.Memory.Matrix(TensorType.F32, model.PathRows, model.Hidden);
        int first = model.Prefix + model.Keep;
        Tensor one = bench.Memory.Integers([.. Enumerable.Range(first, model.Question)]);
        Tensor other = bench.Memory.Integers([.. Enumerable.Range(model.PathRows - model.Question, model.Question)]);
        Tensor weights = bench.Memory.Floats([.. Enumerable.Repeat(0.5f, model.Question)]);
        return new GpuCase(
            Stage, "FusePaths", $"{model.Question} x {model.Hidden}", 3L * sizeof(float) * model.Question * model.Hidden + 12L * model.Question, 0,
            () => bench.Device.FusePaths(x, one, other, weights));
    }

    // All but the rows that stay where they are.
    private static GpuCase Keep(GpuBench bench, Tensor rows)
    {
        GpuModelShape model = bench.Model;
        KvStore store = bench.Memory.Keys(model.Heads, model.HeadDim, model.Rows);
        long bytes = 2L * 4 * rows.Columns * model.Heads * model.HeadDim;
        return new GpuCase(
            Stage, "KeepKeys", $"{rows.Columns} of {model.Rows}, {model.Heads} heads of {model.HeadDim}", bytes, 0,
            () => bench.Device.KeepKeys(store.Layer(0), rows));
    }
}

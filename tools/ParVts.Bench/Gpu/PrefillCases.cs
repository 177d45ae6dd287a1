using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>One layer of a prefill.</summary>
internal static class PrefillCases
{
    private const string Stage = "prefill";

    public static IEnumerable<GpuCase> Make(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        int rows = model.Rows;
        yield return Embed(bench);
        yield return Norm(bench, Stage, rows);
        yield return bench.MatMul(Stage, "q, k, v, o", rows, model.Hidden, model.Hidden);
        yield return RotaryTable(bench);
        yield return Rope(bench);
        var causal = new AttentionPlan();
        causal.SetCausal(rows, 0);
        yield return bench.Attention(Stage, "causal", model.Heads, model.HeadDim, rows, causal);
        yield return bench.Attention(Stage, "ParVTS", model.Heads, model.HeadDim, model.PathRows, Paths(model));
        yield return bench.MatMul(Stage, "gate, up", rows, model.Hidden, model.Mlp);
        yield return Gate(bench, Stage, rows);
        yield return bench.MatMul(Stage, "down, added", rows, model.Mlp, model.Hidden, accumulate: true);
        yield return bench.MatMul(Stage, "q, k, v, o after ParVTS", rows - model.Visual + model.Keep, model.Hidden, model.Hidden);
    }

    /// <summary>[prefix | subject | question | rest | question]: the paths see the prefix and themselves.</summary>
    public static AttentionPlan Paths(GpuModelShape model)
    {
        int first = model.Prefix + model.Keep + model.Question;
        var plan = new AttentionPlan();
        plan.AddSegment(0, first);
        plan.AddRange(new KeyRange(0, first, KeyRule.Diagonal));
        plan.AddSegment(first, model.PathRows);
        plan.AddRange(new KeyRange(0, model.Prefix, KeyRule.Full));
        plan.AddRange(new KeyRange(first, model.PathRows, KeyRule.Diagonal));
        return plan;
    }

    public static GpuCase Norm(GpuBench bench, string stage, int rows)
    {
        int columns = bench.Model.Hidden;
        Tensor x = bench.Memory.Matrix(TensorType.F32, rows, columns);
        Tensor weight = bench.Memory.Matrix(TensorType.F32, 1, columns);
        Tensor output = bench.Memory.Empty(TensorType.BF16, rows, columns);
        return new GpuCase(
            stage, "RmsNorm", $"{rows} x {columns}", GpuBench.Bytes(x) + GpuBench.Bytes(weight) + GpuBench.Bytes(output), 0,
            () => bench.Device.RmsNorm(x, weight, 1e-5f, output));
    }

    public static GpuCase Gate(GpuBench bench, string stage, int rows)
    {
        int columns = bench.Model.Mlp;
        Tensor gate = bench.Memory.Matrix(TensorType.F32, rows, columns);
        Tensor up = bench.Memory.Matrix(TensorType.F32, rows, columns);
        Tensor output = bench.Memory.Empty(TensorType.BF16, rows, (columns + 7) / 8 * 8) with { Columns = columns };
        return new GpuCase(
            stage, "GatedActivate", $"{rows} x {columns}", GpuBench.Bytes(gate) + GpuBench.Bytes(up) + GpuBench.Bytes(output), 0,
            () => bench.Device.GatedActivate(gate, up, Activation.Silu, output));
    }

    private static GpuCase Embed(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        Tensor table = bench.Memory.Matrix(TensorType.BF16, model.Vocabulary, model.Hidden);

        // Every row another one.
        Tensor ids = bench.Memory.Integers([.. Enumerable.Range(0, model.Rows).Select(i => i * 47 % model.Vocabulary)]);
        Tensor output = bench.Memory.Empty(TensorType.F32, model.Rows, model.Hidden);
        return new GpuCase(
            Stage, "Embed", $"{model.Rows} x {model.Hidden}", GpuBench.Bytes(output) / 2 * 3 + GpuBench.Bytes(ids), 0,
            () => bench.Device.Embed(table, ids, output));
    }

    private static GpuCase RotaryTable(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        Tensor positions = Positions(bench, model.Rows);
        Tensor frequencies = bench.Memory.Matrix(TensorType.F32, 1, model.HeadDim / 2);
        Tensor output = bench.Memory.Empty(TensorType.F32, model.Rows, model.HeadDim);
        return new GpuCase(
            Stage, "RotaryTable", $"{model.Rows} x {model.HeadDim}", GpuBench.Bytes(output) + GpuBench.Bytes(positions), 0,
            () => bench.Device.RotaryTable(positions, frequencies, output));
    }

    private static GpuCase Rope(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        int rows = model.Rows;
        KvStore store = bench.Memory.Keys(model.Heads, model.HeadDim, rows);
        Tensor q = bench.Memory.Matrix(TensorType.F32, rows, model.Hidden);
        Tensor k = bench.Memory.Matrix(TensorType.F32, rows, model.Heads * model.HeadDim);
        Tensor v = bench.Memory.Matrix(TensorType.F32, rows, model.Heads * model.HeadDim);
        Tensor table = Table(bench, rows);
        long bytes = 2 * GpuBench.Bytes(q) + (GpuBench.Bytes(k) + GpuBench.Bytes(v)) / 2 * 3 + GpuBench.Bytes(table);
        return new GpuCase(
            Stage, "RopeStore", $"{rows} rows, {model.Heads} heads of {model.HeadDim}", bytes, 0,
            () => bench.Device.RopeStore(q, k, v, table, store.Layer(0), 0));
    }

    /// <summary>The rotary table of rows 0 and on.</summary>
    public static Tensor Table(GpuBench bench, int rows)
    {
        Tensor table = bench.Memory.Empty(TensorType.F32, rows, bench.Model.HeadDim);
        Tensor frequencies = bench.Memory.Matrix(TensorType.F32, 1, bench.Model.HeadDim / 2);
        bench.Device.RotaryTable(Positions(bench, rows), frequencies, table);
        return table;
    }

    private static Tensor Positions(GpuBench bench, int rows)
    {
        Tensor positions = bench.Memory.Empty(TensorType.I32, rows, 3);
        bench.Device.Upload<int>([.. Enumerable.Range(0, 3 * rows).Select(i => i / 3)], positions);
        return positions;
    }
}

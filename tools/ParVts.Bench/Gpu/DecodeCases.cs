using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>One layer of a decode step, and its end.</summary>
internal static class DecodeCases
{
    private const string Stage = "decode";

    public static IEnumerable<GpuCase> Make(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        yield return PrefillCases.Norm(bench, Stage, 1);
        yield return bench.MatMul(Stage, "q, k, v, o", 1, model.Hidden, model.Hidden);
        yield return Rope(bench);
        foreach (int keys in (int[])[model.Rows - model.Visual + model.Keep, model.Rows, model.ManyKeys])
            yield return Attention(bench, keys);
        yield return bench.MatMul(Stage, "gate, up", 1, model.Hidden, model.Mlp);
        yield return PrefillCases.Gate(bench, Stage, 1);
        yield return bench.MatMul(Stage, "down, added", 1, model.Mlp, model.Hidden, accumulate: true);
        yield return bench.MatMul(Stage, "logits", 1, model.Hidden, model.Vocabulary);
        yield return bench.MatMul(Stage, "q, k, v, o of 8 rows", 8, model.Hidden, model.Hidden);
    }

    private static GpuCase Rope(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        KvStore store = bench.Memory.Keys(model.Heads, model.HeadDim, model.Rows);
        store.PrepareStep();
        Tensor q = bench.Memory.Matrix(TensorType.F32, 1, model.Hidden);
        Tensor k = bench.Memory.Matrix(TensorType.F32, 1, model.Heads * model.HeadDim);
        Tensor v = bench.Memory.Matrix(TensorType.F32, 1, model.Heads * model.HeadDim);
        Tensor table = PrefillCases.Table(bench, 1);
        return new GpuCase(
            Stage, "RopeStore", $"{model.Heads} heads of {model.HeadDim}", 2 * GpuBench.Bytes(q) + 3 * GpuBench.Bytes(k) + GpuBench.Bytes(table), 0,
            () => bench.Device.RopeStore(q, k, v, table, store.StepLayer(0), KvLayer.AtLength));
    }

    private static GpuCase Attention(GpuBench bench, int keys)
    {
        GpuModelShape model = bench.Model;
        KvStore store = bench.Memory.Keys(model.Heads, model.HeadDim, keys);
        Tensor q = bench.Memory.Matrix(TensorType.F32, 1, model.Hidden);
        Tensor output = bench.Memory.Empty(TensorType.BF16, 1, model.Hidden);
        long bytes = 4L * keys * model.Heads * model.HeadDim + GpuBench.Bytes(q) + GpuBench.Bytes(output);
        return new GpuCase(
            Stage, "DecodeAttention", $"{keys} keys, {model.Heads} heads of {model.HeadDim}", bytes, 0,
            () => bench.Device.DecodeAttention(q, store.Layer(0), GpuBench.Scale(model.HeadDim), output));
    }
}

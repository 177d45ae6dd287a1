using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>One layer of the vision tower, and its beginning.</summary>
internal static class TowerCases
{
    private const string Stage = "tower";

    public static IEnumerable<GpuCase> Make(GpuBench bench)
    {
        GpuModelShape model = bench.Model;
        int rows = model.TowerRows;
        yield return Patchify(bench);
        yield return Norm(bench);
        yield return bench.MatMul(Stage, "q, k, v, o", rows, model.TowerHidden, model.TowerHidden);
        var full = new AttentionPlan();
        full.SetFull(rows);
        yield return bench.Attention(Stage, "full", model.TowerHeads, model.TowerHidden / model.TowerHeads, rows, full);
        yield return bench.MatMul(Stage, "fc1", rows, model.TowerHidden, model.TowerMlp);
        yield return Activate(bench);
        yield return bench.MatMul(Stage, "fc2, added", rows, model.TowerMlp, model.TowerHidden, accumulate: true);
        yield return bench.MatMul(Stage, "projector", rows - 1, model.TowerHidden, model.Hidden);
    }

    private static GpuCase Patchify(GpuBench bench)
    {
        int side = bench.Model.Grid * bench.Model.Patch;
        int columns = 3 * bench.Model.Patch * bench.Model.Patch;
        Tensor pixels = bench.Memory.Matrix(TensorType.F32, 3 * side, side);
        Tensor output = bench.Memory.Empty(TensorType.BF16, bench.Model.TowerRows - 1, (columns + 7) / 8 * 8) with { Columns = columns };
        return new GpuCase(
            Stage, "Patchify", $"3 x {side} x {side}", GpuBench.Bytes(pixels) + GpuBench.Bytes(output), 0,
            () => bench.Device.Patchify(pixels, bench.Model.Patch, output));
    }

    private static GpuCase Norm(GpuBench bench)
    {
        int columns = bench.Model.TowerHidden;
        Tensor x = bench.Memory.Matrix(TensorType.F32, bench.Model.TowerRows, columns);
        Tensor weight = bench.Memory.Matrix(TensorType.F32, 1, columns);
        Tensor bias = bench.Memory.Matrix(TensorType.F32, 1, columns);
        Tensor output = bench.Memory.Empty(TensorType.BF16, x.Rows, columns);
        return new GpuCase(
            Stage, "LayerNorm", $"{x.Rows} x {columns}", GpuBench.Bytes(x) + GpuBench.Bytes(weight) + GpuBench.Bytes(bias) + GpuBench.Bytes(output), 0,
            () => bench.Device.LayerNorm(x, weight, bias, 1e-5f, output));
    }

    private static GpuCase Activate(GpuBench bench)
    {
        Tensor x = bench.Memory.Matrix(TensorType.F32, bench.Model.TowerRows, bench.Model.TowerMlp);
        Tensor output = bench.Memory.Empty(TensorType.BF16, x.Rows, x.Columns);
        return new GpuCase(
            Stage, "Activate", $"{x.Rows} x {x.Columns}", GpuBench.Bytes(x) + GpuBench.Bytes(output), 0,
            () => bench.Device.Activate(x, Activation.QuickGelu, output));
    }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>An operation on given operands.</summary>
/// <param name="Stage">Where a model does it: prefill, schedule, decode, tower.</param>
/// <param name="Name">The operation.</param>
/// <param name="Shape">Its sizes, for people.</param>
/// <param name="Bytes">What it must move: every operand once.</param>
/// <param name="Flops">Operations of matrix products.</param>
/// <param name="Run">Queues it.</param>
internal sealed record GpuCase(string Stage, string Name, string Shape, long Bytes, long Flops, Action Run);

/// <summary>The device, its memory and the shapes: what cases are made from.</summary>
internal sealed record GpuBench(ComputeDevice Device, GpuMemory Memory, GpuModelShape Model)
{
    /// <summary>x · wᵀ of random matrices.</summary>
    public GpuCase MatMul(string stage, string name, int rows, int inner, int columns, bool accumulate = false, TensorType type = TensorType.F32)
    {
        Tensor x = Memory.Matrix(TensorType.BF16, rows, inner);
        Tensor weight = Memory.Matrix(TensorType.BF16, columns, inner);
        Tensor output = Memory.Matrix(type, rows, columns);
        long bytes = Bytes(x) + Bytes(weight) + Bytes(output) * (accumulate ? 2 : 1);
        return new GpuCase(
            stage, $"MatMul {name}", $"{rows} x {inner} x {columns}", bytes, 2L * rows * inner * columns,
            () => Device.MatMul(x, weight, default, output, accumulate));
    }

    /// <summary>Attention by a plan over as many keys as rows.</summary>
    public GpuCase Attention(string stage, string name, int heads, int headDim, int rows, AttentionPlan plan)
    {
        KvStore store = Memory.Keys(heads, headDim, rows);
        Tensor q = Memory.Matrix(TensorType.F32, rows, heads * headDim);
        Tensor output = Memory.Empty(TensorType.BF16, rows, heads * headDim);
        Tensor sums = Memory.Empty(TensorType.F32, rows, heads);
        long keys = 4L * rows * heads * headDim;
        return new GpuCase(
            stage, $"SegmentAttention {name}", $"{rows} rows, {heads} heads of {headDim}", Bytes(q) + keys + Bytes(output) + Bytes(sums),
            4L * headDim * plan.CountPairs(heads),
            () => Device.SegmentAttention(q, store.Layer(0), plan, Scale(headDim), output, sums));
    }

    public static float Scale(int headDim) => 1 / MathF.Sqrt(headDim);

    public static long Bytes(in Tensor x) => (long)x.Rows * x.Columns * x.ElementBytes;
}

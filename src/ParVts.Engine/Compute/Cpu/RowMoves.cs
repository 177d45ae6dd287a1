using System.Numerics.Tensors;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Operations that move, mix and drop rows between layers. Few rows and little arithmetic: one thread.</summary>
internal static unsafe class RowMoves
{
    public static void Gather(in Tensor x, in Tensor rows, in Tensor output)
    {
        for (int i = 0; i < output.Rows; i++)
            RowOf(x, rows.Integers[i]).CopyTo(RowOf(output, i));
    }

    public static void Scatter(in Tensor x, in Tensor rows, in Tensor output)
    {
        for (int i = 0; i < x.Rows; i++)
            RowOf(x, i).CopyTo(RowOf(output, rows.Integers[i]));
    }

    public static void Merge(in Tensor x, in Tensor offsets, in Tensor sources, in Tensor weights, in Tensor output)
    {
        for (int i = 0; i < output.Rows; i++)
        {
            Span<float> result = RowOf(output, i);
            result.Clear();
            for (int entry = offsets.Integers[i]; entry < offsets.Integers[i + 1]; entry++)
            {
                ReadOnlySpan<float> source = RowOf(x, sources.Integers[entry]);
                TensorPrimitives.FusedMultiplyAdd(source, weights.Floats[entry], result, result);
            }
        }
    }

    public static void Fuse(in Tensor x, in Tensor first, in Tensor second, in Tensor weights)
    {
        for (int i = 0; i < first.Columns; i++)
        {
            // Written as a sum of two products, so that a weight of 1 leaves the first row's bits alone.
            float weight = weights.Floats[i];
            float other = 1f - weight;
            Span<float> a = RowOf(x, first.Integers[i]);
            ReadOnlySpan<float> b = RowOf(x, second.Integers[i]);
            for (int d = 0; d < a.Length; d++)
                a[d] = weight * a[d] + other * b[d];
        }
    }

    public static void PathWeights(in Tensor logSumExp, in Tensor first, in Tensor second, in Tensor output)
    {
        for (int i = 0; i < output.Columns; i++)
        {
            float* a = logSumExp.Floats + (long)first.Integers[i] * logSumExp.Stride;
            float* b = logSumExp.Floats + (long)second.Integers[i] * logSumExp.Stride;
            float sum = 0f;
            for (int head = 0; head < logSumExp.Columns; head++)
                sum += Sigmoid(a[head], b[head]);
            output.Floats[i] = sum / logSumExp.Columns;
        }
    }

    public static void KeepKeys(in KvLayer layer, in Tensor rows, int first)
    {
        int padded = layer.PaddedHeadDim;
        for (int i = first; i < first + rows.Columns; i++)
        {
            int source = rows.Integers[i - first];
            if (source == i)
                continue;
            for (int head = 0; head < layer.Heads; head++)
            {
                Copy(layer.Keys(source / KvStore.PageRows, head), layer.Keys(i / KvStore.PageRows, head), source, i, padded);
                Copy(layer.Values(source / KvStore.PageRows, head), layer.Values(i / KvStore.PageRows, head), source, i, padded);
            }
        }
    }

    private static void Copy(float* from, float* to, int source, int destination, int padded) =>
        new ReadOnlySpan<float>(from + source % KvStore.PageRows * padded, padded)
            .CopyTo(new Span<float>(to + destination % KvStore.PageRows * padded, padded));

    // σ(a − b). Where neither path saw anything (−∞ both), neither outweighs the other.
    private static float Sigmoid(float a, float b) => a == b ? 0.5f : 1f / (1f + MathF.Exp(b - a));

    private static Span<float> RowOf(in Tensor tensor, int row) =>
        new(tensor.Floats + (long)row * tensor.Stride, tensor.Columns);
}

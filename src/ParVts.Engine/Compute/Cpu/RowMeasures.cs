using System.Numerics.Tensors;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Small numbers about rows, for policies. Little arithmetic: one thread.</summary>
internal static unsafe class RowMeasures
{
    /// <summary>Divides dot products of rows by the rows' norms; a row of norm 0 is similar to nothing.</summary>
    public static void Normalise(in Tensor x, in Tensor y, in Tensor products)
    {
        float[] norms = new float[y.Rows];
        for (int j = 0; j < norms.Length; j++)
            norms[j] = TensorPrimitives.Norm(RowOf(y, j));
        for (int i = 0; i < x.Rows; i++)
        {
            float norm = TensorPrimitives.Norm(RowOf(x, i));
            Span<float> line = RowOf(products, i);
            for (int j = 0; j < line.Length; j++)
            {
                float divisor = norm * norms[j];
                line[j] = divisor > 0 ? line[j] / divisor : 0f;
            }
        }
    }

    public static void MeanHeads(in Tensor x, in Tensor output)
    {
        int heads = x.Columns / output.Columns;
        for (int row = 0; row < x.Rows; row++)
        {
            Span<float> mean = RowOf(output, row);
            mean.Clear();
            for (int head = 0; head < heads; head++)
                TensorPrimitives.Add(mean, RowOf(x, row).Slice(head * output.Columns, output.Columns), mean);
            TensorPrimitives.Divide(mean, heads, mean);
        }
    }

    public static void AbsoluteSums(in Tensor x, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
            output.Floats[row] = TensorPrimitives.SumOfMagnitudes<float>(RowOf(x, row));
    }

    public static void Squares(in Tensor x, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
            output.Floats[row] = TensorPrimitives.SumOfSquares<float>(RowOf(x, row));
    }

    public static void ReadKeys(in KvLayer layer, int firstRow, in Tensor output)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            int key = firstRow + row;
            for (int head = 0; head < layer.Heads; head++)
            {
                float* stored = layer.Keys(key / KvStore.PageRows, head) + key % KvStore.PageRows * layer.PaddedHeadDim;
                new ReadOnlySpan<float>(stored, layer.HeadDim).CopyTo(RowOf(output, row).Slice(head * layer.HeadDim, layer.HeadDim));
            }
        }
    }

    private static Span<float> RowOf(in Tensor tensor, int row) => new(tensor.Floats + (long)row * tensor.Stride, tensor.Columns);
}

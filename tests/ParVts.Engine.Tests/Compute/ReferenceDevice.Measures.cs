using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <content>What policies measure.</content>
internal abstract unsafe partial class PlainDevice<T>
{
    public override void PreProbe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        using DeviceBuffer memory = Allocate((long)q.Rows * (q.Columns + q.Columns / layer.HeadDim) * sizeof(double));
        int heads = q.Columns / layer.HeadDim;
        Tensor logSumExp = memory.View(TensorType.F64, q.Rows, heads);
        Tensor attended = new(logSumExp.Address + (nint)q.Rows * heads * sizeof(double), TensorType.F64, q.Rows, q.Columns);
        SegmentAttention(q, layer, plan, scale, attended, logSumExp);
        Probe(q, layer, plan, scale, logSumExp, rows, reduction, output);
    }

    public override void ValueProbe(
        in Tensor q, in Tensor attended, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        in Tensor sums, in Tensor squares)
    {
        int size = layer.HeadDim;
        int heads = q.Columns / size;
        for (int i = 0; i < rows.Columns; i++)
        {
            int row = ((int*)rows.Address)[i];
            for (int key = 0; key < layer.Length; key++)
            {
                T a = T.Zero;
                T b = T.Zero;
                for (int head = 0; head < heads; head++)
                {
                    if (!Sees(plan, row, head, key))
                        continue;
                    T probability = Probability(q, layer, plan, scale, logSumExp, row, head, key);
                    T product = T.Zero;
                    T square = T.Zero;
                    for (int d = 0; d < size; d++)
                    {
                        T value = T.CreateChecked(layer.Values(key / 64, head / (heads / layer.Heads))[key % 64 * layer.PaddedHeadDim + d]);
                        product += Get(attended, i, head * size + d) * value;
                        square += value * value;
                    }

                    a += probability * product;
                    b += probability * probability * square;
                }

                Set(sums, 2 * i, key, a);
                Set(sums, 2 * i + 1, key, b);
            }

            T squared = T.Zero;
            for (int d = 0; d < attended.Columns; d++)
                squared += Get(attended, i, d) * Get(attended, i, d);
            Set(squares, 0, i, squared);
        }
    }

    public override void Similarity(in Tensor x, in Tensor y, bool cosine, in Tensor output)
    {
        for (int i = 0; i < x.Rows; i++)
        {
            for (int j = 0; j < y.Rows; j++)
            {
                T product = Product(x, i, y, j);
                T norms = T.Sqrt(Product(x, i, x, i)) * T.Sqrt(Product(y, j, y, j));
                Set(output, i, j, !cosine ? product : norms > T.Zero ? product / norms : T.Zero);
            }
        }
    }

    public override void MeanHeads(in Tensor x, in Tensor output)
    {
        int heads = x.Columns / output.Columns;
        for (int row = 0; row < x.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                T sum = T.Zero;
                for (int head = 0; head < heads; head++)
                    sum += Get(x, row, head * output.Columns + i);
                Set(output, row, i, sum / T.CreateChecked(heads));
            }
        }
    }

    public override void AbsoluteSums(in Tensor x, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            T sum = T.Zero;
            for (int i = 0; i < x.Columns; i++)
                sum += T.Abs(Get(x, row, i));
            Set(output, 0, row, sum);
        }
    }

    public override void ReadKeys(in KvLayer layer, int firstRow, in Tensor output)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                int key = firstRow + row;
                float stored = layer.Keys(key / 64, i / layer.HeadDim)[key % 64 * layer.PaddedHeadDim + i % layer.HeadDim];
                Set(output, row, i, T.CreateChecked(stored));
            }
        }
    }

    public override Readback CreateReadback(int bytes) => throw new NotSupportedException();

    private static T Product(in Tensor x, int i, in Tensor y, int j)
    {
        T sum = T.Zero;
        for (int d = 0; d < x.Columns; d++)
            sum += Get(x, i, d) * Get(y, j, d);
        return sum;
    }

    private static T Probability(in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, int row, int head, int key)
    {
        int size = layer.HeadDim;
        int kvHead = head / (q.Columns / size / layer.Heads);
        T score = T.Zero;
        for (int d = 0; d < size; d++)
            score += Get(q, row, head * size + d) * T.CreateChecked(layer.Keys(key / 64, kvHead)[key % 64 * layer.PaddedHeadDim + d]);
        return T.Exp(score * T.CreateChecked(scale) + Bias(plan, key) - Get(logSumExp, row, head));
    }
}

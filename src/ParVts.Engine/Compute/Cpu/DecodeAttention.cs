using System.Runtime.Intrinsics;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Attention of one new row over a whole layer: page by page with an online softmax. A task is one KV head, so that
/// the query heads of its group read keys and values while they are in the cache.
/// </summary>
internal static unsafe class DecodeAttention
{
    private const int PageRows = KvStore.PageRows;

    /// <summary>Runs it; see <see cref="ComputeDevice.DecodeAttention"/>.</summary>
    public static void Run(WorkerPool pool, in Tensor q, in KvLayer layer, float scale, in Tensor output)
    {
        var work = new Work { Q = q, Layer = layer, Output = output, Scale = scale };
        pool.Run(layer.Heads, &RunHead, &work);
    }

    private static void RunHead(void* state, int kvHead, int worker)
    {
        Work* work = (Work*)state;
        int headDim = work->Layer.HeadDim;
        int group = work->Q.Columns / headDim / work->Layer.Heads;
        for (int head = kvHead * group; head < (kvHead + 1) * group; head++)
            Attend(work, kvHead, work->Q.Floats + head * headDim, work->Output.Floats + head * headDim);
    }

    private static void Attend(Work* work, int kvHead, float* query, float* output)
    {
        int padded = work->Layer.PaddedHeadDim;
        int headDim = work->Layer.HeadDim;
        float* scores = stackalloc float[PageRows];
        float* paddedQuery = stackalloc float[padded];
        float* sum = stackalloc float[padded];
        new Span<float>(sum, padded).Clear();
        for (int d = 0; d < padded; d++)
            paddedQuery[d] = d < headDim ? query[d] : 0f;
        float maximum = float.NegativeInfinity;
        float denominator = 0f;
        for (int start = 0; start < work->Layer.Length; start += PageRows)
        {
            int rows = Math.Min(PageRows, work->Layer.Length - start);
            float* keys = work->Layer.Keys(start / PageRows, kvHead);
            float largest = maximum;
            for (int row = 0; row < rows; row++)
            {
                scores[row] = Dot(paddedQuery, keys + row * padded, padded);
                largest = Math.Max(largest, scores[row]);
            }

            float correction = MathF.Exp((maximum - largest) * work->Scale);
            denominator = denominator * correction + Exponentiate(scores, rows, largest, work->Scale);
            maximum = largest;
            Accumulate(scores, work->Layer.Values(start / PageRows, kvHead), rows, padded, correction, sum);
        }

        float inverse = denominator == 0f ? 0f : 1f / denominator;
        for (int d = 0; d < headDim; d++)
            output[d] = sum[d] * inverse;
    }

    private static float Dot(float* x, float* y, int count)
    {
        Vector256<float> even = default;
        Vector256<float> odd = default;
        for (int i = 0; i < count; i += 16)
        {
            even = Vector256.FusedMultiplyAdd(Vector256.Load(x + i), Vector256.Load(y + i), even);
            odd = Vector256.FusedMultiplyAdd(Vector256.Load(x + i + 8), Vector256.Load(y + i + 8), odd);
        }

        return SimdMath.Sum(even + odd);
    }

    private static float Exponentiate(float* scores, int rows, float origin, float scale)
    {
        for (int row = rows; row < ((rows + 7) & ~7); row++)
            scores[row] = float.NegativeInfinity;
        Vector256<float> total = default;
        for (int row = 0; row < rows; row += 8)
        {
            Vector256<float> probability = SimdMath.Exp(
                (Vector256.Load(scores + row) - Vector256.Create(origin)) * Vector256.Create(scale));
            probability.Store(scores + row);
            total += probability;
        }

        return SimdMath.Sum(total);
    }

    private static void Accumulate(float* scores, float* values, int rows, int padded, float correction, float* sum)
    {
        for (int d = 0; d < padded; d += 16)
        {
            Vector256<float> low = Vector256.Load(sum + d) * Vector256.Create(correction);
            Vector256<float> high = Vector256.Load(sum + d + 8) * Vector256.Create(correction);
            float* column = values + d;
            for (int row = 0; row < rows; row++, column += padded)
            {
                Vector256<float> weight = Vector256.Create(scores[row]);
                low = Vector256.FusedMultiplyAdd(weight, Vector256.Load(column), low);
                high = Vector256.FusedMultiplyAdd(weight, Vector256.Load(column + 8), high);
            }

            low.Store(sum + d);
            high.Store(sum + d + 8);
        }
    }

    private struct Work
    {
        public Tensor Q;
        public KvLayer Layer;
        public Tensor Output;
        public float Scale;
    }
}

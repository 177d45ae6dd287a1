using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Products of few rows, as in decoding: each weight is read once from memory, as it is stored, and that reading is
/// what takes the time. Four weight rows go together, so that four streams and eight sums are in flight.
/// The bits of a row do not depend on the number of rows.
/// </summary>
internal static unsafe class Gemv
{
    private const int TaskColumns = 64;

    // Elements between the arithmetic and the weights that are fetched.
    private const int Ahead = 384;

    /// <summary>Floats of workspace: the rows in the order in which the loop reads them, and widened F16 rows.</summary>
    public static long WorkspaceFloats(int rows, int inner, int threads) => (long)Padded(inner) * (rows + 4 * threads);

    /// <summary>Runs one product; see <see cref="ComputeDevice.MatMul"/>.</summary>
    public static void Run(
        WorkerPool pool, in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate, float* workspace)
    {
        int padded = Padded(x.Columns);
        var work = new Work
        {
            Weight = weight,
            Bias = bias.Floats,
            Output = output,
            Accumulate = accumulate,
            Rows = workspace,
            RowCount = x.Rows,
            Padded = padded,
            Widened = workspace + (long)padded * x.Rows,
        };
        for (int row = 0; row < x.Rows; row++)
            Arrange(x.Floats + (long)row * x.Stride, x.Columns, weight.Type == TensorType.BF16, workspace + (long)row * padded, padded);
        pool.Run((weight.Rows + TaskColumns - 1) / TaskColumns, &RunTask, &work);
    }

    private static int Padded(int inner) => (inner + 15) & ~15;

    // BF16 pairs are widened as even and odd elements (a shift and a mask); the row is put in the same order.
    private static void Arrange(float* source, int count, bool pairs, float* destination, int padded)
    {
        new Span<float>(destination, padded).Clear();
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            for (int j = 0; j < 8; j++)
            {
                destination[i + j] = source[pairs ? i + 2 * j : i + j];
                destination[i + 8 + j] = source[pairs ? i + 2 * j + 1 : i + 8 + j];
            }
        }

        for (int i = whole; i < count; i++)
            destination[i] = source[i];
    }

    private static void RunTask(void* state, int task, int worker)
    {
        Work* work = (Work*)state;
        int end = Math.Min((task + 1) * TaskColumns, work->Weight.Rows);
        float* results = stackalloc float[4];
        float* widened = work->Widened + (long)worker * 4 * work->Padded;
        for (int column = task * TaskColumns; column < end; column += 4)
        {
            int count = Math.Min(4, end - column);
            byte* rows = (byte*)work->Weight.Address + (long)column * work->Weight.Stride * work->Weight.ElementBytes;
            if (work->Weight.Type == TensorType.F16)
                WidenRows(work, rows, count, widened);
            for (int row = 0; row < work->RowCount; row++)
            {
                float* x = work->Rows + (long)row * work->Padded;
                Dot(work, x, rows, widened, count, results);
                float* bias = work->Bias == null ? null : work->Bias + column;
                float* output = work->Output.Floats + (long)row * work->Output.Stride + column;
                Gemm.Finish(results, bias, output, count, work->Accumulate);
            }
        }
    }

    private static void WidenRows(Work* work, byte* rows, int count, float* widened)
    {
        for (int i = 0; i < count; i++)
        {
            Packing.Widen(
                rows + (long)i * work->Weight.Stride * sizeof(ushort), TensorType.F16, work->Weight.Columns,
                widened + (long)i * work->Padded);
        }
    }

    private static void Dot(Work* work, float* x, byte* rows, float* widened, int count, float* results)
    {
        int inner = work->Weight.Columns;
        nint stride = work->Weight.Stride;
        switch (work->Weight.Type)
        {
            case TensorType.BF16 when count == 4:
                DotPairs4(x, (ushort*)rows, stride, inner, results);
                break;
            case TensorType.BF16:
                for (int i = 0; i < count; i++)
                    results[i] = DotPairs(x, (ushort*)rows + i * stride, inner);
                break;
            case TensorType.F16:
                for (int i = 0; i < count; i++)
                    results[i] = DotFloats(x, widened + (long)i * work->Padded, inner);
                break;
            default:
                for (int i = 0; i < count; i++)
                    results[i] = DotFloats(x, (float*)rows + i * stride, inner);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DotPairs4(float* x, ushort* rows, nint stride, int inner, float* results)
    {
        ushort* w1 = rows + stride;
        ushort* w2 = w1 + stride;
        ushort* w3 = w2 + stride;
        Vector256<uint> high = Vector256.Create(0xFFFF0000u);
        Vector256<float> e0 = default, e1 = default, e2 = default, e3 = default;
        Vector256<float> o0 = default, o1 = default, o2 = default, o3 = default;
        int whole = inner & ~15;
        for (nint i = 0; i < whole; i += 16)
        {
            if (Sse.IsSupported && (i & 16) == 0)
            {
                // A row is about a page long, and the processor's own prefetching ends with a page: the weights to come
                // are asked for a little ahead, at the end of these rows the beginnings of the next four.
                nint ahead = i + Ahead < whole ? i + Ahead : i + Ahead - whole + 4 * stride;
                Sse.Prefetch0(rows + ahead);
                Sse.Prefetch0(w1 + ahead);
                Sse.Prefetch0(w2 + ahead);
                Sse.Prefetch0(w3 + ahead);
            }

            Vector256<float> even = Vector256.Load(x + i);
            Vector256<float> odd = Vector256.Load(x + i + 8);
            Vector256<uint> pairs = Vector256.Load((uint*)(rows + i));
            e0 = Vector256.FusedMultiplyAdd((pairs << 16).AsSingle(), even, e0);
            o0 = Vector256.FusedMultiplyAdd((pairs & high).AsSingle(), odd, o0);
            pairs = Vector256.Load((uint*)(w1 + i));
            e1 = Vector256.FusedMultiplyAdd((pairs << 16).AsSingle(), even, e1);
            o1 = Vector256.FusedMultiplyAdd((pairs & high).AsSingle(), odd, o1);
            pairs = Vector256.Load((uint*)(w2 + i));
            e2 = Vector256.FusedMultiplyAdd((pairs << 16).AsSingle(), even, e2);
            o2 = Vector256.FusedMultiplyAdd((pairs & high).AsSingle(), odd, o2);
            pairs = Vector256.Load((uint*)(w3 + i));
            e3 = Vector256.FusedMultiplyAdd((pairs << 16).AsSingle(), even, e3);
            o3 = Vector256.FusedMultiplyAdd((pairs & high).AsSingle(), odd, o3);
        }

        // All sums before the first call: a vector that lives across a call costs the loop a store each time round where the code is compiled
        // ahead of time.
        float s0 = SimdMath.Sum(e0 + o0), s1 = SimdMath.Sum(e1 + o1), s2 = SimdMath.Sum(e2 + o2), s3 = SimdMath.Sum(e3 + o3);
        results[0] = s0 + Tail(x, rows, whole, inner);
        results[1] = s1 + Tail(x, w1, whole, inner);
        results[2] = s2 + Tail(x, w2, whole, inner);
        results[3] = s3 + Tail(x, w3, whole, inner);
    }

    private static float DotPairs(float* x, ushort* row, int inner)
    {
        Vector256<uint> high = Vector256.Create(0xFFFF0000u);
        Vector256<float> evens = default;
        Vector256<float> odds = default;
        int whole = inner & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            Vector256<uint> pairs = Vector256.Load((uint*)(row + i));
            evens = Vector256.FusedMultiplyAdd((pairs << 16).AsSingle(), Vector256.Load(x + i), evens);
            odds = Vector256.FusedMultiplyAdd((pairs & high).AsSingle(), Vector256.Load(x + i + 8), odds);
        }

        return SimdMath.Sum(evens + odds) + Tail(x, row, whole, inner);
    }

    // Inlined: a loop that hardly ever runs is not worth a call for every row.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Tail(float* x, ushort* row, int from, int to)
    {
        float sum = 0f;
        for (int i = from; i < to; i++)
            sum += x[i] * BitConverter.Int32BitsToSingle(row[i] << 16);
        return sum;
    }

    private static float DotFloats(float* x, float* row, int inner)
    {
        Vector256<float> low = default;
        Vector256<float> high = default;
        int whole = inner & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            low = Vector256.FusedMultiplyAdd(Vector256.Load(row + i), Vector256.Load(x + i), low);
            high = Vector256.FusedMultiplyAdd(Vector256.Load(row + i + 8), Vector256.Load(x + i + 8), high);
        }

        float sum = SimdMath.Sum(low + high);
        for (int i = whole; i < inner; i++)
            sum += x[i] * row[i];
        return sum;
    }

    private struct Work
    {
        public Tensor Weight;
        public float* Bias;
        public Tensor Output;
        public bool Accumulate;
        public float* Rows;
        public int RowCount;
        public int Padded;
        public float* Widened;
    }
}

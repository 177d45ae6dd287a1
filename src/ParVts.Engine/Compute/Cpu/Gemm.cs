using System.Runtime.Intrinsics;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Matrix products on the CPU, output (+)= x · weightᵀ (+ bias), by the blocking of Goto and van de Geijn (Anatomy of
/// high-performance matrix multiplication, 2008). The left matrix is packed once for all threads; a task is a chunk of
/// output columns, whose weights it packs, widening them, block by block into its cache.
/// <para>
/// Each element is one chain of fused multiply-adds over the inner dimension, beginning at zero; bias and residual are
/// added behind it. So the bits of a row do not depend on the other rows, their number, or the number of threads.
/// </para>
/// </summary>
internal static unsafe class Gemm
{
    // Inner elements of a block: a weight panel (16 columns) then fills half of a 32 KiB first-level cache.
    private const int BlockInner = 256;

    // Rows of a block: its packed part of x (192 KiB) stays in the second-level cache while all panels of the chunk pass.
    private const int BlockRows = 192;
    private const int ChunkColumns = 128;

    /// <summary>Rows from which on matrices are packed; below, <see cref="Gemv"/> streams the weights.</summary>
    public const int LeastRows = 8;

    /// <summary>Bytes of workspace for products of at most so many rows and inner elements.</summary>
    public static long WorkspaceBytes(int rows, int inner, int threads) => sizeof(float) * (rows < LeastRows
        ? Gemv.WorkspaceFloats(rows, inner, threads)
        : Math.Max(
            Gemv.WorkspaceFloats(LeastRows - 1, inner, threads),
            PackedRows(rows) * inner + threads * WorkerFloats(rows)));

    /// <summary>Runs one product; see <see cref="ComputeDevice.MatMul"/>.</summary>
    public static void Run(
        WorkerPool pool, in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate, void* workspace,
        bool? wide = null)
    {
        if (x.Rows < LeastRows)
        {
            Gemv.Run(pool, x, weight, bias, output, accumulate, (float*)workspace);
            return;
        }

        bool use512 = wide ?? Vector512.IsHardwareAccelerated;
        var work = new Work
        {
            X = x,
            Weight = weight,
            Bias = bias.Floats,
            Output = output,
            Accumulate = accumulate,
            Wide = use512,
            TileRows = use512 ? 12 : 6,
            TileColumns = use512 ? 32 : 16,
            Packed = (float*)workspace,
            Chunk = ChunkOf(weight.Rows, pool.Threads),
        };
        work.WorkerArea = work.Packed + PackedRows(x.Rows) * x.Columns;
        int tiles = (x.Rows + work.TileRows - 1) / work.TileRows;
        pool.Run(tiles, &PackTile, &work);
        pool.Run((weight.Rows + work.Chunk - 1) / work.Chunk, &MultiplyChunk, &work);
    }

    // Fewer columns to a task where there would not be several tasks for each thread.
    private static int ChunkOf(int columns, int threads)
    {
        int chunk = ChunkColumns;
        while (chunk > 32 && columns / chunk < 4 * threads)
            chunk /= 2;
        return chunk;
    }

    private static long PackedRows(int rows) => (rows + 11) / 12 * 12L;

    private static long WorkerFloats(int rows) => (long)BlockInner * (ChunkColumns + 8) + PackedRows(rows) * ChunkColumns;

    private static void PackTile(void* state, int task, int worker)
    {
        Work* work = (Work*)state;
        int inner = work->X.Columns;
        int row = task * work->TileRows;
        for (int k0 = 0; k0 < inner; k0 += BlockInner)
        {
            int k = Math.Min(BlockInner, inner - k0);
            float* panel = work->Panel(k0, k, task);
            Packing.PackFloats(work->X.Floats, work->X.Stride, work->X.Rows, row, work->TileRows, k0, k, panel);
        }
    }

    private static void MultiplyChunk(void* state, int task, int worker)
    {
        Work* work = (Work*)state;
        int inner = work->X.Columns;
        int first = task * work->Chunk;
        int columns = Math.Min(work->Chunk, work->Weight.Rows - first);
        int padded = (columns + work->TileColumns - 1) / work->TileColumns * work->TileColumns;
        float* area = work->WorkerArea + worker * WorkerFloats(work->X.Rows);
        float* panels = area;
        float* scratch = panels + BlockInner * ChunkColumns;
        float* sums = scratch + BlockInner * 8;
        new Span<float>(sums, checked((int)(PackedRows(work->X.Rows) * padded))).Clear();
        for (int k0 = 0; k0 < inner; k0 += BlockInner)
        {
            int k = Math.Min(BlockInner, inner - k0);
            for (int column = 0; column < padded; column += work->TileColumns)
                Packing.PackWeights(work->Weight, first + column, work->TileColumns, k0, k, panels + column * k, scratch);
            MultiplyBlock(work, k0, k, panels, padded, sums);
        }

        WriteOut(work, first, columns, sums, padded);
    }

    private static void MultiplyBlock(Work* work, int k0, int k, float* panels, int columns, float* sums)
    {
        int tileRows = work->TileRows;
        for (int block = 0; block < work->X.Rows; block += BlockRows)
        {
            int end = Math.Min(block + BlockRows, work->X.Rows);
            for (int column = 0; column < columns; column += work->TileColumns)
            {
                for (int row = block; row < end; row += tileRows)
                {
                    float* left = work->Panel(k0, k, row / tileRows);
                    float* tile = sums + (long)row * columns + column;
                    if (work->Wide)
                        MicroKernels.Multiply12x32(k, left, panels + column * k, tile, columns);
                    else
                        MicroKernels.Multiply6x16(k, left, panels + column * k, tile, columns);
                }
            }
        }
    }

    private static void WriteOut(Work* work, int first, int columns, float* sums, int stride)
    {
        for (int row = 0; row < work->X.Rows; row++)
        {
            float* source = sums + (long)row * stride;
            float* destination = work->Output.Floats + (long)row * work->Output.Stride + first;
            float* bias = work->Bias == null ? null : work->Bias + first;
            Finish(source, bias, destination, columns, work->Accumulate);
        }
    }

    /// <summary>destination (+)= source (+ bias).</summary>
    public static void Finish(float* source, float* bias, float* destination, int count, bool accumulate)
    {
        int i = 0;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> value = Vector256.Load(source + i);
            if (bias != null)
                value += Vector256.Load(bias + i);
            if (accumulate)
                value += Vector256.Load(destination + i);
            value.Store(destination + i);
        }

        for (; i < count; i++)
        {
            float value = bias == null ? source[i] : source[i] + bias[i];
            destination[i] = accumulate ? destination[i] + value : value;
        }
    }

    private struct Work
    {
        public Tensor X;
        public Tensor Weight;
        public float* Bias;
        public Tensor Output;
        public bool Accumulate;
        public bool Wide;
        public int TileRows;
        public int TileColumns;
        public int Chunk;
        public float* Packed;
        public float* WorkerArea;

        // Blocks of the inner dimension lie behind each other; inside one, a panel a tile.
        public readonly float* Panel(int k0, int k, int tile) =>
            Packed + (X.Rows + TileRows - 1) / TileRows * TileRows * (long)k0 + (long)tile * TileRows * k;
    }
}

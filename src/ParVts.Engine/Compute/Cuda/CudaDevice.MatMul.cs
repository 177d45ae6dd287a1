using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Matrix products, by our own kernels or by cuBLAS.</content>
public sealed unsafe partial class CudaDevice
{
    // gemv.cu: takes fewer rows than these; threads, and columns of a block.
    private const int FewRows = 8;
    private const int GemvThreads = 128;
    private const int GemvColumns = 4;

    // matmul.cu: the buffers of every tile shape.
    private const int MatMulTileBytes = 48 * 1024;

    // The largest first.
    private static readonly TileShape[] s_tiles = [new("matmul_128x128", 128, 128, 128), new("matmul_64x64", 64, 64, 128), new("matmul_16x32", 16, 32, 64)];

    /// <inheritdoc/>
    public override void MatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate = false)
    {
        CheckMatMul(x, weight, bias, output, accumulate);
        Counters.MatMulFlops += 2L * x.Rows * x.Columns * weight.Rows;
        Macro element = Element(x.Type);
        var store = new Macro("OUTPUT", output.Type == TensorType.F32 ? 0 : 1);
        var arguments = new MatMulArguments(
            x.Address, x.Stride, weight.Address, weight.Stride, bias.Address, output.Address, output.Stride, x.Rows, weight.Rows, x.Columns,
            accumulate ? 1 : 0);
        if (x.Rows < FewRows)
        {
            int rows = x.Rows == 1 ? 1 : FewRows;
            Launch(
                new KernelId("gemv.cu", "gemv", element, store, new Macro("ROWS", rows)),
                new LaunchShape(Blocks(weight.Rows, GemvColumns), 1, 1, GemvThreads),
                arguments);
            return;
        }

        if (_cublas is not null)
        {
            MultiplyByCublas(_cublas, x, weight, bias, output, accumulate);
            return;
        }

        TileShape tile = ChooseTile(x.Rows, weight.Rows, _shared.Context.Device.Multiprocessors);
        Launch(
            new KernelId("matmul.cu", tile.Kernel, element, store),
            new LaunchShape(tile.Count(x.Rows, weight.Rows), 1, 1, tile.Threads, SharedBytes: MatMulTileBytes),
            arguments);
    }

    // cuBLAS adds to what is there: the bias, or the bias on top of it. A 16-bit output would round between the two.
    private void MultiplyByCublas(CublasHandle cublas, in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate)
    {
        Check(bias.IsEmpty || output.Type == TensorType.F32, "MatMul: with cuBLAS, a bias needs an F32 output");
        if (!bias.IsEmpty)
        {
            Launch(
                new KernelId("rows.cu", "fill_rows"),
                new LaunchShape(output.Rows, 1, 1, RowThreads),
                new FillArguments(bias.Address, output.Address, output.Stride, output.Columns, accumulate ? 1 : 0));
        }

        cublas.Gemm(Matrix(x), Matrix(weight), Matrix(output), beta: accumulate || !bias.IsEmpty ? 1f : 0f);

        static CublasMatrix Matrix(in Tensor tensor) => new((ulong)tensor.Address, tensor.Rows, tensor.Columns, Math.Max(tensor.Stride, tensor.Columns), tensor.Type switch
        {
            TensorType.F32 => CublasType.Float32,
            TensorType.F16 => CublasType.Float16,
            _ => CublasType.BFloat16,
        });
    }

    // The largest tiles that still give every multiprocessor work. A row's bits are the same in all of them.
    private static TileShape ChooseTile(int rows, int columns, int multiprocessors)
    {
        foreach (TileShape tile in s_tiles)
        {
            if (tile.Count(rows, columns) >= multiprocessors)
                return tile;
        }

        return s_tiles[^1];
    }

    private static void CheckMatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate)
    {
        if (x.Rows < 1 || x.Columns != weight.Columns || output.Rows != x.Rows || output.Columns != weight.Rows)
        {
            throw new ArgumentException(
                $"MatMul: [{x.Rows}, {x.Columns}] · [{weight.Rows}, {weight.Columns}]ᵀ does not give [{output.Rows}, {output.Columns}]");
        }

        Check(x.Type is TensorType.BF16 or TensorType.F16 && weight.Type == x.Type, "MatMul: x and weight are both BF16 or both F16");
        Check(output.Type == TensorType.F32 || (output.Type == x.Type && !accumulate), "MatMul: the output is F32, or of x's type where nothing is added to it");
        Check(bias.IsEmpty || (bias.Columns == weight.Rows && bias.Type == TensorType.F32), "MatMul: the bias is [1, N] F32");
        Check(Aligned(x) && Aligned(weight) && Aligned(output), "MatMul: matrices and their rows begin at multiples of 16 bytes");
    }

    private static bool Aligned(in Tensor matrix) =>
        matrix.Address % 16 == 0 && (matrix.Rows == 1 || (long)matrix.Stride * matrix.ElementBytes % 16 == 0);

    private readonly record struct TileShape(string Kernel, int Rows, int Columns, int Threads)
    {
        public int Count(int rows, int columns) => checked(Blocks(rows, Rows) * Blocks(columns, Columns));
    }

    private readonly record struct FillArguments(nint Row, nint Output, int OutputStride, int Columns, int Accumulate);

    private readonly record struct MatMulArguments(
        nint X, int XStride, nint Weight, int WeightStride, nint Bias, nint Output, int OutputStride, int Rows, int Columns, int Inner, int Accumulate);
}

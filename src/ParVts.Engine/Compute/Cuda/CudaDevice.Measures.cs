using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Numbers about rows, for policies, and how they are read while other work runs.</content>
public sealed unsafe partial class CudaDevice
{
    // As in similarity.cu: rows of either side that a block compares.
    private const int SimilarityTile = 64;

    /// <inheritdoc/>
    public override void Similarity(in Tensor x, in Tensor y, bool cosine, in Tensor output)
    {
        Check(x.Columns == y.Columns && output.Rows == x.Rows && output.Columns == y.Rows, "Similarity: shapes do not match");
        Check(x.Type == TensorType.F32 && y.Type == TensorType.F32 && output.Type == TensorType.F32, "Similarity: everything is F32");
        Check(IsVector(x) && IsVector(y), "Similarity: rows begin at multiples of 16 bytes");
        Launch(
            new KernelId("similarity.cu", "similarity"),
            new LaunchShape(Blocks(y.Rows, SimilarityTile), Blocks(x.Rows, SimilarityTile), 1, RowThreads),
            new SimilarityArguments(
                x.Address, x.Stride, y.Address, y.Stride, output.Address, output.Stride, x.Rows, y.Rows, x.Columns, cosine ? 1 : 0));
    }

    /// <inheritdoc/>
    public override void MeanHeads(in Tensor x, in Tensor output)
    {
        Check(x.Rows == output.Rows && output.Columns > 0 && x.Columns % output.Columns == 0, "MeanHeads: shapes do not match");
        Check(x.Type == TensorType.F32 && output.Type == TensorType.F32, "MeanHeads: everything is F32");
        Launch(
            new KernelId("sums.cu", "mean_heads"),
            new LaunchShape(Blocks((long)output.Rows * output.Columns, RowThreads), 1, 1, RowThreads),
            new MeanHeadsArguments(
                x.Address, x.Stride, x.Columns / output.Columns, output.Address, output.Stride, output.Rows, output.Columns));
    }

    /// <inheritdoc/>
    public override void AbsoluteSums(in Tensor x, in Tensor output)
    {
        Check(output.Rows == 1 && output.Columns == x.Rows, "AbsoluteSums: shapes do not match");
        Check(x.Type == TensorType.F32 && output.Type == TensorType.F32, "AbsoluteSums: everything is F32");
        Check(IsVector(x), "AbsoluteSums: rows begin at multiples of 16 bytes");
        Launch(
            new KernelId("sums.cu", "absolute_sums"),
            new LaunchShape(x.Rows, 1, 1, RowThreads),
            new AbsoluteSumsArguments(x.Address, x.Stride, x.Columns, output.Address));
    }

    /// <inheritdoc/>
    public override void ReadKeys(in KvLayer layer, int firstRow, in Tensor output)
    {
        Check(output.Columns == layer.Heads * layer.HeadDim && output.Type == TensorType.F32, "ReadKeys: an F32 column for each element of a key");
        Check(firstRow >= 0 && firstRow + output.Rows <= layer.Length, "ReadKeys: the layer does not hold these rows");
        Check(layer.HeadDim % 8 == 0, "ReadKeys: the GPU takes head sizes that are multiples of 8");
        Check(IsVector(output), "ReadKeys: rows begin at multiples of 16 bytes");
        Launch(
            new KernelId("rope_store.cu", "read_keys", Element(layer.Type), HeadDim(layer)),
            new LaunchShape(output.Rows, 1, 1, RopeThreads),
            new ReadKeysArguments(layer.Pages, firstRow, layer.Heads, output.Address, output.Stride));
    }

    /// <inheritdoc/>
    public override Readback CreateReadback(int bytes) => new CudaReadback(_shared.Context, _stream, bytes);

    private readonly record struct SimilarityArguments(
        nint X, int XStride, nint Y, int YStride, nint Output, int OutputStride, int N, int M, int Columns, int Cosine);

    private readonly record struct MeanHeadsArguments(nint X, int XStride, int Heads, nint Output, int OutputStride, int Rows, int Width);

    private readonly record struct AbsoluteSumsArguments(nint X, int XStride, int Columns, nint Output);

    private readonly record struct ReadKeysArguments(nint Pages, int FirstRow, int KvHeads, nint Output, int OutputStride);

    /// <summary>Pinned memory, and an event behind the copy into it.</summary>
    private sealed class CudaReadback : Readback
    {
        private readonly CudaStream _stream;
        private readonly PinnedMemory _memory;
        private readonly CudaEvent _copied;
        private bool _isUnderWay;

        public CudaReadback(CudaContext context, CudaStream stream, int bytes)
        {
            _stream = stream;
            _memory = new PinnedMemory(context, bytes);
            try
            {
                _copied = new CudaEvent(context);
            }
            catch
            {
                _memory.Dispose();
                throw;
            }
        }

        public override void Begin(in Tensor source)
        {
            int bytes = checked(source.Rows * source.Columns * source.ElementBytes);
            Check(source.Stride == source.Columns || source.Rows == 1, "a readback needs a contiguous tensor");
            Check(bytes <= _memory.Bytes, "a readback has room for less");
            _isUnderWay = true;
            _stream.Download((ulong)source.Address, _memory.Span[..bytes]);
            _copied.Record(_stream);
        }

        public override void Finish<T>(Span<T> destination)
        {
            _copied.Synchronize();
            _isUnderWay = false;
            Span<byte> bytes = MemoryMarshal.AsBytes(destination);
            _memory.Span[..bytes.Length].CopyTo(bytes);
        }

        // A copy that nobody asked for writes to the memory until it is done.
        protected override void Dispose(bool disposing)
        {
            try
            {
                if (_isUnderWay)
                    _stream.Synchronize();
            }
            catch (CudaErrorException)
            {
                // What is queued has failed, or the context is lost: nothing is written any more. Whoever works on is told.
            }

            _isUnderWay = false;
            _copied.Dispose();
            _memory.Dispose();
        }
    }
}

using System.Runtime.InteropServices;
using ParVts.Cuda;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Numbers about rows, for policies, and how they are read while other work runs.</content>
public sealed unsafe partial class CudaDevice
{
    /// <inheritdoc/>
    public override void Similarity(in Tensor x, in Tensor y, bool cosine, in Tensor output) => throw new NotImplementedException();

    /// <inheritdoc/>
    public override void MeanHeads(in Tensor x, in Tensor output) => throw new NotImplementedException();

    /// <inheritdoc/>
    public override void AbsoluteSums(in Tensor x, in Tensor output) => throw new NotImplementedException();

    /// <inheritdoc/>
    public override void ReadKeys(in KvLayer layer, int firstRow, in Tensor output) => throw new NotImplementedException();

    /// <inheritdoc/>
    public override Readback CreateReadback(int bytes) => new CudaReadback(_shared.Context, _stream, bytes);

    /// <summary>Pinned memory, and an event behind the copy into it.</summary>
    private sealed class CudaReadback : Readback
    {
        private readonly CudaStream _stream;
        private readonly PinnedMemory _memory;
        private readonly CudaEvent _copied;

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
            _stream.Download((ulong)source.Address, _memory.Span[..bytes]);
            _copied.Record(_stream);
        }

        public override void Finish<T>(Span<T> destination)
        {
            _copied.Synchronize();
            Span<byte> bytes = MemoryMarshal.AsBytes(destination);
            _memory.Span[..bytes.Length].CopyTo(bytes);
        }

        protected override void Dispose(bool disposing)
        {
            _copied.Dispose();
            _memory.Dispose();
        }
    }
}

using ParVts.Cuda;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>Device memory of a GPU.</summary>
internal sealed class CudaBuffer : DeviceBuffer
{
    private readonly DeviceMemory _memory;

    public CudaBuffer(DeviceMemory memory)
        : base((nint)memory.Address, memory.Bytes) => _memory = memory;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // A finalizer leaves the memory to its own finalizer, which queues it (contract M1).
        if (disposing)
            _memory.Dispose();
        base.Dispose(disposing);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => true;
}

namespace ParVts.Cuda;

/// <summary>Device memory. Any thread may hold it; work on it is ordered by streams.</summary>
public sealed unsafe class DeviceMemory : CudaHandle
{
    /// <summary>Allocates; the content is undefined.</summary>
    /// <exception cref="CudaException">The memory is not there.</exception>
    public DeviceMemory(CudaContext context, long bytes)
        : base(context, context)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        Bytes = bytes;
        Make(() =>
        {
            ulong address;
            context.Check(context.Api.MemAlloc(&address, (nuint)bytes), $"cuMemAlloc_v2 of {bytes} bytes");
            return (nint)address;
        });
    }

    /// <summary>Bytes.</summary>
    public long Bytes { get; }

    /// <summary>The device address.</summary>
    public ulong Address => (ulong)Raw;

    private protected override int Free(nint native) => Context.Api.MemFree((ulong)native);
}

/// <summary>Host memory that the device copies from and to while the host goes on.</summary>
public sealed unsafe class PinnedMemory : CudaHandle
{
    /// <summary>Allocates; the content is undefined.</summary>
    /// <exception cref="CudaException">The memory is not there.</exception>
    public PinnedMemory(CudaContext context, int bytes)
        : base(context, context)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        Bytes = bytes;
        Make(() =>
        {
            nint address;
            context.Check(context.Api.MemHostAlloc(&address, (nuint)bytes, 0), $"cuMemHostAlloc of {bytes} bytes");
            return address;
        });
    }

    /// <summary>Bytes.</summary>
    public int Bytes { get; }

    /// <summary>The memory.</summary>
    public Span<byte> Span => new((void*)Raw, Bytes);

    private protected override int Free(nint native) => Context.Api.MemFreeHost(native);
}

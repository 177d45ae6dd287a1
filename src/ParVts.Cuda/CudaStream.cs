namespace ParVts.Cuda;

/// <summary>A queue of work on a device. One caller at a time.</summary>
public sealed unsafe class CudaStream : CudaHandle
{
    // CU_STREAM_NON_BLOCKING: independent of the caller's own default stream.
    private const uint NonBlocking = 1;

    /// <summary>A stream of its own.</summary>
    public CudaStream(CudaContext context)
        : base(context, context)
    {
        using CudaContext.Scope scope = context.Enter();
        nint stream;
        context.Api.Check(context.Api.StreamCreate(&stream, NonBlocking), "cuStreamCreate");
        SetHandle(stream);
    }

    /// <summary>Waits until everything queued so far is done.</summary>
    /// <exception cref="CudaException">Something queued has failed.</exception>
    public void Synchronize()
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Api.Check(Context.Api.StreamSynchronize(Raw), "cuStreamSynchronize");
    }

    /// <summary>Copies to the device. Pageable memory is staged by the driver; pinned memory must live until the copy is done.</summary>
    public void Upload(ReadOnlySpan<byte> source, ulong destination)
    {
        using CudaContext.Scope scope = Context.Enter();
        fixed (byte* place = source)
            Context.Api.Check(Context.Api.MemcpyHtoDAsync(destination, place, (nuint)source.Length, Raw), "cuMemcpyHtoDAsync_v2");
    }

    /// <summary>Copies to the host; the copy is done when the stream is synchronized.</summary>
    public void Download(ulong source, Span<byte> destination)
    {
        using CudaContext.Scope scope = Context.Enter();
        fixed (byte* place = destination)
            Context.Api.Check(Context.Api.MemcpyDtoHAsync(place, source, (nuint)destination.Length, Raw), "cuMemcpyDtoHAsync_v2");
    }

    /// <summary>Sets bytes.</summary>
    public void Fill(ulong destination, byte value, long bytes)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Api.Check(Context.Api.MemsetD8Async(destination, value, (nuint)bytes, Raw), "cuMemsetD8Async");
    }

    private protected override void Free(nint native) => _ = Context.Api.StreamDestroy(native);
}

/// <summary>A point in a stream. Any thread may wait for it.</summary>
public sealed unsafe class CudaEvent : CudaHandle
{
    /// <summary>An event that takes the time.</summary>
    public CudaEvent(CudaContext context)
        : base(context, context)
    {
        using CudaContext.Scope scope = context.Enter();
        nint made;
        context.Api.Check(context.Api.EventCreate(&made, 0), "cuEventCreate");
        SetHandle(made);
    }

    /// <summary>Puts the event behind what the stream holds now.</summary>
    public void Record(CudaStream stream)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Api.Check(Context.Api.EventRecord(Raw, stream.Raw), "cuEventRecord");
    }

    /// <summary>Waits for it on the host.</summary>
    public void Synchronize()
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Api.Check(Context.Api.EventSynchronize(Raw), "cuEventSynchronize");
    }

    /// <summary>Milliseconds on the device since an earlier event; both must have happened.</summary>
    public float MillisecondsSince(CudaEvent earlier)
    {
        using CudaContext.Scope scope = Context.Enter();
        float milliseconds;
        Context.Api.Check(Context.Api.EventElapsedTime(&milliseconds, earlier.Raw, Raw), "cuEventElapsedTime");
        return milliseconds;
    }

    private protected override void Free(nint native) => _ = Context.Api.EventDestroy(native);
}

namespace ParVts.Cuda;

/// <summary>A queue of work on a device. One caller at a time.</summary>
public sealed unsafe class CudaStream : CudaHandle
{
    // CU_STREAM_NON_BLOCKING: independent of the caller's own default stream.
    private const uint NonBlocking = 1;

    // CU_STREAM_LEGACY: the default stream by a name other than 0, which would be no handle.
    private const nint DefaultStream = 1;

    private readonly bool _borrowed;

    /// <summary>A stream of its own.</summary>
    public CudaStream(CudaContext context)
        : base(context, context)
    {
        Make(() =>
        {
            nint stream;
            context.Check(context.Api.StreamCreate(&stream, NonBlocking), "cuStreamCreate");
            return stream;
        });
    }

    /// <summary>The caller's own stream (contract A3), which this object never destroys.</summary>
    /// <param name="context">Its context.</param>
    /// <param name="stream">The CUstream; 0 is the default stream.</param>
    public CudaStream(CudaContext context, nint stream)
        : base(context, context)
    {
        _borrowed = true;
        SetHandle(stream == 0 ? DefaultStream : stream);
    }

    /// <summary>Waits until everything queued so far is done.</summary>
    /// <exception cref="CudaException">Something queued has failed.</exception>
    public void Synchronize()
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.StreamSynchronize(Raw), "cuStreamSynchronize");
    }

    /// <summary>Copies to the device. Pageable memory is staged by the driver; pinned memory must live until the copy is done.</summary>
    public void Upload(ReadOnlySpan<byte> source, ulong destination)
    {
        using CudaContext.Scope scope = Context.Enter();
        fixed (byte* place = source)
            Context.Check(Context.Api.MemcpyHtoDAsync(destination, place, (nuint)source.Length, Raw), "cuMemcpyHtoDAsync_v2");
    }

    /// <summary>Copies to the host; the copy is done when the stream is synchronized.</summary>
    public void Download(ulong source, Span<byte> destination)
    {
        using CudaContext.Scope scope = Context.Enter();
        fixed (byte* place = destination)
            Context.Check(Context.Api.MemcpyDtoHAsync(place, source, (nuint)destination.Length, Raw), "cuMemcpyDtoHAsync_v2");
    }

    /// <summary>Copies within the device; source and destination do not overlap.</summary>
    public void Copy(ulong source, ulong destination, long bytes)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.MemcpyDtoDAsync(destination, source, (nuint)bytes, Raw), "cuMemcpyDtoDAsync_v2");
    }

    /// <summary>What is queued from now on waits, on the device, for an event of another stream.</summary>
    public void Wait(CudaEvent other)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.StreamWaitEvent(Raw, other.Raw, 0), "cuStreamWaitEvent");
    }

    /// <summary>
    /// What is queued from now on is recorded, not run, until <see cref="CudaCapture.End"/>. Nothing is allocated, freed or
    /// waited for meanwhile; what is disposed of is freed after the end.
    /// </summary>
    /// <exception cref="CudaException">The stream is captured already.</exception>
    public CudaCapture BeginCapture() => new(Context, this);

    /// <summary>Sets bytes.</summary>
    public void Fill(ulong destination, byte value, long bytes)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.MemsetD8Async(destination, value, (nuint)bytes, Raw), "cuMemsetD8Async");
    }

    private protected override int Free(nint native) => _borrowed ? 0 : Context.Api.StreamDestroy(native);
}

/// <summary>A point in a stream. Any thread may wait for it.</summary>
public sealed unsafe class CudaEvent : CudaHandle
{
    /// <summary>An event that takes the time.</summary>
    public CudaEvent(CudaContext context)
        : base(context, context)
    {
        Make(() =>
        {
            nint made;
            context.Check(context.Api.EventCreate(&made, 0), "cuEventCreate");
            return made;
        });
    }

    /// <summary>Puts the event behind what the stream holds now.</summary>
    public void Record(CudaStream stream)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.EventRecord(Raw, stream.Raw), "cuEventRecord");
    }

    /// <summary>Waits for it on the host.</summary>
    public void Synchronize()
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.EventSynchronize(Raw), "cuEventSynchronize");
    }

    /// <summary>Milliseconds on the device since an earlier event; both must have happened.</summary>
    public float MillisecondsSince(CudaEvent earlier)
    {
        using CudaContext.Scope scope = Context.Enter();
        float milliseconds;
        Context.Check(Context.Api.EventElapsedTime(&milliseconds, earlier.Raw, Raw), "cuEventElapsedTime");
        return milliseconds;
    }

    private protected override int Free(nint native) => Context.Api.EventDestroy(native);
}

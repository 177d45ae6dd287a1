namespace ParVts.Cuda;

/// <summary>
/// A stream that is being captured, from <see cref="CudaStream.BeginCapture"/> to <see cref="End"/>. Disposed of before that, the
/// capture is ended and what it recorded is thrown away, so that an error on the way leaves a stream that works. The thread that
/// began it, no other.
/// </summary>
public sealed unsafe class CudaCapture : CudaHandle
{
    // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do with the device meanwhile is their own affair.
    private const int ThreadLocal = 1;

    private bool _ended;
    private int _counted;

    internal CudaCapture(CudaContext context, CudaStream stream)
        : base(context, stream) => Make(() =>
        {
            nint captured = stream.Raw;
            context.Check(context.Api.StreamBeginCapture(captured, ThreadLocal), "cuStreamBeginCapture_v2");
            context.BeginCapture();
            _counted = 1;
            return captured;
        });

    /// <summary>Ends the capture and makes what was recorded ready to be launched.</summary>
    /// <exception cref="CudaException">Something was queued that a graph cannot hold, or the device refuses the graph.</exception>
    public CudaGraph End()
    {
        ObjectDisposedException.ThrowIf(_ended, this);
        nint recorded = 0;
        using CudaContext.Scope scope = Context.Enter();
        int result = Context.Api.StreamEndCapture(Raw, &recorded);

        // What cannot be captured ends the capture all the same; after any other error it may still go on, and Dispose ends it.
        _ended = result is 0 or (>= 900 and <= 908);
        Uncount();
        Context.Check(result, "cuStreamEndCapture");
        try
        {
            return new CudaGraph(Context, recorded);
        }
        finally
        {
            Context.Run(Context.Api.DestroyGraph, recorded);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        Uncount();
        base.Dispose(disposing);
    }

    private protected override int Free(nint native)
    {
        if (_ended)
            return 0;
        nint recorded = 0;
        int result = Context.Api.StreamEndCapture(native, &recorded);
        if (recorded != 0)
            Context.Run(Context.Api.DestroyGraph, recorded);
        return result;
    }

    private void Uncount()
    {
        if (Interlocked.Exchange(ref _counted, 0) == 1)
            Context.EndCapture();
    }
}

/// <summary>
/// Work that was captured once and is queued as a whole. The modules, the memory and the libraries' workspaces that it uses must
/// live as long as it does. One caller at a time.
/// </summary>
public sealed unsafe class CudaGraph : CudaHandle
{
    internal CudaGraph(CudaContext context, nint recorded)
        : base(context, context)
    {
        Make(() =>
        {
            nint graph;
            context.Check(context.Api.GraphInstantiate(&graph, recorded, 0), "cuGraphInstantiateWithFlags");
            return graph;
        });
    }

    /// <summary>Queues all of it.</summary>
    /// <exception cref="CudaException">The launch is refused.</exception>
    public void Launch(CudaStream stream)
    {
        using CudaContext.Scope scope = Context.Enter();
        Context.Check(Context.Api.GraphLaunch(Raw, stream.Raw), "cuGraphLaunch");
    }

    private protected override int Free(nint native) => Context.Api.GraphExecDestroy(native);
}

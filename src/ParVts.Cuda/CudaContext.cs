using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>
/// A device's primary context, shared with whoever else uses it in the process. It is current only during our own calls: the
/// caller's current context is left as it was (contract A4). Any thread.
/// </summary>
public sealed unsafe class CudaContext : CudaHandle
{
    // Contexts whose last reference a finalizer let go: released when a context is opened next.
    private static readonly ConcurrentQueue<CudaContext> s_orphans = new();

    private readonly ConcurrentQueue<(Action<nint> Free, nint Native)> _later = new();
    private readonly int _device;

    /// <summary>Retains the primary context of a device.</summary>
    /// <exception cref="CudaException">The device refuses.</exception>
    public CudaContext(DriverApi api, CudaDeviceInfo device)
        : base(context: null, parent: null)
    {
        ReleaseOrphans();
        Api = api;
        Device = device;
        _device = device.Ordinal;
        nint context;
        api.Check(api.PrimaryCtxRetain(&context, _device), "cuDevicePrimaryCtxRetain");
        SetHandle(context);
    }

    /// <summary>The device.</summary>
    public CudaDeviceInfo Device { get; }

    /// <summary>The driver's functions.</summary>
    public DriverApi Api { get; }

    /// <summary>Bytes of device memory: free, and in all.</summary>
    public (long Free, long Total) Memory
    {
        get
        {
            using Scope scope = Enter();
            nuint free;
            nuint total;
            Api.Check(Api.MemGetInfo(&free, &total), "cuMemGetInfo_v2");
            return ((long)free, (long)total);
        }
    }

    /// <summary>Makes the context current until the scope ends, and frees what finalizers have left.</summary>
    internal Scope Enter()
    {
        Api.Check(Api.CtxPushCurrent(Raw), "cuCtxPushCurrent_v2");
        while (_later.TryDequeue(out (Action<nint> Free, nint Native) left))
            left.Free(left.Native);
        return new Scope(Api);
    }

    /// <summary>Frees a child's native object now.</summary>
    internal void Run(Action<nint> free, nint native)
    {
        // The child still holds its reference on this context: it is there.
        if (Api.CtxPushCurrent(handle) != 0)
            return;
        using var scope = new Scope(Api);
        free(native);
    }

    /// <summary>Frees a child's native object when the context is used next.</summary>
    internal void FreeLater(Action<nint> free, nint native) => _later.Enqueue((free, native));

    private protected override void Free(nint native)
    {
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (!MayCallDriver)
        {
            s_orphans.Enqueue(this);
            return true;
        }

        ReleaseNow();
        return true;
    }

    /// <summary>Releases contexts that finalizers have left.</summary>
    internal static void ReleaseOrphans()
    {
        while (s_orphans.TryDequeue(out CudaContext? orphan))
            orphan.ReleaseNow();
    }

    // Reached with the last child gone. What finalizers left of children goes with the context.
    private void ReleaseNow()
    {
        if (Api.CtxPushCurrent(handle) == 0)
        {
            while (_later.TryDequeue(out (Action<nint> Free, nint Native) left))
                left.Free(left.Native);
            nint popped;
            _ = Api.CtxPopCurrent(&popped);
        }

        _ = Api.PrimaryCtxRelease(_device);
    }

    /// <summary>The context is current while this lives; on one thread, in the order of a stack.</summary>
    internal readonly ref struct Scope(DriverApi api)
    {
        public void Dispose()
        {
            nint popped;
            _ = api.CtxPopCurrent(&popped);
        }
    }
}

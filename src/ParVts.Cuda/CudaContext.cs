using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>
/// A device's primary context, shared with whoever else uses it in the process, or a caller's own. It is current only during our own
/// calls: the caller's current context is left as it was (contract A4). Any thread.
/// </summary>
public sealed unsafe class CudaContext : CudaHandle
{
    // Contexts whose last reference a finalizer let go: released when a context is opened next.
    private static readonly ConcurrentQueue<CudaContext> s_orphans = new();

    // Waits for what is queued, and so may be what finds that it has failed.
    private const string Freeing = "cuMemFree_v2, or another call that frees";

    private readonly ConcurrentQueue<(Func<nint, int> Free, nint Native)> _later = new();
    private readonly PrimaryContext _state;
    private readonly bool _borrowed;
    private int _captures;
    private bool _releasedOnce;

    /// <summary>
    /// Retains the primary context of a device. One that an error has destroyed is made anew; whoever holds the old one keeps a
    /// lost context, which he can but dispose of.
    /// </summary>
    /// <exception cref="CudaDeviceException">The kernels do not run on such a GPU.</exception>
    /// <exception cref="CudaException">The device refuses.</exception>
    public CudaContext(DriverApi api, CudaDeviceInfo device)
        : base(context: null, parent: null)
    {
        ReleaseOrphans();
        Api = api;
        Device = device;
        device.RequireSupported();
        (_state, nint context) = api.Primaries.Retain(api, device.Ordinal);
        SetHandle(context);
    }

    /// <summary>
    /// The caller's own context (contract A3), which is neither retained nor released: it must be there as long as this object and what is
    /// made in it.
    /// </summary>
    /// <param name="api">The driver.</param>
    /// <param name="context">The CUcontext.</param>
    /// <exception cref="CudaDeviceException">The kernels do not run on its GPU.</exception>
    /// <exception cref="CudaException">The driver does not know the context.</exception>
    public CudaContext(DriverApi api, nint context)
        : base(context: null, parent: null)
    {
        ReleaseOrphans();
        Api = api;
        _borrowed = true;
        _state = new PrimaryContext();
        Device = DeviceOf(api, context);
        Device.RequireSupported();
        SetHandle(context);
    }

    /// <summary>The device.</summary>
    public CudaDeviceInfo Device { get; }

    /// <summary>The driver's functions.</summary>
    public DriverApi Api { get; }

    /// <summary>
    /// An error has destroyed the context: every call on it is refused, and what was made in it is gone. Dispose it all; a new
    /// context on the device works.
    /// </summary>
    public bool IsLost => _state.Cause is not null;

    /// <summary>Bytes of device memory: free, and in all.</summary>
    public (long Free, long Total) Memory
    {
        get
        {
            using Scope scope = Enter();
            nuint free;
            nuint total;
            Check(Api.MemGetInfo(&free, &total), "cuMemGetInfo_v2");
            return ((long)free, (long)total);
        }
    }

    /// <summary>
    /// Tells a profiler that waits for it to begin measuring, or to end (cuProfilerStart, cuProfilerStop). Where there is none, nothing
    /// happens.
    /// </summary>
    public void Profile(bool on)
    {
        using Scope scope = Enter();
        delegate* unmanaged<int> function = on ? Api.ProfilerStart : Api.ProfilerStop;

        // A driver that refuses is no reason to give up what is measured.
        if (function != null)
            _ = function();
    }

    /// <summary>Makes the context current until the scope ends, and frees what finalizers have left.</summary>
    /// <exception cref="CudaContextLostException">An earlier error has destroyed the context.</exception>
    internal Scope Enter()
    {
        nint context = Raw;
        if (_state.Cause is CudaException cause)
            throw new CudaContextLostException(Device, cause);
        Check(Api.CtxPushCurrent(context), "cuCtxPushCurrent_v2");
        FreeWhatWasLeft();
        return new Scope(this);
    }

    /// <summary>Turns a result other than success into an error, and notes it where it has destroyed the context.</summary>
    internal void Check(int result, string call)
    {
        if (result != 0)
            throw Error(result, call);
    }

    /// <summary>The error of a result; noted where it has destroyed the context.</summary>
    internal CudaException Error(int result, string call)
    {
        CudaException error = Api.Error(result, call);
        if (DriverApi.IsSticky(result))
            _state.Lose(error);
        return error;
    }

    /// <summary>Nothing may be freed while a stream is captured: it would spoil the capture.</summary>
    internal void BeginCapture() => Interlocked.Increment(ref _captures);

    /// <summary>What was disposed of meanwhile is freed when the context is used next.</summary>
    internal void EndCapture() => Interlocked.Decrement(ref _captures);

    /// <summary>Frees a child's native object now; where the driver refuses, once more when the context is used next.</summary>
    internal void Run(Func<nint, int> free, nint native)
    {
        // A lost context took all of it along: to free it again might hit another's object of the same address.
        if (IsLost)
            return;
        if (Volatile.Read(ref _captures) > 0)
        {
            FreeLater(free, native);
            return;
        }

        // The child still holds its reference on this context: it is there.
        bool freed = Succeeds(Api.CtxPushCurrent(handle), "cuCtxPushCurrent_v2");
        if (freed)
        {
            using var scope = new Scope(this);
            freed = Succeeds(free(native), Freeing);
        }

        if (!freed && !IsLost)
            FreeLater(free, native);
    }

    /// <summary>Frees a child's native object when the context is used next.</summary>
    internal void FreeLater(Func<nint, int> free, nint native) => _later.Enqueue((free, native));

    private protected override int Free(nint native) => 0;

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

    private void FreeWhatWasLeft()
    {
        while (Volatile.Read(ref _captures) == 0 && _later.TryDequeue(out (Func<nint, int> Free, nint Native) left))
            _ = Succeeds(left.Free(left.Native), Freeing);
    }

    // Who lets go is told of no error; that one has destroyed the context is noted.
    private bool Succeeds(int result, string call)
    {
        if (DriverApi.IsSticky(result))
            _ = Error(result, call);
        return result == 0;
    }

    // Reached with the last child gone. What finalizers left of children goes with the context.
    private void ReleaseNow()
    {
        if (!IsLost && Api.CtxPushCurrent(handle) == 0)
        {
            using var scope = new Scope(this);
            FreeWhatWasLeft();
        }

        // Where the driver refuses it is asked once more, when a context is opened next. One that was lost before it releases, and complains.
        bool wasLost = IsLost;
        if (_borrowed)
            return;
        if (!Succeeds(Api.PrimaryCtxRelease(Device.Ordinal), "cuDevicePrimaryCtxRelease_v2") && !_releasedOnce && !wasLost)
            s_orphans.Enqueue(this);
        _releasedOnce = true;
    }

    private static CudaDeviceInfo DeviceOf(DriverApi api, nint context)
    {
        int device;
        api.Check(api.CtxPushCurrent(context), "cuCtxPushCurrent_v2");
        try
        {
            api.Check(api.CtxGetDevice(&device), "cuCtxGetDevice");
        }
        finally
        {
            nint popped;
            _ = api.CtxPopCurrent(&popped);
        }

        int ordinal = device;
        return CudaDeviceInfo.All(api).First(info => info.Ordinal == ordinal);
    }

    /// <summary>The context is current while this lives; on one thread, in the order of a stack.</summary>
    internal readonly ref struct Scope(CudaContext context)
    {
        public void Dispose()
        {
            nint popped;
            _ = context.Succeeds(context.Api.CtxPopCurrent(&popped), "cuCtxPopCurrent_v2");
        }
    }
}

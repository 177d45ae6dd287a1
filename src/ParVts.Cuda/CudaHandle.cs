using System.Runtime.InteropServices;

namespace ParVts.Cuda;

/// <summary>
/// A native handle that lives in a context (contract M1). It holds a reference on its parent, so that disposing in any order,
/// or twice, is safe: the parent is let go with its last child. A finalizer never calls the driver: the handle is queued, and
/// the context frees it when it is used next.
/// </summary>
public abstract class CudaHandle : SafeHandle
{
    [ThreadStatic]
    private static bool s_finalizing;

    private readonly CudaHandle? _parent;
    private volatile bool _disposed;

    private protected CudaHandle(CudaContext? context, CudaHandle? parent)
        : base(0, ownsHandle: true)
    {
        Context = context!;
        if (parent is null)
            return;
        ObjectDisposedException.ThrowIf(parent._disposed, parent);
        bool added = false;
        parent.DangerousAddRef(ref added);
        _parent = parent;
    }

    /// <summary>Nothing to let go of: neither a native object nor a parent.</summary>
    public override bool IsInvalid => handle == 0 && _parent is null;

    private protected CudaContext Context { get; }

    /// <summary>The handle, for calls; the object must be alive.</summary>
    internal nint Raw
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed || IsClosed, this);
            return handle;
        }
    }

    /// <summary>Makes the native object, with the context current. Where that fails the parent is let go at once.</summary>
    private protected void Make(Func<nint> make)
    {
        try
        {
            using CudaContext.Scope scope = Context.Enter();
            SetHandle(make());
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Frees the native object; the context is current. Returns the driver's result.</summary>
    private protected abstract int Free(nint native);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _disposed |= disposing;
        base.Dispose(disposing);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (handle != 0)
        {
            if (MayCallDriver)
                Context.Run(Free, handle);
            else
                Context.FreeLater(Free, handle);
        }

        // Where this is a finalizer's doing, so is what follows from it.
        bool before = s_finalizing;
        s_finalizing |= !_disposed;
        _parent?.DangerousRelease();
        s_finalizing = before;
        return true;
    }

    /// <summary>This object is being let go by its user, not by a finalizer.</summary>
    private protected bool MayCallDriver => _disposed && !s_finalizing;
}

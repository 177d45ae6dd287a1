using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>
/// A device's primary context between two resets. All who hold it lose it at once, so the loss is kept here, not with one
/// holder. Any thread.
/// </summary>
internal sealed class PrimaryContext
{
    private CudaException? _cause;

    /// <summary>The error that lost the context, or null.</summary>
    public CudaException? Cause => Volatile.Read(ref _cause);

    /// <summary>Notes the first such error.</summary>
    public void Lose(CudaException cause) => Interlocked.CompareExchange(ref _cause, cause, null);
}

/// <summary>The primary contexts that a driver's users share. Any thread.</summary>
internal sealed class PrimaryContexts
{
    private readonly Dictionary<int, PrimaryContext> _contexts = [];

    /// <summary>
    /// Retains a device's primary context. One that is lost is reset first: whoever holds it still, in this process, can do
    /// nothing with it but let it go.
    /// </summary>
    public unsafe (PrimaryContext State, nint Context) Retain(DriverApi api, int device)
    {
        lock (_contexts)
        {
            if (_contexts.GetValueOrDefault(device) is { Cause: not null })
            {
                if (api.PrimaryCtxReset != null)
                    api.Check(api.PrimaryCtxReset(device), "cuDevicePrimaryCtxReset_v2");
                _contexts.Remove(device);
            }

            nint context;
            api.Check(api.PrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
            if (!_contexts.TryGetValue(device, out PrimaryContext? state))
                _contexts[device] = state = new PrimaryContext();
            return (state, context);
        }
    }
}

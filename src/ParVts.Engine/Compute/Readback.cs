namespace ParVts.Engine.Compute;

/// <summary>Results on their way to the host. One caller at a time.</summary>
public abstract class Readback : IDisposable
{
    /// <summary>Queues a copy of what the tensor will hold when the work queued so far is done.</summary>
    /// <param name="source">Contiguous; at most as large as the readback.</param>
    public abstract void Begin(in Tensor source);

    /// <summary>Waits for the copy that was begun last, not for work queued behind it.</summary>
    /// <param name="destination">As many elements as <see cref="Begin"/> was given.</param>
    public abstract void Finish<T>(Span<T> destination)
        where T : unmanaged;

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees its memory.</summary>
    protected abstract void Dispose(bool disposing);
}

namespace ParVts.GpuSim.Driver;

/// <summary>Something that the host made and has to free.</summary>
/// <param name="Kind">"context", "stream", "device memory" …</param>
/// <param name="Handle">Its handle or address.</param>
/// <param name="Bytes">Its size; 0 for what is no memory.</param>
/// <param name="Call">The number of the driver call that made it, as <see cref="SimDriver.Calls"/> counts.</param>
public sealed record SimLeak(string Kind, ulong Handle, long Bytes, long Call);

/// <summary>What stands behind a handle. All die with their context.</summary>
internal abstract class SimObject(string kind)
{
    public string Kind => kind;

    public nint Handle { get; set; }

    public long Bytes { get; init; }

    public long Call { get; set; }
}

/// <summary>The primary context between its first retain and its last release.</summary>
internal sealed class SimContext(nint handle, long call)
{
    public nint Handle => handle;

    public long Call => call;

    public int References { get; set; } = 1;

    /// <summary>The error that every call gives from now on, or 0.</summary>
    public int Lost { get; set; }

    /// <summary>The queue of the default stream, and of all streams that are not independent of it.</summary>
    public WorkQueue Legacy { get; } = new();
}

/// <summary>Work in the order of a stream. It waits until the host waits.</summary>
internal sealed class WorkQueue
{
    public Queue<Action> Work { get; } = new();

    /// <summary>Bytes of pageable memory that copies in the queue have taken.</summary>
    public long StagedBytes { get; set; }

    /// <summary>Runs what is queued: all, or until an event has happened.</summary>
    public void Run(EventRecord? until = null)
    {
        while (until is not { IsDone: true } && Work.TryDequeue(out Action? work))
            work();
        if (Work.Count == 0)
            StagedBytes = 0;
    }
}

internal sealed class SimStream(WorkQueue queue) : SimObject("stream")
{
    public WorkQueue Queue => queue;

    /// <summary>What its work is recorded into, or null.</summary>
    public SimCapture? Capture { get; set; }
}

/// <summary>Work that is recorded instead of done.</summary>
internal sealed class SimCapture(SimStream origin, int mode)
{
    public const int Global = 0;
    public const int ThreadLocal = 1;
    public const int Relaxed = 2;

    public SimStream Origin => origin;

    public int Mode => mode;

    public int Thread { get; } = Environment.CurrentManagedThreadId;

    public List<Action> Work { get; } = [];

    public bool IsInvalid { get; set; }

    public bool HasEnded { get; set; }
}

/// <summary>One record of an event in a stream.</summary>
internal sealed class EventRecord(WorkQueue queue)
{
    public WorkQueue Queue => queue;

    public bool IsDone { get; set; }

    public long Timestamp { get; set; }
}

internal sealed class SimEvent(bool takesTime) : SimObject("event")
{
    public bool TakesTime => takesTime;

    /// <summary>The last record outside captures, or null.</summary>
    public EventRecord? Record { get; set; }

    /// <summary>The capture that it was last recorded in, or null.</summary>
    public SimCapture? Capture { get; set; }
}

internal sealed class SimLoadedModule(SimModule module, string ptx) : SimObject("module")
{
    public SimModule Module => module;

    public string Ptx => ptx;

    /// <summary>Handles of kernels that were asked for, by name.</summary>
    public Dictionary<string, nint> Functions { get; } = [];
}

internal sealed class SimFunction(SimKernel kernel, IReadOnlyList<Cuda.Compilation.KernelParameter> parameters) : SimObject("function")
{
    public SimKernel Kernel => kernel;

    public IReadOnlyList<Cuda.Compilation.KernelParameter> Parameters => parameters;

    public int MaxDynamicSharedBytes { get; set; } = SimDriver.SharedBytesWithoutAsking - kernel.SharedBytes;
}

internal sealed class SimGraph(IReadOnlyList<Action> work) : SimObject("graph")
{
    public IReadOnlyList<Action> Work => work;
}

internal sealed class SimExecutableGraph(IReadOnlyList<Action> work) : SimObject("executable graph")
{
    public IReadOnlyList<Action> Work => work;
}

internal sealed class SimDeviceMemory : SimObject
{
    public SimDeviceMemory() : base("device memory")
    {
    }
}

internal sealed class SimPinnedMemory : SimObject
{
    public SimPinnedMemory() : base("pinned memory")
    {
    }

    /// <summary>Copies from it that are queued.</summary>
    public int Reads { get; set; }

    /// <summary>Whether a graph copies from it, at times that are not known.</summary>
    public bool IsInGraph { get; set; }
}

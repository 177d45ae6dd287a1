using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.GpuSim.Driver;

/// <summary>
/// A CUDA driver in C# (contract G2): it fills the table of the real one, and executes on a <see cref="SimGpu"/>. Each instance is
/// a driver with one GPU of its own; many may live in a process. Any thread may call; calls run one at a time.
/// <para>
/// Work is done as late as streams allow: when the host waits. So a host that overwrites pinned memory before a copy has read it, or
/// reads a result before it has waited, finds out. A fault of a kernel loses the context, as on a GPU: every call fails until the
/// primary context was released and is retained anew.
/// </para>
/// </summary>
public sealed unsafe partial class SimDriver : IDisposable
{
    /// <summary>The shared memory that a block may have without <c>cuFuncSetAttribute</c>.</summary>
    internal const int SharedBytesWithoutAsking = 48 * 1024;

    // A copy from pageable memory takes its bytes at once. Beyond this the queue is worked off first, as the driver does, too.
    private const long MaxStagedBytes = 256L << 20;

    // Handles are never given out twice, in the whole process, so that a stale one, or one of another driver, is known for what it is.
    private static long s_nextHandle = 0x5150_0000;

    private readonly Lock _lock = new();
    private readonly Dictionary<nint, SimObject> _objects = [];
    private readonly List<WorkQueue> _queues = [];
    private readonly List<SimCapture> _captures = [];
    private readonly List<Exception> _faults = [];
    private readonly List<SimLeak> _abandoned = [];
    private readonly Dictionary<string, long> _callsByName = [];
    private readonly List<Injection> _injections = [];
    private readonly ThreadLocal<Stack<SimContext>> _current = new(() => new Stack<SimContext>());
    private RunningCounters _counters = new();
    private SimContext? _primary;
    private bool _disposed;

    /// <summary>A driver with one GPU.</summary>
    /// <param name="architecture">Compute capability × 10: 80, 86, 89 or 90. It decides about the shared memory.</param>
    /// <param name="totalBytes">Device memory.</param>
    public SimDriver(int architecture = 80, long totalBytes = 8L << 30)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(totalBytes, 1);
        Architecture = architecture;
        Gpu = new SimGpu
        {
            MaxSharedBytes = 1024 * architecture switch
            {
                80 => 163,
                86 or 89 => 99,
                90 => 227,
                _ => throw new ArgumentOutOfRangeException(nameof(architecture), architecture, "80, 86, 89 and 90 are known"),
            },
        };
        Gpu.Memory.Capacity = totalBytes;
        FillTable();
        Functions = new FunctionSource("the simulated driver", "It has only what the engine needs", name => _table.GetValueOrDefault(name));
        Cublas = new SimCublas(this);
        Api = new DriverApi(Functions);
    }

    /// <summary>Compute capability × 10.</summary>
    public int Architecture { get; }

    /// <summary>What executes: its switches may be set, its memory looked at.</summary>
    public SimGpu Gpu { get; }

    /// <summary>The driver's functions by name.</summary>
    public FunctionSource Functions { get; }

    /// <summary>The table, filled.</summary>
    public DriverApi Api { get; }

    /// <summary>cuBLAS on this driver.</summary>
    public SimCublas Cublas { get; }

    /// <summary>
    /// Whether a copy to the host may read what nobody wrote: it gets 0xFF bytes. Otherwise it is a fault.
    /// </summary>
    public bool AllowUnwrittenDownloads { get; set; }

    /// <summary>Calls so far, of the driver and of cuBLAS.</summary>
    public long Calls { get; private set; }

    /// <summary>Bytes of managed memory that the simulation allocated on the threads of its callers: none of the host code's doing.</summary>
    public long ManagedBytes { get; private set; }

    /// <summary>Calls by function.</summary>
    public IReadOnlyDictionary<string, long> CallsByName => Locked(() => new Dictionary<string, long>(_callsByName));

    /// <summary>
    /// What went wrong, in order: faults of kernels and copies (<see cref="SimFaultException"/>), misuse by the host, PTX that was
    /// refused (<see cref="Ptx.PtxException"/>). Failures that were injected and full memory are not among them.
    /// </summary>
    public IReadOnlyList<Exception> Faults => Locked(() => _faults.ToArray());

    /// <summary>The PTX of every module that is loaded now.</summary>
    public IReadOnlyList<string> LoadedPtx => Locked(() => _objects.Values.OfType<SimLoadedModule>().Select(module => module.Ptx).ToArray());

    /// <summary>What was done so far.</summary>
    public SimCounters Counters => Locked(_counters.Snapshot);

    /// <summary>Counts from zero again; calls are not among what is forgotten.</summary>
    public void ResetCounters() => Locked(() => _counters = new RunningCounters());

    /// <summary>What was made and not freed, by its call; also what the end of a healthy context had to free.</summary>
    public IReadOnlyList<SimLeak> Leaks() => Locked<IReadOnlyList<SimLeak>>(() =>
        [.. _abandoned, .. ContextLeak(), .. _objects.Values.Where(thing => thing is not SimFunction).Select(LeakOf).OrderBy(leak => leak.Call)]);

    /// <summary>
    /// Makes a coming call fail: it does nothing but return the code (only a pop still pops). A code that means a lost context loses it.
    /// </summary>
    /// <param name="call">Which one from now, counted from 1.</param>
    /// <param name="code">What it returns.</param>
    /// <param name="name">Counts calls of this function only.</param>
    public void FailCall(int call, int code, string? name = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(call, 1);
        ArgumentOutOfRangeException.ThrowIfZero(code);
        Locked(() => _injections.Add(new Injection(name) { Left = call, Code = code }));
    }

    /// <summary>Takes back what <see cref="FailCall"/> has planned.</summary>
    public void FailNothing() => Locked(_injections.Clear);

    /// <summary>Frees everything. Calls that still come are refused.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            foreach (SimPinnedMemory pinned in _objects.Values.OfType<SimPinnedMemory>())
                NativeMemory.AlignedFree((void*)pinned.Handle);
            Gpu.Dispose();
        }
    }

    private IEnumerable<SimLeak> ContextLeak() => _primary is null ? [] : [new SimLeak("context", (ulong)_primary.Handle, 0, _primary.Call)];

    private static SimLeak LeakOf(SimObject thing) => new(thing.Kind, (ulong)thing.Handle, thing.Bytes, thing.Call);

    private T Locked<T>(Func<T> read)
    {
        lock (_lock)
            return read();
    }

    private void Locked(Action change)
    {
        lock (_lock)
            change();
    }

    private sealed class Injection(string? name)
    {
        public string? Name => name;

        public int Left { get; set; }

        public int Code { get; init; }
    }
}

namespace ParVts.GpuSim.Driver;

/// <summary>Copies of one direction.</summary>
/// <param name="Count">How many.</param>
/// <param name="Bytes">How much.</param>
/// <param name="PageableCount">How many of them from or to memory that is not pinned.</param>
/// <param name="PageableBytes">How much of it.</param>
public readonly record struct CopyTotals(long Count, long Bytes, long PageableCount, long PageableBytes)
{
    internal CopyTotals Plus(long bytes, bool pageable) =>
        new(Count + 1, Bytes + bytes, PageableCount + (pageable ? 1 : 0), PageableBytes + (pageable ? bytes : 0));
}

/// <summary>What all launches of a kernel did together.</summary>
/// <param name="Launches">How many.</param>
/// <param name="ThreadInstructions">Instructions, counted once for each thread that ran them.</param>
/// <param name="ByText">The same by opcode with modifiers.</param>
/// <param name="Last">What the last launch did alone.</param>
public sealed record KernelTotals(long Launches, long ThreadInstructions, IReadOnlyDictionary<string, long> ByText, LaunchCounts Last);

/// <summary>
/// What a driver has done. Work counts when it is performed, also each time that a graph replays it; waits and graph launches
/// when they are called. A snapshot; any thread.
/// </summary>
public sealed record SimCounters
{
    /// <summary>Kernels by name.</summary>
    public required IReadOnlyDictionary<string, KernelTotals> Kernels { get; init; }

    /// <summary>Copies to the device.</summary>
    public CopyTotals HostToDevice { get; init; }

    /// <summary>Copies to the host.</summary>
    public CopyTotals DeviceToHost { get; init; }

    /// <summary>Copies inside the device; none is pageable.</summary>
    public CopyTotals DeviceToDevice { get; init; }

    /// <summary>Fills.</summary>
    public long Memsets { get; init; }

    /// <summary>Launches of graphs.</summary>
    public long GraphLaunches { get; init; }

    /// <summary>Matrix products of cuBLAS.</summary>
    public long MatrixProducts { get; init; }

    /// <summary>
    /// How often the host waited, by the call that made it wait: synchronisations; copies to pageable memory; frees that found
    /// work still queued.
    /// </summary>
    public required IReadOnlyDictionary<string, long> Waits { get; init; }

    /// <summary>Launches of a kernel; 0 where it never ran.</summary>
    public long Launches(string kernel) => Kernels.TryGetValue(kernel, out KernelTotals? totals) ? totals.Launches : 0;

    /// <summary>Launches of all kernels.</summary>
    public long AllLaunches => Kernels.Values.Sum(totals => totals.Launches);

    /// <summary>Waits of the host, of every kind.</summary>
    public long AllWaits => Waits.Values.Sum();
}

/// <summary>The same while it grows, under the driver's lock.</summary>
internal sealed class RunningCounters
{
    private readonly Dictionary<string, Running> _kernels = [];
    private readonly Dictionary<string, long> _waits = [];

    public CopyTotals HostToDevice { get; set; }

    public CopyTotals DeviceToHost { get; set; }

    public CopyTotals DeviceToDevice { get; set; }

    public long Memsets { get; set; }

    public long GraphLaunches { get; set; }

    public long MatrixProducts { get; set; }

    public void Wait(string call) => _waits[call] = _waits.GetValueOrDefault(call) + 1;

    public void Launched(string kernel, LaunchCounts counts)
    {
        if (!_kernels.TryGetValue(kernel, out Running? running))
            _kernels[kernel] = running = new Running();
        running.Launches++;
        running.Instructions += counts.ThreadInstructions;
        running.Last = counts;
        foreach ((string text, long count) in counts.ByText)
            running.ByText[text] = running.ByText.GetValueOrDefault(text) + count;
    }

    public SimCounters Snapshot() => new()
    {
        Kernels = _kernels.ToDictionary(
            pair => pair.Key,
            pair => new KernelTotals(pair.Value.Launches, pair.Value.Instructions, new Dictionary<string, long>(pair.Value.ByText), pair.Value.Last!)),
        HostToDevice = HostToDevice,
        DeviceToHost = DeviceToHost,
        DeviceToDevice = DeviceToDevice,
        Memsets = Memsets,
        GraphLaunches = GraphLaunches,
        MatrixProducts = MatrixProducts,
        Waits = new Dictionary<string, long>(_waits),
    };

    private sealed class Running
    {
        public long Launches { get; set; }

        public long Instructions { get; set; }

        public Dictionary<string, long> ByText { get; } = [];

        public LaunchCounts? Last { get; set; }
    }
}

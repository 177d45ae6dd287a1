namespace ParVts.GpuSim;

/// <summary>What a kernel or its caller did wrong.</summary>
public enum FaultKind
{
    /// <summary>An access outside every allocation, or outside a block's shared or a thread's local memory.</summary>
    OutOfBounds,

    /// <summary>An address that is no multiple of the access' size.</summary>
    Misaligned,

    /// <summary>A read of memory that nobody wrote.</summary>
    UnwrittenRead,

    /// <summary>A read of shared memory that a cp.async still has to fill.</summary>
    AsyncNotWaited,

    /// <summary>An access to memory that was freed.</summary>
    UseAfterFree,

    /// <summary>Memory freed twice.</summary>
    DoubleFree,

    /// <summary>An address freed that no allocation begins at.</summary>
    InvalidFree,

    /// <summary>A write to constant memory.</summary>
    ReadOnlyWrite,

    /// <summary>A barrier that only some threads of the block reach.</summary>
    DivergentBarrier,

    /// <summary>A warp-wide operation without all lanes that its mask names.</summary>
    DivergentWarp,

    /// <summary>A shuffle that reads from a lane that does not take part.</summary>
    InactiveLane,

    /// <summary>Two threads touch the same bytes, one of them writing, with no barrier between.</summary>
    Race,

    /// <summary>A launch whose parameters have another size than the kernel's.</summary>
    ParameterSize,

    /// <summary>A launch with a grid, block or amount of shared memory that no GPU takes.</summary>
    LaunchSize,

    /// <summary>More instructions than <see cref="SimGpu.InstructionLimit"/> allows: a loop without end, most likely.</summary>
    Runaway,

    /// <summary>A call of the driver that no correct host makes: a handle that was freed, an event that was never recorded …</summary>
    HostMisuse,
}

/// <summary>A position in a grid or block.</summary>
public readonly record struct Dim3(int X, int Y = 1, int Z = 1)
{
    /// <summary>The product of the three.</summary>
    public long Count => (long)X * Y * Z;

    /// <summary>The position as "(x, y, z)".</summary>
    public override string ToString() => $"({X}, {Y}, {Z})";
}

/// <summary>A fault, with the kernel, source line, block and thread where there is one.</summary>
public sealed class SimFaultException : Exception
{
    internal SimFaultException(FaultKind kind, string message, ulong address = 0, string? kernel = null, int sourceLine = 0, string? place = null,
        Dim3? block = null, Dim3? thread = null)
        : base(Describe(kind, message, kernel, place, block, thread))
    {
        Kind = kind;
        Detail = message;
        Address = address;
        Kernel = kernel;
        SourceLine = sourceLine;
        Block = block;
        Thread = thread;
    }

    /// <summary>What went wrong.</summary>
    public FaultKind Kind { get; }

    /// <summary>The message without its place.</summary>
    public string Detail { get; }

    /// <summary>The address, in the space that the access names; 0 where there is none.</summary>
    public ulong Address { get; }

    /// <summary>The kernel, or null outside a launch.</summary>
    public string? Kernel { get; }

    /// <summary>The line of the CUDA source; 0 where the PTX names none.</summary>
    public int SourceLine { get; }

    /// <summary>The block, or null outside a kernel's code.</summary>
    public Dim3? Block { get; }

    /// <summary>The first thread at fault, or null outside a kernel's code.</summary>
    public Dim3? Thread { get; }

    private static string Describe(FaultKind kind, string message, string? kernel, string? place, Dim3? block, Dim3? thread)
    {
        string where = kernel is null ? "" : $" in {kernel}";
        if (place is not null)
            where += $" at {place}";
        if (block is not null)
            where += $", block {block}, thread {thread}";
        return $"{kind}{where}: {message}";
    }
}

/// <summary>A fault found by one lane, before the launch adds where it was.</summary>
internal sealed class LaneFault(FaultKind kind, int lane, ulong address, string message) : Exception(message)
{
    public FaultKind Kind => kind;

    public int Lane => lane;

    public ulong Address => address;
}

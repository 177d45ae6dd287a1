using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim;

/// <summary>What sort of thing an instruction does.</summary>
public enum InstructionKind
{
    /// <summary>Arithmetic and logic on whole numbers, comparisons, selections, moves.</summary>
    Integer,

    /// <summary>Arithmetic on floats.</summary>
    Float,

    /// <summary>Roots, exponentials, sines and the like, which the hardware has a unit of its own for.</summary>
    Special,

    /// <summary>Conversions between types.</summary>
    Conversion,

    /// <summary>Loads, ldmatrix among them.</summary>
    Load,

    /// <summary>Stores.</summary>
    Store,

    /// <summary>Atomic operations.</summary>
    Atomic,

    /// <summary>cp.async, its groups and waits.</summary>
    AsyncCopy,

    /// <summary>mma.sync.</summary>
    Matrix,

    /// <summary>Shuffles, votes and the like.</summary>
    Warp,

    /// <summary>Barriers and fences.</summary>
    Barrier,

    /// <summary>Branches and exits.</summary>
    Flow,
}

/// <summary>Traffic of one direction between a launch and global memory.</summary>
/// <param name="Bytes">Bytes that threads asked for.</param>
/// <param name="Sectors">32-byte sectors, each once for every warp's access that touched it: what the first-level cache is asked for.</param>
/// <param name="DistinctSectors">32-byte sectors, each once in the launch: what memory moves at least, if caches hold everything.</param>
public readonly record struct GlobalTraffic(long Bytes, long Sectors, long DistinctSectors)
{
    /// <summary>Bytes of the sectors that were touched at least once.</summary>
    public long DistinctBytes => 32 * DistinctSectors;
}

/// <summary>Traffic between a launch and shared memory.</summary>
/// <param name="Passes">Passes ("wavefronts") that the accesses take without conflicts: 128 bytes each at most.</param>
/// <param name="Conflicts">Passes more, because lanes wanted different words of one bank.</param>
public readonly record struct SharedTraffic(long Passes, long Conflicts);

/// <summary>What a launch did. Memory is counted where <see cref="SimGpu.CountMemory"/> is set; local memory is not.</summary>
public sealed class LaunchCounts
{
    private readonly CompiledKernel _kernel;
    private readonly InstrCounts[] _counts;

    internal LaunchCounts(CompiledKernel kernel, InstrCounts[] counts)
    {
        _kernel = kernel;
        _counts = counts;
        for (int i = 0; i < counts.Length; i++)
        {
            ref InstrCounts c = ref counts[i];
            ThreadInstructions += c.Threads;
            if (c.Sectors > 0)
            {
                GlobalTraffic traffic = new(c.GlobalBytes, c.Sectors, c.DistinctSectors);
                if (kernel.Kinds[i] is InstructionKind.Store or InstructionKind.Atomic)
                    Stored = Sum(Stored, traffic);
                else
                    Loaded = Sum(Loaded, traffic);
            }
            Shared = new SharedTraffic(Shared.Passes + c.Passes, Shared.Conflicts + c.Conflicts);
            if (kernel.Kinds[i] == InstructionKind.Matrix)
            {
                MatrixOperations += c.Threads / 32;
                // m16n8k8 and m16n8k16: a product and a sum for each of 16 x 8 x k.
                MatrixFlops += c.Threads / 32 * 2 * 16 * 8 * kernel.Code[i].Count;
            }
        }
    }

    /// <summary>Instructions, counted once for each thread that ran them.</summary>
    public long ThreadInstructions { get; }

    /// <summary>Loads from global memory, cp.async among them.</summary>
    public GlobalTraffic Loaded { get; }

    /// <summary>Stores to global memory and atomic operations on it.</summary>
    public GlobalTraffic Stored { get; }

    /// <summary>Accesses to shared memory, ldmatrix and the writing side of cp.async among them.</summary>
    public SharedTraffic Shared { get; }

    /// <summary>mma.sync instructions, once for each warp.</summary>
    public long MatrixOperations { get; }

    /// <summary>Products and sums of mma.sync.</summary>
    public long MatrixFlops { get; }

    /// <summary>Thread instructions by opcode with modifiers ("ld.global.f32").</summary>
    public IReadOnlyDictionary<string, long> ByText => Group(i => _kernel.Lines[i].Text, c => c.Threads);

    /// <summary>Thread instructions by line of the source.</summary>
    public IReadOnlyDictionary<int, long> ByLine => Group(Line, c => c.Threads);

    /// <summary>Thread instructions by kind.</summary>
    public IReadOnlyDictionary<InstructionKind, long> ByKind => Group(i => _kernel.Kinds[i], c => c.Threads);

    /// <summary>Passes through shared memory for the sake of bank conflicts, by line of the source: the lines that have any.</summary>
    public IReadOnlyDictionary<int, long> ConflictsByLine => Group(Line, c => c.Conflicts, c => c.Conflicts > 0);

    /// <summary>Sectors of global memory that warps asked for, and how many would do for the bytes that their threads asked for, by line of the source.</summary>
    public IReadOnlyDictionary<int, (long Sectors, long Needed)> SectorsByLine
    {
        get
        {
            Dictionary<int, long> sectors = Group(Line, c => c.Sectors, c => c.Sectors > 0), bytes = Group(Line, c => c.GlobalBytes, c => c.Sectors > 0);
            return sectors.ToDictionary(s => s.Key, s => (s.Value, (bytes[s.Key] + 31) / 32));
        }
    }

    private int Line(int instruction) => _kernel.Lines[instruction].Source.Line;

    private Dictionary<TKey, long> Group<TKey>(Func<int, TKey> key, Func<InstrCounts, long> value, Func<InstrCounts, bool>? counts = null)
        where TKey : notnull
    {
        Dictionary<TKey, long> groups = [];
        for (int i = 0; i < _counts.Length; i++)
        {
            if (counts is null || counts(_counts[i]))
                groups[key(i)] = groups.GetValueOrDefault(key(i)) + value(_counts[i]);
        }
        return groups;
    }

    private static GlobalTraffic Sum(GlobalTraffic a, GlobalTraffic b) => new(a.Bytes + b.Bytes, a.Sectors + b.Sectors, a.DistinctSectors + b.DistinctSectors);
}

/// <summary>Sorts instructions into kinds.</summary>
internal static class InstructionKinds
{
    public static InstructionKind Of(PtxInstruction i) => i.Opcode switch
    {
        "ld" or "ldu" or "ldmatrix" => InstructionKind.Load,
        "st" => InstructionKind.Store,
        "atom" or "red" => InstructionKind.Atomic,
        "cp" => InstructionKind.AsyncCopy,
        "mma" => InstructionKind.Matrix,
        "shfl" or "vote" or "match" or "redux" or "activemask" => InstructionKind.Warp,
        "bar" or "barrier" or "membar" or "fence" => InstructionKind.Barrier,
        "bra" or "ret" or "exit" or "call" => InstructionKind.Flow,
        "cvt" or "cvta" => InstructionKind.Conversion,
        "rcp" or "rsqrt" or "sqrt" or "ex2" or "lg2" or "sin" or "cos" or "tanh" => InstructionKind.Special,
        "add" or "sub" or "mul" or "fma" or "mad" or "div" or "min" or "max" or "neg" or "abs"
            when i.Modifiers.Any(m => m is "f32" or "f64" or "f16" or "bf16" or "f16x2" or "bf16x2") => InstructionKind.Float,
        _ => InstructionKind.Integer,
    };
}

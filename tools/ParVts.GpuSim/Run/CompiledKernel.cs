using ParVts.GpuSim.Ptx;

namespace ParVts.GpuSim.Run;

/// <summary>Special registers that keep their value for the life of a warp.</summary>
internal enum Special
{
    TidX, TidY, TidZ, NtidX, NtidY, NtidZ, CtaidX, CtaidY, CtaidZ, NctaidX, NctaidY, NctaidZ,
    LaneId, WarpId, NWarpId, SmId, NSmId, LaneMaskEq, LaneMaskLt, LaneMaskLe, LaneMaskGt, LaneMaskGe, DynamicSharedBytes, TotalSharedBytes, GridId,
}

/// <summary>A kernel ready to run.</summary>
internal sealed class CompiledKernel
{
    public required string Name { get; init; }

    /// <summary>Instructions, in memory that does not move.</summary>
    public required Instr[] Code { get; init; }

    /// <summary>For each instruction its text ("ld.global.f32") and where it stands.</summary>
    public required (string Text, SourceLine Source)[] Lines { get; init; }

    public required InstructionKind[] Kinds { get; init; }

    public required IReadOnlyDictionary<int, string> Files { get; init; }

    /// <summary>What a warp's registers are at the start: zeros and the kernel's constants.</summary>
    public required byte[] RegisterImage { get; init; }

    public int RegisterBytes => RegisterImage.Length;

    public required IReadOnlyList<(int Place, Special What)> Specials { get; init; }

    public required int LocalBytes { get; init; }

    /// <summary>Where a block's shared variables end; the dynamic ones follow. They begin at <see cref="Block.SharedBase"/>.</summary>
    public required int SharedEnd { get; init; }

    public required int ParameterBytes { get; init; }

    public required int MaxThreads { get; init; }

    /// <summary>Logarithm of the narrowest access to shared (and generic) memory, and to global (and generic) memory.</summary>
    public required (int Shared, int Global) GranuleLog { get; init; }

    /// <summary>Offsets of the parameters through which it may store to global memory; null where any may be. Numbers beyond are no parameters.</summary>
    public required int[]? WrittenParameters { get; init; }

    /// <summary>Addresses of module variables that it may store to.</summary>
    public required ulong[] WrittenVariables { get; init; }

    public string Place(int index)
    {
        (string text, SourceLine source) = Lines[index];
        string file = Files.TryGetValue(source.File, out string? name) ? System.IO.Path.GetFileName(name) : "PTX";
        return source.Line > 0 ? $"{file}:{source.Line} ({text})" : $"PTX line {source.PtxLine} ({text})";
    }
}

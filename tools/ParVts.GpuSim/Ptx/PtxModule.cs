namespace ParVts.GpuSim.Ptx;

/// <summary>A position in the CUDA source, from <c>.loc</c>; line 0 where the PTX has none (compile with -lineinfo).</summary>
public readonly record struct SourceLine(int File, int Line, int PtxLine);

/// <summary>A variable in a state space: a module's .global, .const and .shared ones, a function's .local and .shared ones.</summary>
internal sealed record PtxVariable(string Name, string Space, PtxType Type, long Bytes, int Align, byte[]? Initial, bool IsExtern, int Line);

/// <summary>A parameter of a kernel or function, with its place among the parameters.</summary>
internal sealed record PtxParameter(string Name, PtxType Type, int Bytes, int Align, int Offset);

internal enum OperandKind { Register, Immediate, Symbol, Address, Vector, Group, Sink }

/// <summary>
/// An operand as it stands in the text. An address has a register or symbol as <see cref="Name"/> (or none) and an offset;
/// <see cref="Second"/> is the predicate of "d|p".
/// </summary>
internal sealed record Operand(OperandKind Kind, string Name = "", long Offset = 0, ulong Bits = 0, bool IsFloat32 = false,
    bool IsFloat64 = false, bool Negated = false, string? Second = null, Operand[]? Items = null)
{
    public Operand[] Parts => Items ?? [this];
}

/// <summary>An instruction: "mul.lo.s32" is opcode "mul" with modifiers "lo" and "s32".</summary>
internal sealed record PtxInstruction(string Text, string Opcode, string[] Modifiers, Operand[] Operands, string? Guard, bool GuardNegated,
    SourceLine Source);

/// <summary>A kernel (.entry) or device function (.func).</summary>
internal sealed class PtxFunction
{
    public required string Name { get; init; }

    public required bool IsEntry { get; init; }

    public List<PtxParameter> Parameters { get; } = [];

    public List<PtxParameter> Returns { get; } = [];

    /// <summary>Types of registers by name; names of inner scopes carry a suffix of their own.</summary>
    public Dictionary<string, PtxType> Registers { get; } = [];

    /// <summary>Families declared as %r&lt;100&gt;: prefix and type.</summary>
    public Dictionary<string, PtxType> RegisterFamilies { get; } = [];

    public List<PtxVariable> Variables { get; } = [];

    public List<PtxInstruction> Body { get; } = [];

    public Dictionary<string, int> Labels { get; } = [];

    /// <summary>The most threads of a block (.maxntid), or 0.</summary>
    public int MaxThreads { get; set; }

    /// <summary>The type of a register, or none where the name is not one.</summary>
    public PtxType TypeOf(string register)
    {
        if (Registers.TryGetValue(register, out PtxType type))
            return type;
        string prefix = register.TrimEnd('0', '1', '2', '3', '4', '5', '6', '7', '8', '9');
        return RegisterFamilies.GetValueOrDefault(prefix);
    }
}

/// <summary>A parsed PTX text.</summary>
internal sealed class PtxModule
{
    public Dictionary<string, PtxFunction> Functions { get; } = [];

    public List<PtxVariable> Variables { get; } = [];

    public Dictionary<int, string> Files { get; } = [];

    /// <summary>Parses what NVRTC gives.</summary>
    /// <exception cref="PtxException">Something is not PTX as this parser knows it.</exception>
    public static PtxModule Parse(string ptx) => new PtxParser(ptx).Parse();
}

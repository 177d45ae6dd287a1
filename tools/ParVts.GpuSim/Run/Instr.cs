namespace ParVts.GpuSim.Run;

/// <summary>How an instruction moves the program counter; most do not.</summary>
internal enum Flow : byte
{
    Next,
    Branch,
    Exit,
    Barrier,
}

/// <summary>A state space of an address.</summary>
internal enum Space : byte
{
    Generic,
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// <summary>
/// A compiled instruction. Registers, constants and special registers alike are places in the warp's register file (offsets in bytes), where the
/// 32 lanes of a value lie side by side; a predicate is one 32-bit mask.
/// </summary>
internal unsafe struct Instr
{
    public delegate*<Warp, Instr*, void> Run;
    public long Imm;
    public int D;
    public int A;
    public int B;
    public int C;
    public int E;
    public int F;

    /// <summary>The place of the guard, or -1.</summary>
    public int Guard;

    /// <summary>All ones where the guard is negated.</summary>
    public uint GuardFlip;

    public int Target;

    /// <summary>Where the sides of a branch meet again (its immediate post-dominator).</summary>
    public int Join;

    /// <summary>Its number: an index into the kernel's list of source lines.</summary>
    public int Index;
    public int Count;
    public Flow Flow;
    public Space Space;
    public bool NarrowAddress;

    /// <summary>Whether some element of a load's vector goes nowhere.</summary>
    public bool HasSinks;

    /// <summary>Elements of vectors, or fragments of matrices.</summary>
    public fixed int V[16];
}

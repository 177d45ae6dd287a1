namespace ParVts.GpuSim.Ptx;

/// <summary>The types that PTX instructions name.</summary>
internal enum PtxType
{
    None, Pred,
    B8, U8, S8,
    B16, U16, S16, F16, BF16,
    B32, U32, S32, F32, F16x2, BF16x2, TF32,
    B64, U64, S64, F64,
}

/// <summary>What the compiler asks about a type.</summary>
internal static class PtxTypes
{
    private static readonly Dictionary<string, PtxType> Names = Enum.GetValues<PtxType>()
        .Where(t => t != PtxType.None).ToDictionary(t => t.ToString().ToLowerInvariant());

    /// <summary>The type of a modifier such as "u32", or none.</summary>
    public static bool TryParse(string name, out PtxType type) => Names.TryGetValue(name, out type);

    /// <summary>Bytes of one value; a predicate has none of its own (a warp's 32 are one mask).</summary>
    public static int Bytes(this PtxType type) => type switch
    {
        PtxType.B8 or PtxType.U8 or PtxType.S8 => 1,
        >= PtxType.B16 and <= PtxType.BF16 => 2,
        >= PtxType.B32 and <= PtxType.TF32 => 4,
        >= PtxType.B64 => 8,
        _ => 0,
    };

    public static bool IsSigned(this PtxType type) => type is PtxType.S8 or PtxType.S16 or PtxType.S32 or PtxType.S64;

    public static bool IsFloat(this PtxType type) => type is PtxType.F16 or PtxType.BF16 or PtxType.F32 or PtxType.F64 or PtxType.TF32;
}

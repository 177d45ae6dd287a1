using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Comparisons and conversions.</summary>
internal sealed unsafe partial class KernelCompiler
{
    /// <summary>setp.cmp[.and|or|xor].type p[|q], a, b[, c].</summary>
    private void Compare()
    {
        string how = _mods.TakeAny("eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
            ?? throw Unknown();
        int combine = _mods.TakeAny("and", "or", "xor") switch { "and" => 1, "or" => 2, "xor" => 3, _ => 0 };
        bool ftz = _mods.Take("ftz");
        PtxType type = _mods.TakeType();
        Handler run = type switch
        {
            PtxType.U16 or PtxType.B16 => Comparison<ushort>(how),
            PtxType.S16 => Comparison<short>(how),
            PtxType.U32 or PtxType.B32 => Comparison<uint>(how),
            PtxType.S32 => Comparison<int>(how),
            PtxType.U64 or PtxType.B64 => Comparison<ulong>(how),
            PtxType.S64 => Comparison<long>(how),
            PtxType.F32 => ftz ? FlushingComparison(how) : Comparison<float>(how),
            PtxType.F64 => Comparison<double>(how),
            _ => throw Unknown(),
        };
        Operand to = _now.Operands[0];
        int a = Place(1, type), b = Place(2, type), c = combine > 0 ? Place(3, PtxType.Pred) : -1;
        int d = to.Kind == OperandKind.Sink ? _file.Register("unused predicate", 0) : RegisterPlace(to.Name, PtxType.Pred);
        int e = to.Second is null ? -1 : RegisterPlace(to.Second, PtxType.Pred);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.B, i.C, i.E, i.Imm) = (d, a, b, c, e, combine);
        i.F = combine > 0 && _now.Operands[3].Negated ? -1 : 0;
    }

    private Handler Comparison<T>(string how)
        where T : unmanaged, System.Numerics.INumber<T> => how switch
        {
            "eq" => &Lanes.VectorCompare<T, Equal<T>>,
            // Floats that are no numbers are neither equal nor unequal; of whole numbers one of the two holds.
            "ne" => &Lanes.VectorCompare<T, NotEqual<T>>,
            "lt" or "lo" => &Lanes.VectorCompare<T, Less<T>>,
            "le" or "ls" => &Lanes.VectorCompare<T, LessOrEqual<T>>,
            "gt" or "hi" => &Lanes.VectorCompare<T, Greater<T>>,
            "ge" or "hs" => &Lanes.VectorCompare<T, GreaterOrEqual<T>>,
            "equ" => &Lanes.VectorCompare<T, Opposite<T, NotEqual<T>>>,
            "neu" => &Lanes.VectorCompare<T, Opposite<T, Equal<T>>>,
            "ltu" => &Lanes.VectorCompare<T, Opposite<T, GreaterOrEqual<T>>>,
            "leu" => &Lanes.VectorCompare<T, Opposite<T, Greater<T>>>,
            "gtu" => &Lanes.VectorCompare<T, Opposite<T, LessOrEqual<T>>>,
            "geu" => &Lanes.VectorCompare<T, Opposite<T, Less<T>>>,
            "num" => &Lanes.VectorCompare<T, BothNumbers<T>>,
            _ => &Lanes.VectorCompare<T, Opposite<T, BothNumbers<T>>>,
        };

    private Handler FlushingComparison(string how) => how switch
    {
        "eq" => &Lanes.VectorCompare<float, FtzCompare<Equal<float>>>,
        "ne" => &Lanes.VectorCompare<float, FtzCompare<NotEqual<float>>>,
        "lt" => &Lanes.VectorCompare<float, FtzCompare<Less<float>>>,
        "le" => &Lanes.VectorCompare<float, FtzCompare<LessOrEqual<float>>>,
        "gt" => &Lanes.VectorCompare<float, FtzCompare<Greater<float>>>,
        "ge" => &Lanes.VectorCompare<float, FtzCompare<GreaterOrEqual<float>>>,
        "equ" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, NotEqual<float>>>>,
        "neu" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, Equal<float>>>>,
        "ltu" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, GreaterOrEqual<float>>>>,
        "leu" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, Greater<float>>>>,
        "gtu" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, LessOrEqual<float>>>>,
        "geu" => &Lanes.VectorCompare<float, FtzCompare<Opposite<float, Less<float>>>>,
        _ => Comparison<float>(how),
    };

    private void Convert()
    {
        string? named = _mods.TakeAny("rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi");
        bool sat = _mods.Take("sat"), ftz = _mods.Take("ftz"), relu = _mods.Take("relu");
        PtxType to = _mods.TakeType(), from = _mods.TakeType();
        if (to is PtxType.F16x2 or PtxType.BF16x2)
        {
            SetRounding(ref Operation(&Ops.Convert.Pair, PtxType.B32), from, to, named, sat, ftz, relu);
            return;
        }
        // Registers may be wider than the value in them, on both sides.
        int a = Place(1, from.IsFloat() || from.Bytes() > 2 ? from : PtxType.None), d = Place(0, to);
        int fromWidth = _now.Operands[1].Kind == OperandKind.Register ? Math.Max(Width(_now.Operands[1]), 2) : Math.Max(from.Bytes(), 2);
        if (_now.Operands[1].Kind == OperandKind.Register && SpecialNames.ContainsKey(_now.Operands[1].Name))
            fromWidth = 4;
        Handler plain = from.IsFloat() || to.IsFloat() || sat ? null : Resizing(from, to);
        ref Instr i = ref Emit(plain == null ? &Ops.Convert.Any : plain);
        (i.D, i.A) = (d, a);
        SetRounding(ref i, from, to, named, sat, ftz, relu);
        i.V[Ops.Convert.FromWidth] = fromWidth;
        i.V[Ops.Convert.ToWidth] = Width(_now.Operands[0]);
    }

    private static void SetRounding(ref Instr i, PtxType from, PtxType to, string? named, bool sat, bool ftz, bool relu)
    {
        // Floats become whole numbers by cutting unless it is said otherwise; whole values of floats have names that end in i.
        Rounding rounding = named?[..2] switch { "rz" => Rounding.Zero, "rm" => Rounding.Down, "rp" => Rounding.Up, _ => Rounding.Nearest };
        i.V[Ops.Convert.From] = (int)from;
        i.V[Ops.Convert.To] = (int)to;
        i.V[Ops.Convert.Round] = (int)rounding;
        i.V[Ops.Convert.Flags] = (sat ? Ops.Convert.Saturating : 0) | (ftz ? Ops.Convert.Flushing : 0) | (relu ? Ops.Convert.Relu : 0)
            | (from.IsFloat() && to.IsFloat() && named?.EndsWith('i') == true ? Ops.Convert.ToInteger : 0);
    }

    /// <summary>Between whole numbers: sign or zero extension into a register of 16, 32 or 64 bits; null where the result is narrower than its register.</summary>
    private Handler Resizing(PtxType from, PtxType to)
    {
        if (to.Bytes() != Width(_now.Operands[0]))
            return null;
        return (from, to.Bytes()) switch
        {
            (PtxType.U16 or PtxType.B16, 2) => &Ops.Convert.Resize<ushort, ushort>,
            (PtxType.U16 or PtxType.B16, 4) => &Ops.Convert.Resize<ushort, uint>,
            (PtxType.U16 or PtxType.B16, 8) => &Ops.Convert.Resize<ushort, ulong>,
            (PtxType.S16, 2) => &Ops.Convert.Resize<short, ushort>,
            (PtxType.S16, 4) => &Ops.Convert.Resize<short, uint>,
            (PtxType.S16, 8) => &Ops.Convert.Resize<short, ulong>,
            (PtxType.U32 or PtxType.B32, 2) => &Ops.Convert.Resize<uint, ushort>,
            (PtxType.U32 or PtxType.B32, 4) => &Ops.Convert.Resize<uint, uint>,
            (PtxType.U32 or PtxType.B32, 8) => &Ops.Convert.Resize<uint, ulong>,
            (PtxType.S32, 2) => &Ops.Convert.Resize<int, ushort>,
            (PtxType.S32, 4) => &Ops.Convert.Resize<int, uint>,
            (PtxType.S32, 8) => &Ops.Convert.Resize<int, ulong>,
            (PtxType.U64 or PtxType.B64, 2) => &Ops.Convert.Resize<ulong, ushort>,
            (PtxType.U64 or PtxType.B64, 4) => &Ops.Convert.Resize<ulong, uint>,
            (PtxType.U64 or PtxType.B64, 8) => &Ops.Convert.Resize<ulong, ulong>,
            (PtxType.S64, 2) => &Ops.Convert.Resize<long, ushort>,
            (PtxType.S64, 4) => &Ops.Convert.Resize<long, uint>,
            (PtxType.S64, 8) => &Ops.Convert.Resize<long, ulong>,
            (PtxType.U8 or PtxType.B8, 2) => &Ops.Convert.Resize<byte, ushort>,
            (PtxType.U8 or PtxType.B8, 4) => &Ops.Convert.Resize<byte, uint>,
            (PtxType.U8 or PtxType.B8, 8) => &Ops.Convert.Resize<byte, ulong>,
            (PtxType.S8, 2) => &Ops.Convert.Resize<sbyte, ushort>,
            (PtxType.S8, 4) => &Ops.Convert.Resize<sbyte, uint>,
            (PtxType.S8, 8) => &Ops.Convert.Resize<sbyte, ulong>,
            _ => null,
        };
    }
}

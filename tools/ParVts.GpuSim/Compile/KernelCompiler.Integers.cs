using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Arithmetic on whole numbers: which handler an opcode and its type have.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private Handler IntegerHandler(PtxType type)
    {
        switch (_now.Opcode)
        {
            case "add":
                return type switch
                {
                    PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorBinary<ushort, Add<ushort>>,
                    PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorBinary<uint, Add<uint>>,
                    PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorBinary<ulong, Add<ulong>>,
                    _ => throw Unknown(),
                };
            case "sub":
                return type switch
                {
                    PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorBinary<ushort, Sub<ushort>>,
                    PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorBinary<uint, Sub<uint>>,
                    PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorBinary<ulong, Sub<ulong>>,
                    _ => throw Unknown(),
                };
            case "neg":
                return type switch
                {
                    PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorUnary<ushort, Neg<ushort>>,
                    PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorUnary<uint, Neg<uint>>,
                    PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorUnary<ulong, Neg<ulong>>,
                    _ => throw Unknown(),
                };
            case "abs":
                return type switch
                {
                    PtxType.U16 => &Lanes.Unary<ushort, AbsInteger<ushort>>,
                    PtxType.S16 => &Lanes.Unary<short, AbsInteger<short>>,
                    PtxType.U32 => &Lanes.Unary<uint, AbsInteger<uint>>,
                    PtxType.S32 => &Lanes.Unary<int, AbsInteger<int>>,
                    PtxType.U64 => &Lanes.Unary<ulong, AbsInteger<ulong>>,
                    PtxType.S64 => &Lanes.Unary<long, AbsInteger<long>>,
                    _ => throw Unknown(),
                };
            case "min":
                return type switch
                {
                    PtxType.U16 => &Lanes.VectorBinary<ushort, Min<ushort>>,
                    PtxType.S16 => &Lanes.VectorBinary<short, Min<short>>,
                    PtxType.U32 => &Lanes.VectorBinary<uint, Min<uint>>,
                    PtxType.S32 => &Lanes.VectorBinary<int, Min<int>>,
                    PtxType.U64 => &Lanes.VectorBinary<ulong, Min<ulong>>,
                    PtxType.S64 => &Lanes.VectorBinary<long, Min<long>>,
                    _ => throw Unknown(),
                };
            case "max":
                return type switch
                {
                    PtxType.U16 => &Lanes.VectorBinary<ushort, Max<ushort>>,
                    PtxType.S16 => &Lanes.VectorBinary<short, Max<short>>,
                    PtxType.U32 => &Lanes.VectorBinary<uint, Max<uint>>,
                    PtxType.S32 => &Lanes.VectorBinary<int, Max<int>>,
                    PtxType.U64 => &Lanes.VectorBinary<ulong, Max<ulong>>,
                    PtxType.S64 => &Lanes.VectorBinary<long, Max<long>>,
                    _ => throw Unknown(),
                };
            case "div":
                return type switch
                {
                    PtxType.U16 => &Lanes.Binary<ushort, Div<ushort>>,
                    PtxType.S16 => &Lanes.Binary<short, Div<short>>,
                    PtxType.U32 => &Lanes.Binary<uint, Div<uint>>,
                    PtxType.S32 => &Lanes.Binary<int, Div<int>>,
                    PtxType.U64 => &Lanes.Binary<ulong, Div<ulong>>,
                    PtxType.S64 => &Lanes.Binary<long, Div<long>>,
                    _ => throw Unknown(),
                };
            case "rem":
                return type switch
                {
                    PtxType.U16 => &Lanes.Binary<ushort, Rem<ushort>>,
                    PtxType.S16 => &Lanes.Binary<short, Rem<short>>,
                    PtxType.U32 => &Lanes.Binary<uint, Rem<uint>>,
                    PtxType.S32 => &Lanes.Binary<int, Rem<int>>,
                    PtxType.U64 => &Lanes.Binary<ulong, Rem<ulong>>,
                    PtxType.S64 => &Lanes.Binary<long, Rem<long>>,
                    _ => throw Unknown(),
                };
            default:
                throw Unknown();
        }
    }

    /// <summary>mul and mad: the low half, the high half, or the whole product in a register twice as wide.</summary>
    private void Multiply(PtxType type)
    {
        bool adds = _now.Opcode == "mad";
        string half = _mods.TakeAny("lo", "hi", "wide") ?? throw Unknown();
        PtxType result = half != "wide" ? type : type switch
        {
            PtxType.U16 => PtxType.U32,
            PtxType.S16 => PtxType.S32,
            PtxType.U32 => PtxType.U64,
            PtxType.S32 => PtxType.S64,
            _ => throw Unknown(),
        };
        Handler run = half switch
        {
            "wide" => type switch
            {
                PtxType.U16 => &Lanes.Wide<ushort, uint>,
                PtxType.S16 => &Lanes.Wide<short, int>,
                PtxType.U32 => &Lanes.Wide<uint, ulong>,
                _ => &Lanes.Wide<int, long>,
            },
            "lo" when adds => LowMad(type),
            "lo" => LowProduct(type),
            _ when adds => HighMad(type),
            _ => HighProduct(type),
        };
        int a = Place(1, type), b = Place(2, type), c = adds ? Place(3, result) : -1, d = Place(0, result);
        ref Run.Instr i = ref Emit(run);
        (i.D, i.A, i.B, i.C) = (d, a, b, c);
    }

    /// <summary>mul24 and mad24 (lower half), and sad.</summary>
    private void Narrow(PtxType type)
    {
        if (_now.Opcode != "sad" && !_mods.Take("lo"))
            throw Unknown();
        Operation((_now.Opcode, type) switch
        {
            ("mul24", PtxType.U32) => &Lanes.Binary<uint, Product24<uint>>,
            ("mul24", PtxType.S32) => &Lanes.Binary<int, Product24<int>>,
            ("mad24", PtxType.U32) => &Lanes.Ternary<uint, Mad24<uint>>,
            ("mad24", PtxType.S32) => &Lanes.Ternary<int, Mad24<int>>,
            ("sad", PtxType.U32) => &Lanes.Ternary<uint, Distance<uint>>,
            ("sad", PtxType.S32) => &Lanes.Ternary<int, Distance<int>>,
            _ => throw Unknown(),
        }, type);
    }

    private Handler LowProduct(PtxType type) => type switch
    {
        PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorBinary<ushort, Mul<ushort>>,
        PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorBinary<uint, Mul<uint>>,
        PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorBinary<ulong, Mul<ulong>>,
        _ => throw Unknown(),
    };

    private Handler LowMad(PtxType type) => type switch
    {
        PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorTernary<ushort, Mad<ushort>>,
        PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorTernary<uint, Mad<uint>>,
        PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorTernary<ulong, Mad<ulong>>,
        _ => throw Unknown(),
    };

    private Handler HighProduct(PtxType type) => type switch
    {
        PtxType.U16 => &Lanes.Binary<ushort, MulHigh<ushort>>,
        PtxType.S16 => &Lanes.Binary<short, MulHigh<short>>,
        PtxType.U32 => &Lanes.Binary<uint, MulHigh<uint>>,
        PtxType.S32 => &Lanes.Binary<int, MulHigh<int>>,
        PtxType.U64 => &Lanes.Binary<ulong, MulHighU64>,
        PtxType.S64 => &Lanes.Binary<long, MulHigh<long>>,
        _ => throw Unknown(),
    };

    private Handler HighMad(PtxType type) => type switch
    {
        PtxType.U16 => &Lanes.Ternary<ushort, MadHigh<ushort>>,
        PtxType.S16 => &Lanes.Ternary<short, MadHigh<short>>,
        PtxType.U32 => &Lanes.Ternary<uint, MadHigh<uint>>,
        PtxType.S32 => &Lanes.Ternary<int, MadHigh<int>>,
        PtxType.U64 => &Lanes.Ternary<ulong, MadHighU64>,
        PtxType.S64 => &Lanes.Ternary<long, MadHigh<long>>,
        _ => throw Unknown(),
    };
}

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
                    PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.Unary<ushort, Neg<ushort>>,
                    PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.Unary<uint, Neg<uint>>,
                    PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.Unary<ulong, Neg<ulong>>,
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
                    PtxType.U16 => &Lanes.Binary<ushort, Min<ushort>>,
                    PtxType.S16 => &Lanes.Binary<short, Min<short>>,
                    PtxType.U32 => &Lanes.Binary<uint, Min<uint>>,
                    PtxType.S32 => &Lanes.Binary<int, Min<int>>,
                    PtxType.U64 => &Lanes.Binary<ulong, Min<ulong>>,
                    PtxType.S64 => &Lanes.Binary<long, Min<long>>,
                    _ => throw Unknown(),
                };
            case "max":
                return type switch
                {
                    PtxType.U16 => &Lanes.Binary<ushort, Max<ushort>>,
                    PtxType.S16 => &Lanes.Binary<short, Max<short>>,
                    PtxType.U32 => &Lanes.Binary<uint, Max<uint>>,
                    PtxType.S32 => &Lanes.Binary<int, Max<int>>,
                    PtxType.U64 => &Lanes.Binary<ulong, Max<ulong>>,
                    PtxType.S64 => &Lanes.Binary<long, Max<long>>,
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

    private Handler LowProduct(PtxType type) => type switch
    {
        PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.VectorBinary<ushort, Mul<ushort>>,
        PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.VectorBinary<uint, Mul<uint>>,
        PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.VectorBinary<ulong, Mul<ulong>>,
        _ => throw Unknown(),
    };

    private Handler LowMad(PtxType type) => type switch
    {
        PtxType.U16 or PtxType.S16 or PtxType.B16 => &Lanes.Ternary<ushort, Mad<ushort>>,
        PtxType.U32 or PtxType.S32 or PtxType.B32 => &Lanes.Ternary<uint, Mad<uint>>,
        PtxType.U64 or PtxType.S64 or PtxType.B64 => &Lanes.Ternary<ulong, Mad<ulong>>,
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

using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Logic, shifts, bit fields and selections.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private bool CompileBits()
    {
        switch (_now.Opcode)
        {
            case "and" or "or" or "xor" or "not" or "cnot":
                Logic(_mods.TakeType());
                return true;
            case "shl" or "shr":
                Shift(_mods.TakeType());
                return true;
            case "shf":
                Operation(&BitOps.Funnel, PtxType.U32).Imm = (_mods.TakeAny("l", "r") == "r" ? 1 : 0) + (_mods.TakeAny("wrap", "clamp") == "wrap" ? 2 : 0);
                _mods.TakeType();
                return true;
            case "popc" or "clz" or "bfind":
                Count(_mods.TakeType());
                return true;
            case "brev":
                PtxType reversed = _mods.TakeType();
                Operation(reversed.Bytes() == 8 ? &Lanes.Unary<ulong, Reverse64> : &Lanes.Unary<uint, Reverse32>, reversed);
                return true;
            case "bfe" or "bfi":
                Field(_mods.TakeType());
                return true;
            case "prmt":
                Operation(&BitOps.Permute, _mods.TakeType());
                return true;
            case "lop3":
                long table = (long)_now.Operands[4].Bits;
                Operation(&Lop3.Run, _mods.TakeType()).Imm = table;
                return true;
            case "selp" or "slct":
                Select(_mods.TakeType());
                return true;
            case "setp":
                Compare();
                return true;
            case "cvt":
                Convert();
                return true;
            case "mov":
                Move();
                return true;
            default:
                return false;
        }
    }

    private void Logic(PtxType type)
    {
        if (type == PtxType.Pred)
        {
            int a = Place(1, type), b = _now.Operands.Length > 2 ? Place(2, type) : 0, d = Place(0, type);
            ref Instr i = ref Emit(&Lanes.Predicate);
            (i.D, i.A, i.B) = (d, a, b);
            i.F = (_now.Opcode == "not") ^ _now.Operands[1].Negated ? -1 : 0;
            i.Imm = _now.Opcode switch { "and" => 1, "or" => 2, "xor" => 3, _ => 0 };
            return;
        }
        Operation(_now.Opcode switch
        {
            "and" => type.Bytes() switch { 2 => &Lanes.VectorBinary<ushort, And<ushort>>, 4 => &Lanes.VectorBinary<uint, And<uint>>, 8 => &Lanes.VectorBinary<ulong, And<ulong>>, _ => throw Unknown() },
            "or" => type.Bytes() switch { 2 => &Lanes.VectorBinary<ushort, Or<ushort>>, 4 => &Lanes.VectorBinary<uint, Or<uint>>, 8 => &Lanes.VectorBinary<ulong, Or<ulong>>, _ => throw Unknown() },
            "xor" => type.Bytes() switch { 2 => &Lanes.VectorBinary<ushort, Xor<ushort>>, 4 => &Lanes.VectorBinary<uint, Xor<uint>>, 8 => &Lanes.VectorBinary<ulong, Xor<ulong>>, _ => throw Unknown() },
            "not" => type.Bytes() switch { 2 => &Lanes.VectorUnary<ushort, Not<ushort>>, 4 => &Lanes.VectorUnary<uint, Not<uint>>, 8 => &Lanes.VectorUnary<ulong, Not<ulong>>, _ => throw Unknown() },
            _ => type.Bytes() switch { 2 => &Lanes.Unary<ushort, CNot<ushort>>, 4 => &Lanes.Unary<uint, CNot<uint>>, 8 => &Lanes.Unary<ulong, CNot<ulong>>, _ => throw Unknown() },
        }, type);
    }

    private void Shift(PtxType type)
    {
        Handler run = _now.Opcode == "shl"
            ? type.Bytes() switch { 2 => &BitOps.ShiftLeft<ushort>, 4 => &BitOps.ShiftLeft<uint>, 8 => &BitOps.ShiftLeft<ulong>, _ => throw Unknown() }
            : type switch { PtxType.S16 => &BitOps.ShiftRight<short>, PtxType.S32 => &BitOps.ShiftRight<int>, PtxType.S64 => &BitOps.ShiftRight<long>, _ => type.Bytes() switch { 2 => &BitOps.ShiftRight<ushort>, 4 => &BitOps.ShiftRight<uint>, 8 => &BitOps.ShiftRight<ulong>, _ => throw Unknown() } };
        int a = Place(1, type), b = Place(2, PtxType.U32), d = Place(0, type);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.B) = (d, a, b);
    }

    private void Count(PtxType type)
    {
        Handler run = _now.Opcode == "bfind"
            ? type switch { PtxType.S16 => &BitOps.FindHighest<short>, PtxType.S32 => &BitOps.FindHighest<int>, PtxType.S64 => &BitOps.FindHighest<long>, _ => type.Bytes() switch { 2 => &BitOps.FindHighest<ushort>, 4 => &BitOps.FindHighest<uint>, 8 => &BitOps.FindHighest<ulong>, _ => throw Unknown() } }
            : type.Bytes() switch { 2 => &BitOps.Count<ushort>, 4 => &BitOps.Count<uint>, 8 => &BitOps.Count<ulong>, _ => throw Unknown() };
        bool amount = _mods.Take("shiftamt");
        int a = Place(1, type), d = Place(0, PtxType.U32);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.Imm) = (d, a, _now.Opcode == "clz" || amount ? 1 : 0);
    }

    private void Field(PtxType type)
    {
        bool insert = _now.Opcode == "bfi";
        Handler run = insert
            ? type.Bytes() switch { 2 => &BitOps.Insert<ushort>, 4 => &BitOps.Insert<uint>, 8 => &BitOps.Insert<ulong>, _ => throw Unknown() }
            : type switch { PtxType.S16 => &BitOps.Extract<short>, PtxType.S32 => &BitOps.Extract<int>, PtxType.S64 => &BitOps.Extract<long>, _ => type.Bytes() switch { 2 => &BitOps.Extract<ushort>, 4 => &BitOps.Extract<uint>, 8 => &BitOps.Extract<ulong>, _ => throw Unknown() } };
        int a = Place(1, type), b = Place(2, insert ? type : PtxType.U32), c = Place(3, PtxType.U32), e = insert ? Place(4, PtxType.U32) : -1;
        int d = Place(0, type);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.B, i.C, i.E) = (d, a, b, c, e);
    }

    private void Select(PtxType type)
    {
        int a = Place(1, type), b = Place(2, type), c, d = Place(0, type);
        int flip = 0;
        if (_now.Opcode == "slct")
        {
            // slct takes the first where the third is not negative.
            PtxType sign = _mods.TakeType();
            int value = Place(3, sign), zero = _file.Constant(0, 4), p = _file.Register($"slct {_code.Count}", 0);
            ref Instr compare = ref Emit(sign == PtxType.F32 ? &Lanes.Compare<float, GreaterOrEqual<float>> : &Lanes.Compare<int, GreaterOrEqual<int>>);
            (compare.D, compare.A, compare.B) = (p, value, zero);
            _mods.Ignore("ftz");
            c = p;
        }
        else
        {
            c = Place(3, PtxType.Pred);
            flip = _now.Operands[3].Negated ? -1 : 0;
        }
        ref Instr i = ref Emit(type.Bytes() switch { 2 => &Lanes.Select<ushort>, 4 => &Lanes.Select<uint>, 8 => &Lanes.Select<ulong>, _ => throw Unknown() });
        (i.D, i.A, i.B, i.C, i.F) = (d, a, b, c, flip);
    }

    private void Move()
    {
        PtxType type = _mods.TakeType();
        Operand from = _now.Operands[1], to = _now.Operands[0];
        if (type == PtxType.Pred)
        {
            Logic(type);
        }
        else if (from.Name is "%clock" or "%clock64" or "%globaltimer" or "%globaltimer_lo" or "%clock_hi")
        {
            int d = Place(0, type);
            ref Instr i = ref Emit(&WarpOps.Clock);
            (i.D, i.Count) = (d, type.Bytes());
        }
        else if (from.Kind == OperandKind.Vector || to.Kind == OperandKind.Vector)
        {
            Repack(type, from.Kind == OperandKind.Vector);
        }
        else
        {
            Operation(type.Bytes() switch { 2 => &Lanes.VectorUnary<ushort, Move<ushort>>, 4 => &Lanes.VectorUnary<uint, Move<uint>>, 8 => &Lanes.VectorUnary<ulong, Move<ulong>>, _ => throw Unknown() }, type);
        }
    }

    private void Repack(PtxType type, bool packs)
    {
        Operand[] parts = _now.Operands[packs ? 1 : 0].Parts;
        int width = type.Bytes() / parts.Length;
        PtxType part = width switch { 2 => PtxType.B16, 4 => PtxType.B32, _ => throw Unknown() };
        Handler run = (packs, width, type.Bytes()) switch
        {
            (true, 2, 4) => &Moves.Pack<ushort, uint>,
            (true, 2, 8) => &Moves.Pack<ushort, ulong>,
            (true, 4, 8) => &Moves.Pack<uint, ulong>,
            (false, 2, 4) => &Moves.Unpack<ushort, uint>,
            (false, 2, 8) => &Moves.Unpack<ushort, ulong>,
            (false, 4, 8) => &Moves.Unpack<uint, ulong>,
            _ => throw Unknown(),
        };
        int whole = Place(packs ? 0 : 1, type);
        int[] places = [.. parts.Select(p => p.Kind == OperandKind.Sink ? -1 : Place(p, part))];
        ref Instr i = ref Emit(run);
        i.Count = parts.Length;
        (i.D, i.A) = (whole, whole);
        for (int n = 0; n < places.Length; n++)
            i.V[n] = places[n];
    }
}

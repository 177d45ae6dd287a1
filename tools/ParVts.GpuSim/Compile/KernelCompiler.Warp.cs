using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Barriers and what works across lanes.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private bool CompileWarp()
    {
        switch (_now.Opcode)
        {
            case "bar" or "barrier":
                Barrier();
                return true;
            case "shfl":
                Shuffle();
                return true;
            case "vote":
                Vote();
                return true;
            case "activemask":
                _mods.TakeType();
                int mask = Place(0, PtxType.B32);
                Emit(&WarpOps.ActiveMask).D = mask;
                return true;
            case "match":
                Match();
                return true;
            case "redux":
                Reduce();
                return true;
            case "nanosleep":
                _mods.TakeType();
                return true;
            default:
                return false;
        }
    }

    private void Barrier()
    {
        _mods.Ignore("cta", "aligned");
        if (_mods.Take("warp"))
        {
            _mods.Ignore("sync");
            int members = Place(0, PtxType.B32);
            Emit(&WarpOps.WarpBarrier).A = members;
            return;
        }
        if (!_mods.Take("sync") || _now.Operands.Any(o => o.Kind != OperandKind.Immediate))
            throw Unknown();
        ref Instr i = ref Emit(&WarpOps.Barrier);
        i.Flow = Flow.Barrier;
        i.Imm = (long)_now.Operands[0].Bits;
        i.Count = _now.Operands.Length > 1 ? (int)_now.Operands[1].Bits : 0;
    }

    private void Shuffle()
    {
        _mods.Ignore("sync", "b32");
        int how = _mods.TakeAny("up", "down", "bfly", "idx") switch
        {
            "up" => WarpOps.Up,
            "down" => WarpOps.Down,
            "bfly" => WarpOps.Butterfly,
            "idx" => WarpOps.Indexed,
            _ => throw Unknown(),
        };
        Operand to = _now.Operands[0];
        int d = Place(to with { Second = null }, PtxType.B32), f = to.Second is null ? -1 : RegisterPlace(to.Second, PtxType.Pred);
        int a = Place(1, PtxType.B32), b = Place(2, PtxType.B32), c = Place(3, PtxType.B32);
        int members = _now.Operands.Length > 4 ? Place(4, PtxType.B32) : _file.Constant(uint.MaxValue, 4);
        ref Instr i = ref Emit(&WarpOps.Shuffle);
        (i.D, i.A, i.B, i.C, i.E, i.F, i.Imm) = (d, a, b, c, members, f, how);
    }

    private void Vote()
    {
        _mods.Ignore("sync", "pred", "b32");
        int how = _mods.TakeAny("all", "any", "uni", "ballot") switch { "all" => 0, "any" => 1, "uni" => 2, "ballot" => 3, _ => throw Unknown() };
        int d = Place(0, how == 3 ? PtxType.B32 : PtxType.Pred), a = Place(1, PtxType.Pred), members = Place(2, PtxType.B32);
        ref Instr i = ref Emit(&WarpOps.Vote);
        (i.D, i.A, i.E, i.Imm, i.F) = (d, a, members, how, _now.Operands[1].Negated ? -1 : 0);
    }

    private void Match()
    {
        if (!_mods.Take("any"))
            throw Unknown();
        _mods.Ignore("sync");
        PtxType type = _mods.TakeType();
        int d = Place(0, PtxType.B32), a = Place(1, type), members = Place(2, PtxType.B32);
        ref Instr i = ref Emit(type.Bytes() == 8 ? &WarpOps.MatchAny<ulong> : &WarpOps.MatchAny<uint>);
        (i.D, i.A, i.E) = (d, a, members);
    }

    private void Reduce()
    {
        _mods.Ignore("sync");
        string how = _mods.TakeAny("add", "min", "max", "and", "or", "xor") ?? throw Unknown();
        PtxType type = _mods.TakeType();
        Handler run = (how, type) switch
        {
            ("add", _) => &WarpOps.Reduce<uint, Add<uint>>,
            ("min", PtxType.S32) => &WarpOps.Reduce<int, Min<int>>,
            ("min", _) => &WarpOps.Reduce<uint, Min<uint>>,
            ("max", PtxType.S32) => &WarpOps.Reduce<int, Max<int>>,
            ("max", _) => &WarpOps.Reduce<uint, Max<uint>>,
            ("and", _) => &WarpOps.Reduce<uint, And<uint>>,
            ("or", _) => &WarpOps.Reduce<uint, Or<uint>>,
            _ => &WarpOps.Reduce<uint, Xor<uint>>,
        };
        int d = Place(0, type), a = Place(1, type), members = Place(2, PtxType.B32);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.E) = (d, a, members);
    }
}

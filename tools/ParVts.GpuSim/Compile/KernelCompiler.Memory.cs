using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Loads, stores, address conversions, atomics, asynchronous copies.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private readonly HashSet<string> _writtenParameters = [];

    private bool CompileMemory()
    {
        switch (_now.Opcode)
        {
            case "ld" or "ldu":
                Transfer(load: true);
                return true;
            case "st":
                Transfer(load: false);
                return true;
            case "cvta":
                ConvertAddress();
                return true;
            case "atom" or "red":
                Atomic();
                return true;
            case "membar" or "fence":
                // Memory is one here: every write is seen at once. Only the search for races asks for fences.
                if (_mods.TakeAny("gl", "gpu", "sys") is not null)
                    Emit(&Atomics.Fence);
                _mods.Ignore("cta", "sc", "acq_rel", "proxy", "async");
                return true;
            case "prefetch" or "prefetchu":
                _mods.Ignore("global", "local", "L1", "L2");
                return true;
            case "cp":
                AsyncCopy();
                return true;
            default:
                return false;
        }
    }

    private Space TakeSpace() => _mods.TakeAny("global", "shared", "shared::cta", "local", "const", "param") switch
    {
        "global" => Space.Global,
        "shared" or "shared::cta" => Space.Shared,
        "local" => Space.Local,
        "const" => Space.Const,
        "param" => Space.Param,
        _ => Space.Generic,
    };

    private void IgnoreCaching()
    {
        _mods.Ignore("volatile", "relaxed", "acquire", "release", "acq_rel", "weak", "ca", "cg", "cs", "lu", "cv", "nc", "wb", "wt", "gpu", "cta", "sys", "cluster");
        _mods.IgnoreStartingWith("L1::");
        _mods.IgnoreStartingWith("L2::");
    }

    private void Transfer(bool load)
    {
        Space space = TakeSpace();
        IgnoreCaching();
        _mods.Ignore("v2", "v4");
        PtxType type = _mods.TakeType();
        Operand value = _now.Operands[load ? 0 : 1], address = _now.Operands[load ? 1 : 0];
        if (space == Space.Param && IsCallParameter(address))
        {
            PassParameter(load, type, value.Parts, address);
            return;
        }
        Note(space, type.Bytes());
        int register = RegisterWidth(value.Parts, type);
        PtxType held = register == type.Bytes() ? type : PtxType.None;
        int[] places = [.. value.Parts.Select(p => p.Kind == OperandKind.Sink ? -1 : p.Kind == OperandKind.Register ? Place(p, held) : Place(p, type))];
        Handler run = load ? LoadHandler(type, register) : StoreHandler(type, register);
        (int at, bool narrow) = AddressPlace(address);
        ref Instr i = ref Emit(run);
        (i.A, i.NarrowAddress, i.Imm, i.Space, i.Count) = (at, narrow, address.Offset, space, places.Length);
        i.HasSinks = places.Contains(-1);
        for (int n = 0; n < places.Length; n++)
            i.V[n] = places[n];
    }

    private int RegisterWidth(Operand[] values, PtxType type)
    {
        foreach (Operand value in values)
        {
            if (value.Kind == OperandKind.Register)
                return _frame.Function.TypeOf(value.Name) == PtxType.None ? 4 : Width(value);
        }
        return Math.Max(type.Bytes(), 2);
    }

    /// <summary>Races are looked for in units of the narrowest access that a kernel makes.</summary>
    private void Note(Space space, int bytes)
    {
        if (space is Space.Shared or Space.Generic)
            _granuleShared = Math.Min(_granuleShared, bytes);
        if (space is Space.Global or Space.Generic)
            _granuleGlobal = Math.Min(_granuleGlobal, bytes);
    }

    /// <summary>The place of an address' base, and whether it is 32 bits wide. The offset of a symbol stays apart.</summary>
    private (int Place, bool Narrow) AddressPlace(Operand address)
    {
        if (address.Name.Length == 0)
            return (_file.Constant(0, 8), false);
        PtxType type = _frame.Function.TypeOf(address.Name);
        return type == PtxType.None
            ? (_file.Constant(SymbolAddress(address.Name), 8), false)
            : (RegisterPlace(address.Name, PtxType.B32), type.Bytes() == 4);
    }

    private bool IsCallParameter(Operand address) =>
        _frame.Function.TypeOf(address.Name) == PtxType.None
        && !(_frame.Function.IsEntry && _frame.Function.Parameters.Exists(p => p.Name == address.Name));

    /// <summary>Parameters of functions are registers here, since the functions' bodies stand where they are called.</summary>
    private void PassParameter(bool load, PtxType type, Operand[] values, Operand address)
    {
        PtxType bits = type.Bytes() switch { 1 or 2 => PtxType.B16, 4 => PtxType.B32, _ => PtxType.B64 };
        for (int n = 0; n < values.Length; n++)
        {
            string name = $"{_frame.UniqueParameter(address.Name)}+{address.Offset + (n * type.Bytes())}:{type.Bytes()}";
            if (!load)
                _writtenParameters.Add(name);
            else if (!_writtenParameters.Contains(name))
                throw Error($"'{_now.Text}' reads a part of parameter '{address.Name}' that was not passed in this form");
            int parameter = _file.Register(name, bits.Bytes());
            if (values[n].Kind == OperandKind.Register && Width(values[n]) != bits.Bytes())
                throw Error($"'{_now.Text}' with a register of another width");
            int place = Place(values[n], bits);
            ref Instr i = ref Emit(bits.Bytes() switch
            {
                2 => &Lanes.VectorUnary<ushort, Move<ushort>>,
                4 => &Lanes.VectorUnary<uint, Move<uint>>,
                _ => &Lanes.VectorUnary<ulong, Move<ulong>>,
            });
            (i.D, i.A) = load ? (place, parameter) : (parameter, place);
        }
    }

    private void ConvertAddress()
    {
        bool to = _mods.Take("to");
        Space space = TakeSpace();
        PtxType type = _mods.TakeType();
        if (type.Bytes() != 8)
            throw Unknown();
        ulong window = space switch
        {
            Space.Shared => MemoryAccess.SharedWindow,
            Space.Local => MemoryAccess.LocalWindow,
            Space.Global or Space.Const => 0,
            _ => throw Unknown(),
        };
        int a = Place(1, type), d = Place(0, type);
        ref Instr i = ref Emit(&Moves.Offset);
        (i.D, i.A, i.Imm) = (d, a, unchecked((long)(to ? 0 - window : window)));
    }

    private void Atomic()
    {
        Space space = TakeSpace();
        string operation = _mods.TakeAny("add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec") ?? throw Unknown();
        IgnoreCaching();
        PtxType type = _mods.TakeType();
        Note(space, type.Bytes());
        bool result = _now.Opcode == "atom";
        Operand[] operands = _now.Operands;
        int at = result ? 1 : 0;
        Handler run = operation switch
        {
            "add" => type switch
            {
                PtxType.U32 or PtxType.S32 => &Atomics.Modify<uint, Add<uint>>,
                PtxType.U64 or PtxType.S64 => &Atomics.Modify<ulong, Add<ulong>>,
                PtxType.F32 => &Atomics.Modify<float, Add<float>>,
                PtxType.F64 => &Atomics.Modify<double, Add<double>>,
                _ => throw Unknown(),
            },
            "min" => type switch
            {
                PtxType.U32 => &Atomics.Modify<uint, Min<uint>>,
                PtxType.S32 => &Atomics.Modify<int, Min<int>>,
                PtxType.U64 => &Atomics.Modify<ulong, Min<ulong>>,
                PtxType.S64 => &Atomics.Modify<long, Min<long>>,
                _ => throw Unknown(),
            },
            "max" => type switch
            {
                PtxType.U32 => &Atomics.Modify<uint, Max<uint>>,
                PtxType.S32 => &Atomics.Modify<int, Max<int>>,
                PtxType.U64 => &Atomics.Modify<ulong, Max<ulong>>,
                PtxType.S64 => &Atomics.Modify<long, Max<long>>,
                _ => throw Unknown(),
            },
            "and" => type switch
            {
                PtxType.B32 or PtxType.U32 or PtxType.S32 => &Atomics.Modify<uint, And<uint>>,
                PtxType.B64 or PtxType.U64 or PtxType.S64 => &Atomics.Modify<ulong, And<ulong>>,
                _ => throw Unknown(),
            },
            "or" => type switch
            {
                PtxType.B32 or PtxType.U32 or PtxType.S32 => &Atomics.Modify<uint, Or<uint>>,
                PtxType.B64 or PtxType.U64 or PtxType.S64 => &Atomics.Modify<ulong, Or<ulong>>,
                _ => throw Unknown(),
            },
            "xor" => type switch
            {
                PtxType.B32 or PtxType.U32 or PtxType.S32 => &Atomics.Modify<uint, Xor<uint>>,
                PtxType.B64 or PtxType.U64 or PtxType.S64 => &Atomics.Modify<ulong, Xor<ulong>>,
                _ => throw Unknown(),
            },
            "exch" => type switch
            {
                PtxType.B32 or PtxType.U32 or PtxType.S32 or PtxType.F32 => &Atomics.Modify<uint, Exchange<uint>>,
                PtxType.B64 or PtxType.U64 or PtxType.S64 => &Atomics.Modify<ulong, Exchange<ulong>>,
                _ => throw Unknown(),
            },
            "inc" => type switch
            {
                PtxType.U32 => &Atomics.Modify<uint, Increment>,
                _ => throw Unknown(),
            },
            "dec" => type switch
            {
                PtxType.U32 => &Atomics.Modify<uint, Decrement>,
                _ => throw Unknown(),
            },
            _ => type.Bytes() switch
            {
                4 => &Atomics.CompareAndSwap<uint>,
                8 => &Atomics.CompareAndSwap<ulong>,
                _ => throw Unknown(),
            },
        };
        int d = result && operands[0].Kind != OperandKind.Sink ? Place(0, type) : -1;
        (int place, bool narrow) = AddressPlace(operands[at]);
        int b = Place(at + 1, type), c = operation == "cas" ? Place(at + 2, type) : -1;
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.B, i.C, i.NarrowAddress, i.Imm, i.Space) = (d, place, b, c, narrow, operands[at].Offset, space);
    }

    /// <summary>cp.async.ca|cg.shared.global [to], [from], size[, read]; and commit_group, wait_group, wait_all.</summary>
    private void AsyncCopy()
    {
        if (!_mods.Take("async"))
            throw Unknown();
        if (_mods.Take("commit_group"))
        {
            Emit(&AsyncOps.Commit);
            return;
        }
        if (_mods.TakeAny("wait_group", "wait_all") is { } wait)
        {
            Emit(&AsyncOps.Wait).Imm = wait == "wait_all" ? -1 : (long)_now.Operands[0].Bits;
            return;
        }
        if (!_mods.Take("global"))
            throw Unknown();
        _mods.Ignore("shared", "shared::cta");
        IgnoreCaching();
        int size = (int)_now.Operands[2].Bits;
        Note(Space.Generic, size);
        (int to, bool narrow) = AddressPlace(_now.Operands[0]);
        (int from, _) = AddressPlace(_now.Operands[1]);
        int read = _now.Operands.Length > 3 ? Place(3, PtxType.U32) : -1;
        ref Instr i = ref Emit(&AsyncOps.Issue);
        (i.A, i.NarrowAddress, i.Imm, i.B, i.F, i.C, i.Count) =
            (to, narrow, _now.Operands[0].Offset, from, (int)_now.Operands[1].Offset, read, size);
    }
}

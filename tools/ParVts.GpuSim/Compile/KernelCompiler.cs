using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>
/// Turns a kernel into compact code. Functions that it calls are put in at the call, so that a kernel is one flow graph; recursion is refused.
/// The other files of this class hold the opcodes, family by family.
/// </summary>
internal sealed unsafe partial class KernelCompiler
{
    private readonly PtxModule _module;
    private readonly IReadOnlyDictionary<string, ulong> _globals;
    private readonly RegisterFile _file = new();
    private readonly List<Instr> _code = [];
    private readonly List<(string, SourceLine)> _lines = [];
    private readonly List<InstructionKind> _kinds = [];
    private readonly List<(int Instruction, Frame Frame, string? Label)> _jumps = [];
    private readonly Dictionary<string, ulong> _shared = [];
    private int _frames;
    private int _localBytes;
    private int _sharedEnd = Block.SharedBase;
    private int _granuleShared = 16;
    private int _granuleGlobal = 16;
    private Frame _frame = null!;
    private PtxInstruction _now = null!;
    private Modifiers _mods = null!;

    private KernelCompiler(PtxModule module, IReadOnlyDictionary<string, ulong> globals)
    {
        _module = module;
        _globals = globals;
    }

    /// <summary>Compiles one kernel; <paramref name="globals"/> are the addresses of the module's variables.</summary>
    /// <exception cref="PtxException">Something in it is not known here.</exception>
    public static CompiledKernel Compile(PtxModule module, PtxFunction kernel, IReadOnlyDictionary<string, ulong> globals) =>
        new KernelCompiler(module, globals).Compile(kernel);

    private CompiledKernel Compile(PtxFunction kernel)
    {
        Frame frame = new(kernel, _frames++, null);
        PlaceShared();
        Inline(frame);
        // A body that ends without ret still ends.
        _now = new PtxInstruction("ret", "ret", [], [], null, false, default);
        Emit(null).Flow = Flow.Exit;
        Instr[] code = GC.AllocateArray<Instr>(_code.Count, pinned: true);
        _code.CopyTo(code);
        foreach ((int instruction, Frame at, string? label) in _jumps)
            code[instruction].Target = label is null ? at.Starts[^1] : at.Starts[at.Function.Labels[label]];
        FlowGraph.Join(code);
        (int[]? written, ulong[] variables) = WrittenPointers.Find(kernel, _globals);
        PtxParameter? last = kernel.Parameters.LastOrDefault();
        return new CompiledKernel
        {
            Name = kernel.Name,
            Code = code,
            Lines = [.. _lines],
            Kinds = [.. _kinds],
            Files = _module.Files,
            RegisterImage = _file.Image(),
            Specials = _file.Specials,
            LocalBytes = (_localBytes + 15) / 16 * 16,
            SharedEnd = _sharedEnd,
            ParameterBytes = last is null ? 0 : last.Offset + last.Bytes,
            MaxThreads = kernel.MaxThreads > 0 ? kernel.MaxThreads : 1024,
            WrittenParameters = written,
            WrittenVariables = variables,
            GranuleLog = (int.Log2(_granuleShared), int.Log2(_granuleGlobal)),
        };
    }

    private PtxException Error(string message) => new($"{message} (source line {_now.Source.Line})", _now.Source.PtxLine);

    private PtxException Unknown() => Error($"'{_now.Text}' is not known to the simulator");

    /// <summary>Shared variables of the module; extern ones all begin behind the others.</summary>
    private void PlaceShared()
    {
        foreach (PtxVariable v in _module.Variables.Where(v => v.Space == "shared" && !v.IsExtern))
            _shared[v.Name] = AddShared(v);
    }

    private ulong AddShared(PtxVariable v)
    {
        _sharedEnd = (_sharedEnd + v.Align - 1) / v.Align * v.Align;
        ulong address = (ulong)_sharedEnd;
        _sharedEnd += (int)v.Bytes;
        return address;
    }

    private void Inline(Frame frame)
    {
        for (Frame? f = frame.Caller; f is not null; f = f.Caller)
        {
            if (f.Function == frame.Function)
                throw Error($"'{frame.Function.Name}' calls itself, which the simulator cannot do");
        }
        foreach (PtxVariable v in frame.Function.Variables)
        {
            if (v.Space == "shared")
            {
                if (!_shared.TryGetValue(v.Name, out ulong address))
                    _shared[v.Name] = address = AddShared(v);
                frame.Variables[v.Name] = address;
            }
            else if (v.Space == "local")
            {
                _localBytes = (_localBytes + v.Align - 1) / v.Align * v.Align;
                frame.Variables[v.Name] = (ulong)_localBytes;
                _localBytes += (int)v.Bytes;
            }
            else
            {
                throw new PtxException($"variable '{v.Name}' in .{v.Space} inside a function", v.Line);
            }
        }
        if (frame.Caller is null)
        {
            // The kernel's own shared variables are all placed by now; dynamic ones follow, as aligned as the strictest asks.
            int align = _module.Variables.Where(v => v.Space == "shared" && v.IsExtern).Select(v => v.Align).DefaultIfEmpty(1).Max();
            foreach (PtxFunction callee in _module.Functions.Values.Where(f => !f.IsEntry))
            {
                foreach (PtxVariable v in callee.Variables.Where(v => v.Space == "shared" && !_shared.ContainsKey(v.Name)))
                    _shared[v.Name] = AddShared(v);
            }
            _sharedEnd = (_sharedEnd + align - 1) / align * align;
        }
        for (int n = 0; n < frame.Function.Body.Count; n++)
        {
            frame.Starts[n] = _code.Count;
            (_frame, _now) = (frame, frame.Function.Body[n]);
            _mods = new Modifiers(_now);
            Compile();
        }
        frame.Starts[^1] = _code.Count;
    }

    private void Compile()
    {
        switch (_now.Opcode)
        {
            case "bra":
                _mods.Ignore("uni");
                Jump(_now.Operands[0].Name);
                break;
            case "ret" or "exit":
                _mods.Ignore("uni");
                if (_now.Opcode == "ret" && _frame.Caller is not null)
                    Jump(null);
                else
                    Emit(null).Flow = Flow.Exit;
                break;
            case "trap" or "brkpt":
                throw Unknown();
            case "call":
                Call();
                return;
            default:
                if (!CompileArithmetic() && !CompileBits() && !CompileMemory() && !CompileWarp() && !CompileMatrix())
                    throw Unknown();
                break;
        }
        _mods.End();
    }

    private void Jump(string? label)
    {
        if (label is not null && !_frame.Function.Labels.ContainsKey(label))
            throw Error($"no label '{label}'");
        _jumps.Add((_code.Count, _frame, label));
        Emit(null).Flow = Flow.Branch;
    }

    /// <summary>call (results), function, (arguments): the body is put in here.</summary>
    private void Call()
    {
        Operand[] operands = _now.Operands;
        int at = operands.Length > 0 && operands[0].Kind == OperandKind.Group ? 1 : 0;
        if (at >= operands.Length || !_module.Functions.TryGetValue(operands[at].Name, out PtxFunction? function))
            throw Error($"a call of '{(at < operands.Length ? operands[at].Name : "?")}', whose body is not in this PTX (indirect calls are not known to the simulator)");
        if (_now.Guard is not null)
            throw Error("a call with a guard");
        Frame callee = new(function, _frames++, _frame);
        Operand[] results = at == 1 ? operands[0].Parts : [];
        Operand[] arguments = operands.Length > at + 1 ? operands[at + 1].Parts : [];
        for (int i = 0; i < function.Returns.Count; i++)
            callee.Aliases[function.Returns[i].Name] = results[i].Name;
        for (int i = 0; i < function.Parameters.Count; i++)
            callee.Aliases[function.Parameters[i].Name] = arguments[i].Name;
        Frame caller = _frame;
        Inline(callee);
        _frame = caller;
    }

    /// <summary>Adds an instruction with its guard and place; the caller fills in the rest.</summary>
    private ref Instr Emit(Handler run)
    {
        Instr i = Emitted();
        i.Run = run;
        _code.Add(i);
        _lines.Add((_now.Text, _now.Source));
        _kinds.Add(InstructionKinds.Of(_now));
        return ref System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_code)[^1];
    }

    private Instr Emitted() => new()
    {
        Index = _code.Count,
        Guard = _now.Guard is null ? -1 : RegisterPlace(_now.Guard, PtxType.Pred),
        GuardFlip = _now.GuardNegated ? uint.MaxValue : 0,
        D = -1,
        E = -1,
        C = -1,
    };

    private int RegisterPlace(string name, PtxType wanted)
    {
        PtxType type = _frame.Function.TypeOf(name);
        if (type == PtxType.None)
            throw Error($"register '{name}' was not declared");
        if ((type == PtxType.Pred) != (wanted == PtxType.Pred) || (wanted != PtxType.None && type.Bytes() < wanted.Bytes()))
            throw Error($"register '{name}' of type {type} in '{_now.Text}'");
        return _file.Register(_frame.Unique(name), type.Bytes());
    }

    private int Width(Operand operand) => _frame.Function.TypeOf(operand.Name).Bytes();

    /// <summary>The place of operand <paramref name="n"/> as a value of a type.</summary>
    private int Place(int n, PtxType type) => n < _now.Operands.Length ? Place(_now.Operands[n], type) : throw Error($"'{_now.Text}' lacks operands");

    private int Place(Operand operand, PtxType type)
    {
        switch (operand.Kind)
        {
            case OperandKind.Immediate when type == PtxType.Pred:
                return _file.Truth(operand.Bits != 0);
            case OperandKind.Immediate:
                ulong bits = operand.Bits;
                if (operand.IsFloat64 && type == PtxType.F32)
                    bits = BitConverter.SingleToUInt32Bits((float)BitConverter.UInt64BitsToDouble(bits));
                else if (operand.IsFloat32 && type == PtxType.F64)
                    bits = BitConverter.DoubleToUInt64Bits(BitConverter.UInt32BitsToSingle((uint)bits));
                return _file.Constant(bits, Math.Max(type.Bytes(), 2));
            case OperandKind.Register when _frame.Function.TypeOf(operand.Name) == PtxType.None:
                return _file.SpecialRegister(SpecialNames.TryGetValue(operand.Name, out Special special) ? special
                    : throw Error($"register '{operand.Name}' is not known to the simulator"));
            case OperandKind.Register:
                return RegisterPlace(operand.Name, type);
            case OperandKind.Symbol:
                return _file.Constant(unchecked(SymbolAddress(operand.Name) + (ulong)operand.Offset), Math.Max(type.Bytes(), 4));
            default:
                throw Error($"an operand of kind {operand.Kind} in '{_now.Text}'");
        }
    }

    private ulong SymbolAddress(string name)
    {
        if (_frame.Variables.TryGetValue(name, out ulong address) || _shared.TryGetValue(name, out address) || _globals.TryGetValue(name, out address))
            return address;
        if (_module.Variables.Any(v => v.Name == name && v.IsExtern && v.Space == "shared"))
            return (ulong)_sharedEnd;
        if (_frame.Function.IsEntry && _frame.Function.Parameters.Find(p => p.Name == name) is { } parameter)
            return (ulong)parameter.Offset;
        throw Error($"'{name}' was not declared");
    }

    private static readonly Dictionary<string, Special> SpecialNames = new()
    {
        ["%tid.x"] = Special.TidX,
        ["%tid.y"] = Special.TidY,
        ["%tid.z"] = Special.TidZ,
        ["%ntid.x"] = Special.NtidX,
        ["%ntid.y"] = Special.NtidY,
        ["%ntid.z"] = Special.NtidZ,
        ["%ctaid.x"] = Special.CtaidX,
        ["%ctaid.y"] = Special.CtaidY,
        ["%ctaid.z"] = Special.CtaidZ,
        ["%nctaid.x"] = Special.NctaidX,
        ["%nctaid.y"] = Special.NctaidY,
        ["%nctaid.z"] = Special.NctaidZ,
        ["%laneid"] = Special.LaneId,
        ["%warpid"] = Special.WarpId,
        ["%nwarpid"] = Special.NWarpId,
        ["%smid"] = Special.SmId,
        ["%nsmid"] = Special.NSmId,
        ["%gridid"] = Special.GridId,
        ["%lanemask_eq"] = Special.LaneMaskEq,
        ["%lanemask_lt"] = Special.LaneMaskLt,
        ["%lanemask_le"] = Special.LaneMaskLe,
        ["%lanemask_gt"] = Special.LaneMaskGt,
        ["%lanemask_ge"] = Special.LaneMaskGe,
        ["%dynamic_smem_size"] = Special.DynamicSharedBytes,
        ["%total_smem_size"] = Special.TotalSharedBytes,
    };
}

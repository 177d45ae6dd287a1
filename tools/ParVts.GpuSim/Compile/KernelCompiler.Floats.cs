using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Arithmetic on floats: rounding, flushing and saturation choose among handlers.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private Rounding TakeRounding() => _mods.TakeAny("rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi") switch
    {
        "rz" or "rzi" => Rounding.Zero,
        "rm" or "rmi" => Rounding.Down,
        "rp" or "rpi" => Rounding.Up,
        _ => Rounding.Nearest,
    };

    private bool CompileArithmetic()
    {
        switch (_now.Opcode)
        {
            case "mul24" or "mad24" or "sad":
                Narrow(_mods.TakeType());
                return true;
            case "add" or "sub" or "mul" or "mad" or "fma" or "div" or "rem" or "neg" or "abs" or "min" or "max" or "rcp" or "sqrt" or "rsqrt"
                or "ex2" or "lg2" or "sin" or "cos" or "tanh":
                break;
            default:
                return false;
        }
        PtxType type = _mods.TakeType();
        if (type is PtxType.F16 or PtxType.BF16 or PtxType.F16x2 or PtxType.BF16x2)
        {
            HalfArithmetic(type);
            return true;
        }
        if (!type.IsFloat())
        {
            if (_now.Opcode is "mul" or "mad")
                Multiply(type);
            else
                Operation(IntegerHandler(type), type);
            return true;
        }
        Rounding rounding = TakeRounding();
        bool ftz = _mods.Take("ftz"), sat = _mods.Take("sat"), nan = _mods.Take("NaN");
        _mods.Ignore("approx", "full");
        if (type == PtxType.F64)
        {
            if (rounding != Rounding.Nearest || sat || ftz)
                throw Unknown();
            Operation(Float64Handler(nan), type);
            return true;
        }
        if (type != PtxType.F32 || (sat && ftz))
            throw Unknown();
        Operation(ftz ? FlushingHandler(rounding, nan) : sat ? SaturatingHandler(rounding) : Float32Handler(rounding, nan), type);
        return true;
    }

    /// <summary>D = operation of one, two or three operands of one type.</summary>
    private ref Instr Operation(Handler run, PtxType type)
    {
        int count = _now.Operands.Length;
        int a = Place(1, type), b = count > 2 ? Place(2, type) : 0, c = count > 3 ? Place(3, type) : -1, d = Place(0, type);
        ref Instr i = ref Emit(run);
        (i.D, i.A, i.B, i.C) = (d, a, b, c);
        return ref i;
    }

    private Handler Float64Handler(bool nan) => _now.Opcode switch
    {
        "add" => &Lanes.VectorBinary<double, Add<double>>,
        "sub" => &Lanes.VectorBinary<double, Sub<double>>,
        "mul" => &Lanes.VectorBinary<double, Mul<double>>,
        "fma" or "mad" => &Lanes.Ternary<double, Fma64>,
        "div" => &Lanes.VectorBinary<double, DivFloat<double>>,
        "neg" => &Lanes.VectorUnary<double, Neg<double>>,
        "abs" => &Lanes.VectorUnary<double, AbsFloat<double>>,
        "min" when !nan => &Lanes.VectorBinary<double, MinFloat<double>>,
        "max" when !nan => &Lanes.VectorBinary<double, MaxFloat<double>>,
        "rcp" => &Lanes.VectorUnary<double, Reciprocal<double>>,
        "sqrt" => &Lanes.VectorUnary<double, Sqrt<double>>,
        "rsqrt" => &Lanes.VectorUnary<double, ReciprocalSqrt<double>>,
        _ => throw Unknown(),
    };

    private Handler Float32Handler(Rounding rounding, bool nan)
    {
        switch (_now.Opcode)
        {
            case "add" when rounding == Rounding.Nearest:
                return &Lanes.VectorBinary<float, Add<float>>;
            case "sub" when rounding == Rounding.Nearest:
                return &Lanes.VectorBinary<float, Sub<float>>;
            case "mul" when rounding == Rounding.Nearest:
                return &Lanes.VectorBinary<float, Mul<float>>;
            case "div" when rounding == Rounding.Nearest:
                return &Lanes.VectorBinary<float, DivFloat<float>>;
            case "add":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, AddRounded<ToZero>>,
                    Rounding.Down => &Lanes.Binary<float, AddRounded<Downward>>,
                    Rounding.Up => &Lanes.Binary<float, AddRounded<Upward>>,
                    _ => &Lanes.Binary<float, AddRounded<ToNearest>>,
                };
            case "sub":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, SubRounded<ToZero>>,
                    Rounding.Down => &Lanes.Binary<float, SubRounded<Downward>>,
                    Rounding.Up => &Lanes.Binary<float, SubRounded<Upward>>,
                    _ => &Lanes.Binary<float, SubRounded<ToNearest>>,
                };
            case "mul":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, MulRounded<ToZero>>,
                    Rounding.Down => &Lanes.Binary<float, MulRounded<Downward>>,
                    Rounding.Up => &Lanes.Binary<float, MulRounded<Upward>>,
                    _ => &Lanes.Binary<float, MulRounded<ToNearest>>,
                };
            case "div":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, DivRounded<ToZero>>,
                    Rounding.Down => &Lanes.Binary<float, DivRounded<Downward>>,
                    Rounding.Up => &Lanes.Binary<float, DivRounded<Upward>>,
                    _ => &Lanes.Binary<float, DivRounded<ToNearest>>,
                };
            case "fma" or "mad":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Ternary<float, FmaRounded<ToZero>>,
                    Rounding.Down => &Lanes.Ternary<float, FmaRounded<Downward>>,
                    Rounding.Up => &Lanes.Ternary<float, FmaRounded<Upward>>,
                    _ => &Lanes.VectorTernary<float, FmaNearest>,
                };
            case "sqrt":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Unary<float, SqrtRounded<ToZero>>,
                    Rounding.Down => &Lanes.Unary<float, SqrtRounded<Downward>>,
                    Rounding.Up => &Lanes.Unary<float, SqrtRounded<Upward>>,
                    _ => &Lanes.Unary<float, SqrtRounded<ToNearest>>,
                };
            case "neg" when rounding == Rounding.Nearest:
                return &Lanes.VectorUnary<float, Neg<float>>;
            case "abs" when rounding == Rounding.Nearest:
                return &Lanes.VectorUnary<float, AbsFloat<float>>;
            case "rcp" when rounding == Rounding.Nearest:
                return &Lanes.VectorUnary<float, Reciprocal<float>>;
            case "rsqrt" when rounding == Rounding.Nearest:
                return &Lanes.VectorUnary<float, ReciprocalSqrt<float>>;
            case "ex2" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Exp2>;
            case "lg2" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Log2>;
            case "sin" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Sine>;
            case "cos" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Cosine>;
            case "tanh" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Tanh>;
            case "min":
                return nan ? &Lanes.Binary<float, MinNan<float>> : &Lanes.VectorBinary<float, MinFloat<float>>;
            case "max":
                return nan ? &Lanes.Binary<float, MaxNan<float>> : &Lanes.VectorBinary<float, MaxFloat<float>>;
            default:
                throw Unknown();
        }
    }

    private Handler FlushingHandler(Rounding rounding, bool nan)
    {
        switch (_now.Opcode)
        {
            case "add":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, Ftz2<AddRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Binary<float, Ftz2<AddRounded<Downward>>>,
                    Rounding.Up => &Lanes.Binary<float, Ftz2<AddRounded<Upward>>>,
                    _ => &Lanes.Binary<float, Ftz2<AddRounded<ToNearest>>>,
                };
            case "sub":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, Ftz2<SubRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Binary<float, Ftz2<SubRounded<Downward>>>,
                    Rounding.Up => &Lanes.Binary<float, Ftz2<SubRounded<Upward>>>,
                    _ => &Lanes.Binary<float, Ftz2<SubRounded<ToNearest>>>,
                };
            case "mul":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, Ftz2<MulRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Binary<float, Ftz2<MulRounded<Downward>>>,
                    Rounding.Up => &Lanes.Binary<float, Ftz2<MulRounded<Upward>>>,
                    _ => &Lanes.Binary<float, Ftz2<MulRounded<ToNearest>>>,
                };
            case "div":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Binary<float, Ftz2<DivRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Binary<float, Ftz2<DivRounded<Downward>>>,
                    Rounding.Up => &Lanes.Binary<float, Ftz2<DivRounded<Upward>>>,
                    _ => &Lanes.Binary<float, Ftz2<DivRounded<ToNearest>>>,
                };
            case "fma" or "mad":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Ternary<float, Ftz3<FmaRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Ternary<float, Ftz3<FmaRounded<Downward>>>,
                    Rounding.Up => &Lanes.Ternary<float, Ftz3<FmaRounded<Upward>>>,
                    _ => &Lanes.VectorTernary<float, FmaNearestFtz>,
                };
            case "sqrt":
                return rounding switch
                {
                    Rounding.Zero => &Lanes.Unary<float, Ftz1<SqrtRounded<ToZero>>>,
                    Rounding.Down => &Lanes.Unary<float, Ftz1<SqrtRounded<Downward>>>,
                    Rounding.Up => &Lanes.Unary<float, Ftz1<SqrtRounded<Upward>>>,
                    _ => &Lanes.Unary<float, Ftz1<SqrtRounded<ToNearest>>>,
                };
            case "neg" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Neg<float>>>;
            case "abs" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<AbsFloat<float>>>;
            case "rcp" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Reciprocal<float>>>;
            case "rsqrt" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<ReciprocalSqrt<float>>>;
            case "ex2" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Exp2>>;
            case "lg2" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Log2>>;
            case "sin" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Sine>>;
            case "cos" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Cosine>>;
            case "tanh" when rounding == Rounding.Nearest:
                return &Lanes.Unary<float, Ftz1<Tanh>>;
            case "min":
                return nan ? &Lanes.Binary<float, Ftz2<MinNan<float>>> : &Lanes.Binary<float, Ftz2<MinFloat<float>>>;
            case "max":
                return nan ? &Lanes.Binary<float, Ftz2<MaxNan<float>>> : &Lanes.Binary<float, Ftz2<MaxFloat<float>>>;
            default:
                throw Unknown();
        }
    }

    private Handler SaturatingHandler(Rounding rounding) => (_now.Opcode, rounding) switch
    {
        ("add", Rounding.Nearest) => &Lanes.Binary<float, Sat2<Add<float>>>,
        ("sub", Rounding.Nearest) => &Lanes.Binary<float, Sat2<Sub<float>>>,
        ("mul", Rounding.Nearest) => &Lanes.Binary<float, Sat2<Mul<float>>>,
        ("fma", Rounding.Nearest) => &Lanes.Ternary<float, Sat3<FmaRounded<ToNearest>>>,
        _ => throw Unknown(),
    };
}

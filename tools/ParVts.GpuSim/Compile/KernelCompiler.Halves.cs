using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Arithmetic on f16, bf16 and pairs of them.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private void HalfArithmetic(PtxType type)
    {
        _mods.Ignore("rn");
        bool pair = type is PtxType.F16x2 or PtxType.BF16x2;
        Handler run = _now.Opcode switch
        {
            "add" => &HalfOps.Run<HalfSum>,
            "sub" => &HalfOps.Run<HalfDifference>,
            "mul" => &HalfOps.Run<HalfProduct>,
            "fma" => &HalfOps.Run<HalfFma>,
            "min" => &HalfOps.Run<HalfMin>,
            "max" => &HalfOps.Run<HalfMax>,
            "neg" => &HalfOps.Run<HalfNegation>,
            "abs" => &HalfOps.Run<HalfSize>,
            _ => throw Unknown(),
        };
        ref Instr i = ref Operation(run, pair ? PtxType.B32 : PtxType.B16);
        (i.Count, i.E) = (pair ? 2 : 1, type is PtxType.BF16 or PtxType.BF16x2 ? 1 : 0);
    }
}

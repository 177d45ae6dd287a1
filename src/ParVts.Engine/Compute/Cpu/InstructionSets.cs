using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// What this build of the code uses of the processor: decided by the runtime as it starts or, where the code was compiled ahead of time, then.
/// Any thread.
/// </summary>
public static class InstructionSets
{
    /// <summary>The widest vectors, in bits.</summary>
    public static int VectorBits => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;

    /// <summary>The sets by name: "AVX2", "NEON", …</summary>
    public static IEnumerable<string> Names
    {
        get
        {
            (string Name, bool Supported)[] all =
            [
                ("SSE4.2", Sse42.IsSupported), ("AVX", Avx.IsSupported), ("AVX2", Avx2.IsSupported), ("FMA", Fma.IsSupported),
                ("AVX512F", Avx512F.IsSupported), ("AVX512BW", Avx512BW.IsSupported), ("AVX512DQ", Avx512DQ.IsSupported),
                ("AVX512VBMI", Avx512Vbmi.IsSupported), ("AVX10.1", Avx10v1.IsSupported),
                ("NEON", AdvSimd.IsSupported), ("DOTPROD", Dp.IsSupported),
            ];
            return all.Where(set => set.Supported).Select(set => set.Name);
        }
    }
}

using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using unsafe Handler = delegate*<ParVts.GpuSim.Run.Warp, ParVts.GpuSim.Run.Instr*, void>;

namespace ParVts.GpuSim.Compile;

/// <summary>Which handler loads or stores a type from or to a register of 2, 4 or 8 bytes.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private Handler LoadHandler(PtxType type, int register) => (type, register) switch
    {
        (PtxType.U8 or PtxType.B8, 2) => &LoadStore.Load<byte, ushort>,
        (PtxType.U8 or PtxType.B8, 4) => &LoadStore.Load<byte, uint>,
        (PtxType.U8 or PtxType.B8, 8) => &LoadStore.Load<byte, ulong>,
        (PtxType.S8, 2) => &LoadStore.Load<sbyte, ushort>,
        (PtxType.S8, 4) => &LoadStore.Load<sbyte, uint>,
        (PtxType.S8, 8) => &LoadStore.Load<sbyte, ulong>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 2) => &LoadStore.Load<ushort, ushort>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 4) => &LoadStore.Load<ushort, uint>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 8) => &LoadStore.Load<ushort, ulong>,
        (PtxType.S16, 2) => &LoadStore.Load<short, ushort>,
        (PtxType.S16, 4) => &LoadStore.Load<short, uint>,
        (PtxType.S16, 8) => &LoadStore.Load<short, ulong>,
        (PtxType.U32 or PtxType.B32 or PtxType.F32 or PtxType.F16x2 or PtxType.BF16x2, 4) => &LoadStore.Load<uint, uint>,
        (PtxType.U32 or PtxType.B32 or PtxType.F32 or PtxType.F16x2 or PtxType.BF16x2, 8) => &LoadStore.Load<uint, ulong>,
        (PtxType.S32, 4) => &LoadStore.Load<int, uint>,
        (PtxType.S32, 8) => &LoadStore.Load<int, ulong>,
        (PtxType.U64 or PtxType.B64 or PtxType.F64, 8) => &LoadStore.Load<ulong, ulong>,
        (PtxType.S64, 8) => &LoadStore.Load<long, ulong>,
        _ => throw Unknown(),
    };

    private Handler StoreHandler(PtxType type, int register) => (type, register) switch
    {
        (PtxType.U8 or PtxType.B8, 2) => &LoadStore.Store<byte, ushort>,
        (PtxType.U8 or PtxType.B8, 4) => &LoadStore.Store<byte, uint>,
        (PtxType.U8 or PtxType.B8, 8) => &LoadStore.Store<byte, ulong>,
        (PtxType.S8, 2) => &LoadStore.Store<sbyte, ushort>,
        (PtxType.S8, 4) => &LoadStore.Store<sbyte, uint>,
        (PtxType.S8, 8) => &LoadStore.Store<sbyte, ulong>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 2) => &LoadStore.Store<ushort, ushort>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 4) => &LoadStore.Store<ushort, uint>,
        (PtxType.U16 or PtxType.B16 or PtxType.F16 or PtxType.BF16, 8) => &LoadStore.Store<ushort, ulong>,
        (PtxType.S16, 2) => &LoadStore.Store<short, ushort>,
        (PtxType.S16, 4) => &LoadStore.Store<short, uint>,
        (PtxType.S16, 8) => &LoadStore.Store<short, ulong>,
        (PtxType.U32 or PtxType.B32 or PtxType.F32 or PtxType.F16x2 or PtxType.BF16x2, 4) => &LoadStore.Store<uint, uint>,
        (PtxType.U32 or PtxType.B32 or PtxType.F32 or PtxType.F16x2 or PtxType.BF16x2, 8) => &LoadStore.Store<uint, ulong>,
        (PtxType.S32, 4) => &LoadStore.Store<int, uint>,
        (PtxType.S32, 8) => &LoadStore.Store<int, ulong>,
        (PtxType.U64 or PtxType.B64 or PtxType.F64, 8) => &LoadStore.Store<ulong, ulong>,
        (PtxType.S64, 8) => &LoadStore.Store<long, ulong>,
        _ => throw Unknown(),
    };
}

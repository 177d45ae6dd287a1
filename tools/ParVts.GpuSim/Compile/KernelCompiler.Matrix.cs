using ParVts.GpuSim.Ops;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Compile;

/// <summary>Tensor cores: ldmatrix and mma.sync.</summary>
internal sealed unsafe partial class KernelCompiler
{
    private bool CompileMatrix()
    {
        switch (_now.Opcode)
        {
            case "ldmatrix":
                LoadMatrix();
                return true;
            case "mma":
                Multiply();
                return true;
            default:
                return false;
        }
    }

    private void LoadMatrix()
    {
        _mods.Ignore("sync", "aligned", "m8n8", "b16");
        Space space = TakeSpace();
        int count = _mods.TakeAny("x1", "x2", "x4") switch { "x1" => 1, "x2" => 2, "x4" => 4, _ => throw Unknown() };
        bool transposed = _mods.Take("trans");
        Note(space, 16);
        int[] places = [.. _now.Operands[0].Parts.Select(p => Place(p, PtxType.B32))];
        (int at, bool narrow) = AddressPlace(_now.Operands[1]);
        ref Instr i = ref Emit(&MatrixOps.Load);
        (i.A, i.NarrowAddress, i.Imm, i.Space, i.Count, i.E) = (at, narrow, _now.Operands[1].Offset, space, count, transposed ? 1 : 0);
        for (int n = 0; n < places.Length; n++)
            i.V[n] = places[n];
    }

    /// <summary>mma.sync.aligned.m16n8k{8,16}.row.col.f32.{f16,bf16}.{f16,bf16}.f32.</summary>
    private void Multiply()
    {
        _mods.Ignore("sync", "aligned", "row", "col");
        int depth = _mods.TakeAny("m16n8k8", "m16n8k16") switch { "m16n8k8" => 8, "m16n8k16" => 16, _ => throw Unknown() };
        PtxType d = _mods.TakeType(), a = _mods.TakeType(), b = _mods.TakeType(), c = _mods.TakeType();
        if (d != PtxType.F32 || c != PtxType.F32 || a != b || a is not (PtxType.F16 or PtxType.BF16))
            throw Unknown();
        int[] places =
        [
            .. Places(0, PtxType.F32, 4),
            .. Places(1, PtxType.B32, depth / 4),
            .. Places(2, PtxType.B32, depth / 8),
            .. Places(3, PtxType.F32, 4),
        ];
        ref Instr i = ref Emit(&MatrixOps.Multiply);
        (i.Count, i.E) = (depth, a == PtxType.BF16 ? 1 : 0);
        for (int n = 0; n < places.Length; n++)
            i.V[n] = places[n];
    }

    private int[] Places(int operand, PtxType type, int count)
    {
        int[] places = [.. _now.Operands[operand].Parts.Select(p => Place(p, type))];
        return places.Length == count ? places : throw Error($"'{_now.Text}' with {places.Length} registers where {count} belong");
    }
}

using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>ldmatrix and mma.sync, with the fragments as the PTX ISA manual lays them out.</summary>
internal static unsafe class MatrixOps
{
    /// <summary>
    /// ldmatrix: matrix n is eight rows of eight 16-bit elements, whose addresses lanes 8n to 8n+7 give. Lane l receives, of each matrix, elements
    /// 2(l mod 4) and 2(l mod 4)+1 of row l/4; transposed: of column l/4.
    /// </summary>
    public static void Load(Warp w, Instr* i)
    {
        WarpOps.CheckFull(w);
        ushort* matrix = stackalloc ushort[64];
        uint* results = stackalloc uint[4 * 32];
        for (int n = 0; n < i->Count; n++)
        {
            for (int row = 0; row < 8; row++)
            {
                int lane = (8 * n) + row;
                ulong address = LoadStore.Address(w, i, lane);
                Place place = MemoryAccess.Locate(w, i, lane, address, 16, write: false);
                MemoryAccess.CheckWritten(lane, address, place, 16);
                MemoryAccess.Touch(w, lane, address, place, 16, write: false, atomic: false, sameValue: false);
                Buffer.MemoryCopy(place.Data, matrix + (8 * row), 16, 16);
            }
            for (int lane = 0; lane < 32; lane++)
            {
                int line = lane / 4, first = 2 * (lane % 4);
                uint low = i->E != 0 ? matrix[(8 * first) + line] : matrix[(8 * line) + first];
                uint high = i->E != 0 ? matrix[(8 * (first + 1)) + line] : matrix[(8 * line) + first + 1];
                results[(32 * n) + lane] = low | (high << 16);
            }
        }
        // Addresses may lie in a register that is also a result: nothing is written before all is read.
        for (int n = 0; n < i->Count; n++)
            Buffer.MemoryCopy(results + (32 * n), w.Registers + i->V[n], 128, 128);
    }

    /// <summary>
    /// mma.sync m16n8k8 and m16n8k16, D = A·B + C with C and D float32. With g = lane/4 and t = lane mod 4 a lane holds, pair by pair:
    /// of A (16×k, rows) (g, 2t), (g+8, 2t), and for k = 16 (g, 2t+8), (g+8, 2t+8), each with the element to its right;
    /// of B (k×8, columns) (2t, g), and for k = 16 (2t+8, g), each with the element below;
    /// of C and D (16×8) (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1).
    /// Sums are taken in float64 and rounded once: the hardware's order and its cuts are not documented.
    /// </summary>
    public static void Multiply(Warp w, Instr* i)
    {
        WarpOps.CheckFull(w);
        int depth = i->Count, aRegisters = depth / 4, bRegisters = depth / 8;
        bool bfloat = i->E != 0;
        float* a = stackalloc float[16 * 16];
        float* b = stackalloc float[8 * 16];
        for (int lane = 0; lane < 32; lane++)
        {
            int g = lane / 4, t = lane % 4;
            for (int n = 0; n < aRegisters; n++)
            {
                uint pair = ((uint*)(w.Registers + i->V[4 + n]))[lane];
                float* to = a + (16 * (g + (8 * (n % 2)))) + (2 * t) + (8 * (n / 2));
                to[0] = Convert.HalfToFloat((ushort)pair, bfloat);
                to[1] = Convert.HalfToFloat((ushort)(pair >> 16), bfloat);
            }
            for (int n = 0; n < bRegisters; n++)
            {
                uint pair = ((uint*)(w.Registers + i->V[4 + aRegisters + n]))[lane];
                float* to = b + (16 * g) + (2 * t) + (8 * n);
                to[0] = Convert.HalfToFloat((ushort)pair, bfloat);
                to[1] = Convert.HalfToFloat((ushort)(pair >> 16), bfloat);
            }
        }
        int cFirst = 4 + aRegisters + bRegisters;
        for (int lane = 0; lane < 32; lane++)
        {
            for (int n = 0; n < 4; n++)
            {
                float* row = a + (16 * ((lane / 4) + (8 * (n / 2))));
                float* column = b + (16 * ((2 * (lane % 4)) + (n % 2)));
                double sum = ((float*)(w.Registers + i->V[cFirst + n]))[lane];
                for (int k = 0; k < depth; k++)
                    sum += (double)row[k] * column[k];
                ((float*)(w.Registers + i->V[n]))[lane] = (float)sum;
            }
        }
    }
}

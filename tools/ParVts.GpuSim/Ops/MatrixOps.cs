using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>ldmatrix and mma.sync, with the fragments as the PTX ISA manual lays them out.</summary>
internal static unsafe class MatrixOps
{
    /// <summary>
    /// ldmatrix: matrix n is eight rows of eight 16-bit elements, whose addresses lanes 8n to 8n+7 give. Lane l receives, of each matrix, elements
    /// 2(l mod 4) and 2(l mod 4)+1 of row l/4; transposed: of column l/4.
    /// </summary>
    [SkipLocalsInit]
    public static void Load(Warp w, Instr* i)
    {
        WarpOps.CheckFull(w);
        uint lanes = i->Count == 4 ? uint.MaxValue : (1u << (8 * i->Count)) - 1;
        // Four matrices of eight rows of 16 bytes: a row after the other is what the lanes receive, four bytes each.
        byte* rows = stackalloc byte[4 * 128];
        if (WarpAccess.TryLocate(w, i, w.Addresses, lanes, (i->A, i->NarrowAddress, i->Imm), i->Space, 16, write: false, out WarpAccess access)
            && access.IsWritten() && access.Touch(write: false))
        {
            access.Count(i, write: false);
            for (int lane = 0; lane < 8 * i->Count; lane++)
                Vector128.Load(access.Lane(lane)).Store(rows + (16 * lane));
        }
        else
        {
            for (int lane = 0; lane < 8 * i->Count; lane++)
            {
                ulong address = w.Addresses[lane] = LoadStore.Address(w, i, lane);
                Place place = MemoryAccess.Locate(w, i, lane, address, 16, write: false);
                MemoryAccess.CheckWritten(lane, address, place, 16);
                MemoryAccess.Touch(w, lane, address, place, 16, write: false, atomic: false, sameValue: false);
                Buffer.MemoryCopy(place.Data, rows + (16 * lane), 16, 16);
            }
            MemoryAccess.Count(w, i, w.Addresses, lanes, 16, write: false);
        }
        // Addresses may lie in a register that is also a result: nothing is written before all is read.
        for (int n = 0; n < i->Count; n++)
        {
            byte* to = w.Registers + i->V[n];
            if (i->E != 0)
                Transpose((ushort*)(rows + (128 * n)), (ushort*)to);
            else
                Buffer.MemoryCopy(rows + (128 * n), to, 128, 128);
        }
    }

    /// <summary>
    /// mma.sync m16n8k8 and m16n8k16, D = A·B + C with C and D float32. With g = lane/4 and t = lane mod 4 a lane holds, pair by pair:
    /// of A (16×k, rows) (g, 2t), (g+8, 2t), and for k = 16 (g, 2t+8), (g+8, 2t+8), each with the element to its right;
    /// of B (k×8, columns) (2t, g), and for k = 16 (2t+8, g), each with the element below;
    /// of C and D (16×8) (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1).
    /// Sums are taken in float64, where products are exact, and rounded once: the hardware's order and its cuts are not documented.
    /// </summary>
    [SkipLocalsInit]
    public static void Multiply(Warp w, Instr* i)
    {
        WarpOps.CheckFull(w);
        int depth = i->Count, aRegisters = depth / 4, bRegisters = depth / 8;
        bool bfloat = i->E != 0;
        double* a = stackalloc double[16 * 16];
        double* columns = stackalloc double[8 * 16];
        double* b = stackalloc double[16 * 8];
        double* c = stackalloc double[16 * 8];
        for (int n = 0; n < aRegisters; n++)
            Spread((uint*)(w.Registers + i->V[4 + n]), bfloat, a + (128 * (n % 2)) + (8 * (n / 2)), 16);
        for (int n = 0; n < bRegisters; n++)
            Spread((uint*)(w.Registers + i->V[4 + aRegisters + n]), bfloat, columns + (8 * n), 16);
        for (int column = 0; column < 8; column++)
        {
            for (int k = 0; k < depth; k++)
                b[(8 * k) + column] = columns[(16 * column) + k];
        }
        int sums = 4 + aRegisters + bRegisters;
        for (int half = 0; half < 2; half++)
            SpreadSums((float*)(w.Registers + i->V[sums + (2 * half)]), (float*)(w.Registers + i->V[sums + (2 * half) + 1]), c + (64 * half));
        for (int row = 0; row < 16; row += 4)
            MultiplyRows(a + (16 * row), b, c + (8 * row), depth);
        for (int half = 0; half < 2; half++)
            GatherSums(c + (64 * half), (float*)(w.Registers + i->V[2 * half]), (float*)(w.Registers + i->V[(2 * half) + 1]));
    }

    /// <summary>Four rows of eight sums.</summary>
    private static void MultiplyRows(double* a, double* b, double* c, int depth)
    {
        Vector256<double> c00 = Vector256.Load(c), c01 = Vector256.Load(c + 4), c10 = Vector256.Load(c + 8), c11 = Vector256.Load(c + 12);
        Vector256<double> c20 = Vector256.Load(c + 16), c21 = Vector256.Load(c + 20), c30 = Vector256.Load(c + 24), c31 = Vector256.Load(c + 28);
        for (int k = 0; k < depth; k++)
        {
            Vector256<double> b0 = Vector256.Load(b + (8 * k)), b1 = Vector256.Load(b + (8 * k) + 4);
            Vector256<double> a0 = Vector256.Create(a[k]), a1 = Vector256.Create(a[16 + k]), a2 = Vector256.Create(a[32 + k]), a3 = Vector256.Create(a[48 + k]);
            c00 = Vector256.MultiplyAddEstimate(a0, b0, c00);
            c01 = Vector256.MultiplyAddEstimate(a0, b1, c01);
            c10 = Vector256.MultiplyAddEstimate(a1, b0, c10);
            c11 = Vector256.MultiplyAddEstimate(a1, b1, c11);
            c20 = Vector256.MultiplyAddEstimate(a2, b0, c20);
            c21 = Vector256.MultiplyAddEstimate(a2, b1, c21);
            c30 = Vector256.MultiplyAddEstimate(a3, b0, c30);
            c31 = Vector256.MultiplyAddEstimate(a3, b1, c31);
        }
        c00.Store(c);
        c01.Store(c + 4);
        c10.Store(c + 8);
        c11.Store(c + 12);
        c20.Store(c + 16);
        c21.Store(c + 20);
        c30.Store(c + 24);
        c31.Store(c + 28);
    }

    /// <summary>Pairs of 16-bit floats to a matrix of eight rows of eight: lane 4g + t has elements 2t and 2t + 1 of row g.</summary>
    private static void Spread(uint* pairs, bool bfloat, double* to, int stride)
    {
        for (int row = 0; row < 8; row += 2)
        {
            Vector256<uint> pair = Vector256.Load(pairs + (4 * row));
            Vector256<float> left = Halves.ToSingle(pair & Vector256.Create(0xFFFFu), bfloat), right = Halves.ToSingle(pair >> 16, bfloat);
            Interleave(left, right, to + (row * stride), stride);
        }
    }

    private static void SpreadSums(float* left, float* right, double* to)
    {
        for (int row = 0; row < 8; row += 2)
            Interleave(Vector256.Load(left + (4 * row)), Vector256.Load(right + (4 * row)), to + (8 * row), 8);
    }

    /// <summary>Two rows of eight from their even and odd elements.</summary>
    private static void Interleave(Vector256<float> left, Vector256<float> right, double* to, int stride)
    {
        Vector256<double> l0 = Vector256.WidenLower(left), l1 = Vector256.WidenUpper(left), r0 = Vector256.WidenLower(right), r1 = Vector256.WidenUpper(right);
        Store(l0, r0, to);
        Store(l1, r1, to + stride);
    }

    private static void Store(Vector256<double> even, Vector256<double> odd, double* to)
    {
        // Elements 0 and 2 of each, then 1 and 3: pairs of neighbours within each half.
        Vector256<double> low = Vector256.Shuffle(even, Vector256.Create(0L, 0, 1, 1)), lowOdd = Vector256.Shuffle(odd, Vector256.Create(0L, 0, 1, 1));
        Vector256<double> high = Vector256.Shuffle(even, Vector256.Create(2L, 2, 3, 3)), highOdd = Vector256.Shuffle(odd, Vector256.Create(2L, 2, 3, 3));
        Vector256<double> second = Vector256.Create(0L, -1, 0, -1).AsDouble();
        Vector256.ConditionalSelect(second, lowOdd, low).Store(to);
        Vector256.ConditionalSelect(second, highOdd, high).Store(to + 4);
    }

    private static void GatherSums(double* from, float* left, float* right)
    {
        for (int lane = 0; lane < 32; lane++)
        {
            left[lane] = (float)from[2 * lane];
            right[lane] = (float)from[(2 * lane) + 1];
        }
    }

    private static void Transpose(ushort* from, ushort* to)
    {
        for (int row = 0; row < 8; row++)
        {
            for (int column = 0; column < 8; column++)
                to[(8 * row) + column] = from[(8 * column) + row];
        }
    }
}

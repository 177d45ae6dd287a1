using System.Numerics;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>Shifts, whose amount is a 32-bit register of its own and is held to the width; bit fields, counts and permutations.</summary>
internal static unsafe class BitOps
{
    public static void ShiftLeft<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A);
        uint* b = (uint*)(w.Registers + i->B);
        // The vector shift, too, gives zeros beyond the width.
        if (sizeof(T) == 4 && Avx2.IsSupported)
        {
            for (int lane = 0; lane < 32; lane += 8)
                Lanes.Keep(w, lane, Avx2.ShiftLeftLogicalVariable(Vector256.Load((uint*)a + lane), Vector256.Load(b + lane)), (uint*)d);
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = b[lane] >= 8 * sizeof(T) ? T.Zero : a[lane] << (int)b[lane];
        }
    }

    public static void ShiftRight<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A);
        uint* b = (uint*)(w.Registers + i->B);
        if (sizeof(T) == 4 && Avx2.IsSupported)
        {
            for (int lane = 0; lane < 32; lane += 8)
            {
                Vector256<uint> amount = Vector256.Load(b + lane);
                Lanes.Keep(w, lane, typeof(T) == typeof(int)
                    ? Avx2.ShiftRightArithmeticVariable(Vector256.Load((int*)a + lane), amount).AsUInt32()
                    : Avx2.ShiftRightLogicalVariable(Vector256.Load((uint*)a + lane), amount), (uint*)d);
            }
            return;
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = b[lane] < 8 * sizeof(T) ? a[lane] >> (int)b[lane] : T.IsNegative(a[lane]) ? ~T.Zero : T.Zero;
        }
    }

    /// <summary>shf: bits of the pair (B high, A low); Imm bit 0: right, bit 1: the amount wraps instead of being held to 32.</summary>
    public static void Funnel(Warp w, Instr* i)
    {
        uint* d = (uint*)(w.Registers + i->D), a = (uint*)(w.Registers + i->A), b = (uint*)(w.Registers + i->B), c = (uint*)(w.Registers + i->C);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int n = (int)((i->Imm & 2) != 0 ? c[lane] & 31 : Math.Min(c[lane], 32));
            ulong pair = ((ulong)b[lane] << 32) | a[lane];
            d[lane] = (i->Imm & 1) != 0 ? (uint)(pair >> n) : (uint)(n == 32 ? pair << 32 >> 32 : pair << n >> 32);
        }
    }

    /// <summary>popc, clz (Imm 0, 1): the result is 32 bits whatever the operand.</summary>
    public static void Count<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        uint* d = (uint*)(w.Registers + i->D);
        T* a = (T*)(w.Registers + i->A);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            d[lane] = uint.CreateTruncating(i->Imm == 0 ? T.PopCount(a[lane]) : T.LeadingZeroCount(a[lane]));
        }
    }

    /// <summary>bfind: the place of the highest bit that differs from the sign, or all ones; Imm 1: as a shift amount.</summary>
    public static void FindHighest<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        uint* d = (uint*)(w.Registers + i->D);
        T* a = (T*)(w.Registers + i->A);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            T value = T.IsNegative(a[lane]) ? ~a[lane] : a[lane];
            int zeros = int.CreateTruncating(T.LeadingZeroCount(value)), bits = 8 * sizeof(T);
            d[lane] = zeros == bits ? uint.MaxValue : (uint)(i->Imm != 0 ? zeros : bits - 1 - zeros);
        }
    }

    public static void Extract<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A);
        uint* b = (uint*)(w.Registers + i->B), c = (uint*)(w.Registers + i->C);
        int bits = 8 * sizeof(T);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int start = (int)(b[lane] & 255), length = (int)(c[lane] & 255);
            // Bits beyond the top are copies of the sign bit, which for signed types is the field's own highest one.
            T value = start >= bits ? (T.IsNegative(a[lane]) ? ~T.Zero : T.Zero) : a[lane] >> start;
            if (length == 0)
                value = T.Zero;
            else if (length < bits)
                value = value << (bits - length) >> (bits - length);
            d[lane] = value;
        }
    }

    /// <summary>bfi: the low bits of A into B at C, as many as D's fourth operand <see cref="Instr.E"/> says.</summary>
    public static void Insert<T>(Warp w, Instr* i)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* d = (T*)(w.Registers + i->D), a = (T*)(w.Registers + i->A), b = (T*)(w.Registers + i->B);
        uint* c = (uint*)(w.Registers + i->C), e = (uint*)(w.Registers + i->E);
        int bits = 8 * sizeof(T);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            int start = (int)(c[lane] & 255), length = (int)(e[lane] & 255);
            T field = start >= bits || length == 0 ? T.Zero : (length >= bits ? ~T.Zero : (T.One << length) - T.One) << start;
            d[lane] = (b[lane] & ~field) | ((start >= bits ? T.Zero : a[lane] << start) & field);
        }
    }

    /// <summary>prmt: each byte of the result is one of the eight of the pair (B, A), or its sign.</summary>
    public static void Permute(Warp w, Instr* i)
    {
        uint* d = (uint*)(w.Registers + i->D), a = (uint*)(w.Registers + i->A), b = (uint*)(w.Registers + i->B), c = (uint*)(w.Registers + i->C);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong pair = ((ulong)b[lane] << 32) | a[lane];
            uint result = 0;
            for (int n = 0; n < 4; n++)
            {
                uint selector = c[lane] >> (4 * n) & 15;
                uint value = (uint)(pair >> (int)(8 * (selector & 7))) & 255;
                if ((selector & 8) != 0)
                    value = (value & 128) != 0 ? 255u : 0u;
                result |= value << (8 * n);
            }
            d[lane] = result;
        }
    }
}

internal readonly struct Reverse32 : IUnary<uint>
{
    public static uint Apply(uint a)
    {
        a = (a >> 1 & 0x55555555) | (a & 0x55555555) << 1;
        a = (a >> 2 & 0x33333333) | (a & 0x33333333) << 2;
        a = (a >> 4 & 0x0F0F0F0F) | (a & 0x0F0F0F0F) << 4;
        return System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a);
    }
}

internal readonly struct Reverse64 : IUnary<ulong>
{
    public static ulong Apply(ulong a) => ((ulong)Reverse32.Apply((uint)a) << 32) | Reverse32.Apply((uint)(a >> 32));
}

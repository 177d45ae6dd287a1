using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Turns matrices into the panels that the micro kernels read: for a block of the inner dimension, the elements of
/// <c>width</c> neighbouring rows lie together, [k][width]. Rows beyond the matrix are zero.
/// </summary>
internal static unsafe class Packing
{
    /// <summary>Packs rows [row, row + width) of a float32 matrix over the inner elements [k0, k0 + k).</summary>
    public static void PackFloats(float* matrix, nint stride, int rows, int row, int width, int k0, int k, float* panel)
    {
        for (int r = 0; r < width; r += 8)
        {
            int present = Math.Clamp(rows - row - r, 0, Math.Min(8, width - r));
            PackColumn(matrix + (row + r) * stride + k0, stride, present, Math.Min(8, width - r), k, panel + r, width);
        }
    }

    /// <summary>Packs rows of a stored matrix, widening them; <paramref name="scratch"/> holds 8·k floats.</summary>
    public static void PackWeights(
        in Tensor weight, int row, int width, int k0, int k, float* panel, float* scratch)
    {
        for (int r = 0; r < width; r += 8)
        {
            int present = Math.Clamp(weight.Rows - row - r, 0, 8);
            byte* source = (byte*)weight.Address + ((long)(row + r) * weight.Stride + k0) * weight.ElementBytes;
            if (weight.Type == TensorType.F32)
            {
                PackColumn((float*)source, weight.Stride, present, 8, k, panel + r, width);
                continue;
            }

            for (int i = 0; i < present; i++)
                Widen(source + (long)i * weight.Stride * weight.ElementBytes, weight.Type, k, scratch + i * k);
            PackColumn(scratch, k, present, 8, k, panel + r, width);
        }
    }

    /// <summary>Widens <paramref name="count"/> stored elements to float32; exact for BF16 and F16.</summary>
    public static void Widen(byte* source, TensorType type, int count, float* destination)
    {
        if (type == TensorType.F16)
        {
            TensorPrimitives.ConvertToSingle(
                new ReadOnlySpan<Half>(source, count), MemoryMarshal.CreateSpan(ref *destination, count));
            return;
        }

        int i = 0;
        for (; i <= count - 16; i += 16)
        {
            Vector256<ushort> bits = Vector256.Load((ushort*)source + i);
            (Vector256.WidenLower(bits) << 16).AsSingle().Store(destination + i);
            (Vector256.WidenUpper(bits) << 16).AsSingle().Store(destination + i + 8);
        }

        for (; i < count; i++)
            destination[i] = Rows.Widen(source, type, i);
    }

    // Writes rows 0 … height − 1 (height ≤ 8) as one column of a panel whose rows are width elements.
    private static void PackColumn(float* source, nint stride, int present, int height, int k, float* panel, int width)
    {
        int i = 0;
        if (Avx.IsSupported && present == 8)
        {
            for (; i <= k - 8; i += 8)
                Transpose8x8(source + i, stride, panel + (long)i * width, width);
        }

        for (; i < k; i++)
        {
            float* destination = panel + (long)i * width;
            int r = 0;
            for (; r < present; r++)
                destination[r] = source[r * stride + i];
            for (; r < height; r++)
                destination[r] = 0f;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose8x8(float* source, nint stride, float* destination, nint width)
    {
        Vector256<float> r0 = Vector256.Load(source);
        Vector256<float> r1 = Vector256.Load(source + stride);
        Vector256<float> r2 = Vector256.Load(source + 2 * stride);
        Vector256<float> r3 = Vector256.Load(source + 3 * stride);
        Vector256<float> r4 = Vector256.Load(source + 4 * stride);
        Vector256<float> r5 = Vector256.Load(source + 5 * stride);
        Vector256<float> r6 = Vector256.Load(source + 6 * stride);
        Vector256<float> r7 = Vector256.Load(source + 7 * stride);
        Vector256<float> t0 = Avx.UnpackLow(r0, r1);
        Vector256<float> t1 = Avx.UnpackHigh(r0, r1);
        Vector256<float> t2 = Avx.UnpackLow(r2, r3);
        Vector256<float> t3 = Avx.UnpackHigh(r2, r3);
        Vector256<float> t4 = Avx.UnpackLow(r4, r5);
        Vector256<float> t5 = Avx.UnpackHigh(r4, r5);
        Vector256<float> t6 = Avx.UnpackLow(r6, r7);
        Vector256<float> t7 = Avx.UnpackHigh(r6, r7);
        r0 = Avx.Shuffle(t0, t2, 0x44);
        r1 = Avx.Shuffle(t0, t2, 0xEE);
        r2 = Avx.Shuffle(t1, t3, 0x44);
        r3 = Avx.Shuffle(t1, t3, 0xEE);
        r4 = Avx.Shuffle(t4, t6, 0x44);
        r5 = Avx.Shuffle(t4, t6, 0xEE);
        r6 = Avx.Shuffle(t5, t7, 0x44);
        r7 = Avx.Shuffle(t5, t7, 0xEE);
        Avx.Permute2x128(r0, r4, 0x20).Store(destination);
        Avx.Permute2x128(r1, r5, 0x20).Store(destination + width);
        Avx.Permute2x128(r2, r6, 0x20).Store(destination + 2 * width);
        Avx.Permute2x128(r3, r7, 0x20).Store(destination + 3 * width);
        Avx.Permute2x128(r0, r4, 0x31).Store(destination + 4 * width);
        Avx.Permute2x128(r1, r5, 0x31).Store(destination + 5 * width);
        Avx.Permute2x128(r2, r6, 0x31).Store(destination + 6 * width);
        Avx.Permute2x128(r3, r7, 0x31).Store(destination + 7 * width);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Operations that work row by row and need little arithmetic: embedding, norms, patches.</summary>
internal static unsafe class Rows
{
    /// <summary>output[i] (+)= table[ids[i]], widened.</summary>
    public static void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            int id = ids.Integers[row];
            if ((uint)id >= (uint)table.Rows)
                throw new ArgumentException($"token id {id} is outside the table of {table.Rows} rows");
            byte* source = (byte*)table.Address + (long)id * table.Stride * table.ElementBytes;
            float* destination = output.Floats + (long)row * output.Stride;
            if (accumulate)
            {
                for (int i = 0; i < output.Columns; i++)
                    destination[i] += Widen(source, table.Type, i);
            }
            else
            {
                for (int i = 0; i < output.Columns; i++)
                    destination[i] = Widen(source, table.Type, i);
            }
        }
    }

    /// <summary>One element of a stored row as float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Widen(byte* row, TensorType type, int index) => type switch
    {
        TensorType.F32 => Unsafe.ReadUnaligned<float>(row + 4L * index),
        TensorType.BF16 => BitConverter.Int32BitsToSingle(Unsafe.ReadUnaligned<ushort>(row + 2L * index) << 16),
        _ => (float)Unsafe.ReadUnaligned<Half>(row + 2L * index),
    };

    /// <summary>Rows [from, to) of an RMS norm.</summary>
    public static void RmsNorm(in Tensor x, float* weight, float epsilon, in Tensor output, int from, int to)
    {
        int columns = x.Columns;
        for (int row = from; row < to; row++)
        {
            float* source = x.Floats + (long)row * x.Stride;
            float* destination = output.Floats + (long)row * output.Stride;
            float scale = 1f / MathF.Sqrt(SumOfSquares(source, columns, 0f) / columns + epsilon);
            int i = 0;
            for (; i <= columns - 8; i += 8)
                (Vector256.Load(source + i) * Vector256.Create(scale) * Vector256.Load(weight + i)).Store(destination + i);
            for (; i < columns; i++)
                destination[i] = source[i] * scale * weight[i];
        }
    }

    /// <summary>Rows [from, to) of a layer norm.</summary>
    public static void LayerNorm(
        in Tensor x, float* weight, float* bias, float epsilon, in Tensor output, int from, int to)
    {
        int columns = x.Columns;
        for (int row = from; row < to; row++)
        {
            float* source = x.Floats + (long)row * x.Stride;
            float* destination = output.Floats + (long)row * output.Stride;
            float mean = Sum(source, columns) / columns;
            float scale = 1f / MathF.Sqrt(SumOfSquares(source, columns, mean) / columns + epsilon);
            int i = 0;
            for (; i <= columns - 8; i += 8)
            {
                Vector256<float> normal = (Vector256.Load(source + i) - Vector256.Create(mean)) * Vector256.Create(scale);
                Vector256.FusedMultiplyAdd(normal, Vector256.Load(weight + i), Vector256.Load(bias + i)).Store(destination + i);
            }

            for (; i < columns; i++)
                destination[i] = (source[i] - mean) * scale * weight[i] + bias[i];
        }
    }

    /// <summary>Patch rows in raster order, each channel by channel.</summary>
    public static void Patchify(in Tensor pixels, int patch, in Tensor output)
    {
        int height = pixels.Rows / 3;
        int across = pixels.Columns / patch;
        for (int row = 0; row < output.Rows; row++)
        {
            float* destination = output.Floats + (long)row * output.Stride;
            int top = row / across * patch;
            int left = row % across * patch;
            for (int channel = 0; channel < 3; channel++)
            {
                for (int y = 0; y < patch; y++)
                {
                    float* source = pixels.Floats + (long)(channel * height + top + y) * pixels.Stride + left;
                    new ReadOnlySpan<float>(source, patch).CopyTo(new Span<float>(destination, patch));
                    destination += patch;
                }
            }
        }
    }

    private static float Sum(float* x, int count)
    {
        Vector256<float> sum = default;
        int i = 0;
        for (; i <= count - 8; i += 8)
            sum += Vector256.Load(x + i);
        float total = SimdMath.Sum(sum);
        for (; i < count; i++)
            total += x[i];
        return total;
    }

    private static float SumOfSquares(float* x, int count, float mean)
    {
        Vector256<float> sum = default;
        int i = 0;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> value = Vector256.Load(x + i) - Vector256.Create(mean);
            sum = Vector256.FusedMultiplyAdd(value, value, sum);
        }

        float total = SimdMath.Sum(sum);
        for (; i < count; i++)
            total += (x[i] - mean) * (x[i] - mean);
        return total;
    }
}

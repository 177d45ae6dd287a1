using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>Stored rows in the 16-bit type that a GPU multiplies.</summary>
internal static unsafe class Narrowing
{
    /// <summary>One row, rounded to nearest, ties to even; what is behind its columns becomes zero.</summary>
    /// <param name="row">[1, columns] in host memory, F32, BF16 or F16; not necessarily aligned.</param>
    /// <param name="type">BF16 or F16.</param>
    /// <param name="output">At least as many elements.</param>
    public static void Row(in Tensor row, TensorType type, Span<ushort> output)
    {
        output[row.Columns..].Clear();
        if (row.Type == type)
        {
            new ReadOnlySpan<ushort>((void*)row.Address, row.Columns).CopyTo(output);
            return;
        }

        for (int i = 0; i < row.Columns; i++)
        {
            float value = row.Type switch
            {
                TensorType.F32 => ((float*)row.Address)[i],
                TensorType.F16 => (float)((Half*)row.Address)[i],
                _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)row.Address)[i] << 16),
            };
            output[i] = type == TensorType.F16 ? BitConverter.HalfToUInt16Bits((Half)value) : ToBFloat16(value);
        }
    }

    /// <summary>The nearest bfloat16, ties to even; not-a-number stays one.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
            return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}

using System.Runtime.CompilerServices;

namespace ParVts.Engine.Formats;

/// <summary>Widens stored tensors to float32, element by element: for tests, dumps and comparisons, not for the hot path. Any thread.</summary>
public static unsafe class TensorConvert
{
    /// <summary>The number of elements.</summary>
    public static long ElementCount(this StoredTensor tensor)
    {
        long count = 1;
        foreach (long extent in tensor.Shape)
            count *= extent;
        return count;
    }

    /// <summary>All elements as float32, rounded to nearest where the type is wider.</summary>
    /// <exception cref="ModelFormatException">The type is not a plain number (4-, 6- and 8-bit floats, complex), or there are more elements than an array can hold.</exception>
    public static float[] ToFloats(this StoredTensor tensor)
    {
        float[] result = new float[ArrayLength(tensor)];
        CopyTo(tensor, result);
        return result;
    }

    /// <summary>All elements as float64: exact for every type but 64-bit integers.</summary>
    /// <exception cref="ModelFormatException">As for <see cref="ToFloats"/>.</exception>
    public static double[] ToDoubles(this StoredTensor tensor)
    {
        double[] result = new double[ArrayLength(tensor)];
        for (int i = 0; i < result.Length; i++)
            result[i] = Element(tensor, i);
        return result;
    }

    /// <summary>All elements as 64-bit integers.</summary>
    /// <exception cref="ModelFormatException">The type is not an integer type or boolean, or there are more elements than an array can hold.</exception>
    public static long[] ToIntegers(this StoredTensor tensor)
    {
        byte* p = (byte*)tensor.Address;
        long[] result = new long[ArrayLength(tensor)];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = tensor.Type switch
            {
                TensorType.Bool or TensorType.U8 => p[i],
                TensorType.I8 => (sbyte)p[i],
                TensorType.I16 => At<short>(p, i),
                TensorType.U16 => At<ushort>(p, i),
                TensorType.I32 => At<int>(p, i),
                TensorType.U32 => At<uint>(p, i),
                TensorType.I64 => At<long>(p, i),
                TensorType.U64 => unchecked((long)At<ulong>(p, i)),
                _ => throw new ModelFormatException(tensor.File, tensor.Name, $"{tensor.Type.Name()} is not an integer type"),
            };
        }

        return result;
    }

    /// <summary>All elements as float32 into <paramref name="destination"/>, which must have exactly their number.</summary>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ModelFormatException">As for <see cref="ToFloats"/>.</exception>
    public static void CopyTo(this StoredTensor tensor, Span<float> destination)
    {
        if (destination.Length != tensor.ElementCount())
            throw new ArgumentException($"'{tensor.Name}' has {tensor.ElementCount()} elements, the destination {destination.Length}.", nameof(destination));
        for (int i = 0; i < destination.Length; i++)
            destination[i] = (float)Element(tensor, i);
    }

    private static double Element(StoredTensor tensor, int index)
    {
        byte* p = (byte*)tensor.Address;
        return tensor.Type switch
        {
            TensorType.F32 => At<float>(p, index),
            TensorType.BF16 => BitConverter.UInt32BitsToSingle((uint)At<ushort>(p, index) << 16),
            TensorType.F16 => (double)At<Half>(p, index),
            TensorType.F64 => At<double>(p, index),
            TensorType.I64 => At<long>(p, index),
            TensorType.U64 => At<ulong>(p, index),
            TensorType.I32 => At<int>(p, index),
            TensorType.U32 => At<uint>(p, index),
            TensorType.I16 => At<short>(p, index),
            TensorType.U16 => At<ushort>(p, index),
            TensorType.I8 => (sbyte)p[index],
            TensorType.U8 or TensorType.Bool => p[index],
            _ => throw new ModelFormatException(tensor.File, tensor.Name, $"{tensor.Type.Name()} cannot be widened to float32"),
        };
    }

    private static int ArrayLength(StoredTensor tensor)
    {
        long count = tensor.ElementCount();
        return count <= Array.MaxLength ? (int)count : throw new ModelFormatException(tensor.File, tensor.Name, $"has {count} elements, more than an array can hold");
    }

    // Tensors are not necessarily aligned in the file.
    private static T At<T>(byte* data, int index)
        where T : unmanaged => Unsafe.ReadUnaligned<T>(data + ((long)index * sizeof(T)));
}

using System.Runtime.InteropServices;

namespace ParVts.Engine.Formats;

/// <summary>A tensor for <see cref="SafetensorsWriter"/>: ready-made bytes, or a callback that makes them piece by piece.</summary>
/// <param name="Name">Its name; any text but "__metadata__".</param>
/// <param name="Type">The element type.</param>
/// <param name="Shape">The extents, slowest first; empty for a scalar.</param>
/// <param name="Data">Row-major, little-endian bytes; empty where <see cref="Fill"/> is set.</param>
public sealed record TensorToWrite(string Name, TensorType Type, long[] Shape, ReadOnlyMemory<byte> Data)
{
    /// <summary>
    /// Writes the next piece of the tensor into the span that it is given: called in order, from the first byte to the
    /// last, with whole elements each time, so that a tensor larger than memory can be written.
    /// </summary>
    public Action<Span<byte>>? Fill { get; init; }

    /// <summary>A float32 tensor. No shape means one axis of the data's length, here and below; a scalar is made by the constructor.</summary>
    public static TensorToWrite Of(string name, float[] data, params long[] shape) => From<float>(name, TensorType.F32, data, shape);

    /// <summary>A float64 tensor.</summary>
    public static TensorToWrite Of(string name, double[] data, params long[] shape) => From<double>(name, TensorType.F64, data, shape);

    /// <summary>An int64 tensor.</summary>
    public static TensorToWrite Of(string name, long[] data, params long[] shape) => From<long>(name, TensorType.I64, data, shape);

    /// <summary>An int32 tensor.</summary>
    public static TensorToWrite Of(string name, int[] data, params long[] shape) => From<int>(name, TensorType.I32, data, shape);

    /// <summary>An unsigned byte tensor.</summary>
    public static TensorToWrite Of(string name, byte[] data, params long[] shape) => From<byte>(name, TensorType.U8, data, shape);

    /// <summary>A float16 tensor.</summary>
    public static TensorToWrite Of(string name, Half[] data, params long[] shape) => From<Half>(name, TensorType.F16, data, shape);

    /// <summary>A tensor whose bytes <paramref name="fill"/> makes while it is written; see <see cref="Fill"/>.</summary>
    public static TensorToWrite Filled(string name, TensorType type, Action<Span<byte>> fill, params long[] shape) =>
        new(name, type, shape, default) { Fill = fill };

    private static TensorToWrite From<T>(string name, TensorType type, ReadOnlySpan<T> data, long[] shape)
        where T : unmanaged
    {
        // The engine runs on little-endian systems only, so memory already has the file's byte order.
        return new TensorToWrite(name, type, shape.Length == 0 ? [data.Length] : shape, MemoryMarshal.AsBytes(data).ToArray());
    }
}

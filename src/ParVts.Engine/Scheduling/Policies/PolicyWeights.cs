using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// A trained policy's own tensors: a mapped safetensors file, whose small matrices the host multiplies in float32. Nobody tells a policy
/// when its session ends, so it opens the file whenever it asks something, and keeps nothing. Any thread.
/// </summary>
internal sealed unsafe class PolicyWeights : IDisposable
{
    // Far above any published module; what is allocated beside the mapping stays small.
    private const int MaxExtent = 1 << 20;

    private readonly SafetensorsFile _file;

    private PolicyWeights(SafetensorsFile file) => _file = file;

    /// <summary>The tensors' names.</summary>
    public IEnumerable<string> Names => _file.Tensors.Keys;

    /// <summary>Opens a file.</summary>
    /// <exception cref="ModelFormatException">It is missing, or its header is wrong.</exception>
    public static PolicyWeights Open(string path) => new(SafetensorsFile.Open(path));

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>There is a tensor of that name.</summary>
    public bool Has(string name) => _file.Tensors.ContainsKey(name);

    /// <summary>A matrix or a vector of the file.</summary>
    /// <exception cref="ModelFormatException">It is not there, has another number of axes, is empty, or not of a type that is multiplied.</exception>
    public StoredTensor Find(string name)
    {
        if (!_file.Tensors.TryGetValue(name, out StoredTensor? tensor))
            throw new ModelFormatException(_file.Path, name, "is not there");
        if (tensor.Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16))
            throw new ModelFormatException(_file.Path, name, $"is of type {tensor.Type.Name()}; F32, BF16 or F16 was expected");
        if (tensor.Shape.Length is not (1 or 2) || tensor.Shape.Any(extent => extent is < 1 or > MaxExtent))
            throw new ModelFormatException(_file.Path, name, $"has the shape [{string.Join(", ", tensor.Shape)}]; a matrix or a vector was expected, of at most {MaxExtent} a side");
        return tensor;
    }

    /// <summary>Widens a part of a matrix's row.</summary>
    /// <param name="matrix">[rows, columns], or a vector, of this file.</param>
    /// <param name="row">The row; 0 of a vector.</param>
    /// <param name="from">The first column that is wanted.</param>
    /// <param name="destination">As many elements as are wanted.</param>
    public void Read(StoredTensor matrix, int row, int from, Span<float> destination)
    {
        int bytes = matrix.Type == TensorType.F32 ? sizeof(float) : sizeof(ushort);
        byte* source = (byte*)matrix.Address + (row * matrix.Shape[^1] + from) * bytes;
        if (matrix.Type == TensorType.F32)
        {
            new ReadOnlySpan<byte>(source, destination.Length * bytes).CopyTo(MemoryMarshal.AsBytes(destination));
            return;
        }

        fixed (float* start = destination)
            Packing.Widen(source, matrix.Type, destination.Length, start);
    }

    /// <summary>A vector of this file.</summary>
    public float[] Read(StoredTensor vector)
    {
        float[] values = new float[vector.Shape[^1]];
        Read(vector, 0, 0, values);
        return values;
    }

    /// <summary>W·x, or of W the columns from <paramref name="from"/> on, as many as x has.</summary>
    public float[] Multiply(StoredTensor matrix, int from, ReadOnlySpan<float> x)
    {
        float[] product = new float[matrix.Shape[0]];
        float[] weights = new float[x.Length];
        for (int row = 0; row < product.Length; row++)
        {
            Read(matrix, row, from, weights);
            product[row] = TensorPrimitives.Dot(weights, x);
        }

        return product;
    }

    /// <summary>x·Φ(x) of each element, with the error function: what PyTorch calls GELU.</summary>
    public static void Gelu(Span<float> values)
    {
        fixed (float* x = values)
            Compute.Cpu.Activations.Apply(Activation.Gelu, x, null, x, values.Length);
    }
}

using System.Runtime.InteropServices;
using ParVts.Engine.Formats;
using InsufficientMemoryException = ParVts.Engine.Compute.InsufficientMemoryException;

namespace ParVts.Engine.Models;

/// <summary>
/// Random weights in memory, for measuring a model whose weights are not there: whatever tensor is asked for is made, and the same seed makes
/// the same. Norms are ones; matrices are uniform with the variance that keeps the size of rows. Any thread may read what was made; one at
/// a time asks for more.
/// </summary>
internal sealed unsafe class RandomWeights : IWeightSource
{
    private const int Alignment = 64;

    // Values of a piece that one thread fills.
    private const int PieceValues = 1 << 20;

    // Of vectors that are no norm: biases, the class token.
    private const float VectorWidth = 0.02f;

    private readonly Dictionary<string, StoredTensor> _tensors = new(StringComparer.Ordinal);
    private readonly List<nint> _allocations = [];
    private readonly ulong _seed;
    private readonly bool _sizesOnly;

    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="seed">Which ones.</param>
    /// <param name="sizesOnly">Nothing is made: what is asked for has a size and no address.</param>
    public RandomWeights(TensorType type, int seed, bool sizesOnly = false)
    {
        if (type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16))
            throw new ArgumentOutOfRangeException(nameof(type), type, "random weights are of type F32, F16 or BF16");
        MatrixType = type;
        _seed = (ulong)seed;
        _sizesOnly = sizesOnly;
    }

    /// <inheritdoc/>
    public IEnumerable<string> Names => _tensors.Keys;

    /// <inheritdoc/>
    public IEnumerable<StoredTensor> All => _tensors.Values;

    /// <inheritdoc/>
    public TensorType MatrixType { get; }

    /// <summary>Bytes of all tensors so far.</summary>
    public long ByteLength { get; private set; }

    /// <inheritdoc/>
    public bool Has(string name) => true;

    /// <inheritdoc/>
    public StoredTensor? Find(string name, ReadOnlySpan<long> shape)
    {
        if (_tensors.TryGetValue(name, out StoredTensor? made))
            return made;
        long count = 1;
        foreach (long extent in shape)
            count *= extent;
        long bytes = count * (MatrixType == TensorType.F32 ? sizeof(float) : sizeof(ushort));
        nint address = _sizesOnly ? 0 : Allocate(bytes);
        var tensor = new StoredTensor(name, MatrixType, shape.ToArray(), address, bytes, "random weights");
        if (!_sizesOnly)
            Fill(tensor, count);
        _tensors.Add(name, tensor);
        ByteLength += bytes;
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (nint address in _allocations)
            NativeMemory.AlignedFree((void*)address);
        _allocations.Clear();
        _tensors.Clear();
    }

    private nint Allocate(long bytes)
    {
        try
        {
            nint address = (nint)NativeMemory.AlignedAlloc((nuint)bytes, Alignment);
            _allocations.Add(address);
            return address;
        }
        catch (OutOfMemoryException error)
        {
            throw new InsufficientMemoryException(bytes, "random weights", error);
        }
    }

    private void Fill(StoredTensor tensor, long count)
    {
        bool norm = tensor.Name.Contains("norm", StringComparison.Ordinal) && tensor.Name.EndsWith("weight", StringComparison.Ordinal);
        float width = norm ? 0 : tensor.Shape.Length < 2 ? VectorWidth : MathF.Sqrt(3f * tensor.Shape[0] / count);
        float offset = norm ? 1 : 0;
        ulong key = Mix(_seed ^ Hash(tensor.Name));
        int pieces = (int)((count + PieceValues - 1) / PieceValues);
        Parallel.For(0, pieces, piece =>
        {
            long first = (long)piece * PieceValues;
            int length = (int)Math.Min(PieceValues, count - first);
            void* start = (byte*)tensor.Address + first * (tensor.ByteLength / count);
            FillPiece(start, length, key + (ulong)piece * PieceValues, width, offset);
        });
    }

    private void FillPiece(void* start, int length, ulong counter, float width, float offset)
    {
        float scale = width / (1 << 15);
        ulong bits = 0;
        for (int i = 0; i < length; i++)
        {
            // Four values of each number.
            bits = (i & 3) == 0 ? Mix(counter + (ulong)i) : bits >> 16;
            float value = (short)bits * scale + offset;
            switch (MatrixType)
            {
                case TensorType.BF16:
                    ((ushort*)start)[i] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
                    break;
                case TensorType.F16:
                    ((Half*)start)[i] = (Half)value;
                    break;
                default:
                    ((float*)start)[i] = value;
                    break;
            }
        }
    }

    // SplitMix64's finaliser (Steele, Lea, Flood, 2014): numbers in a row become random ones.
    private static ulong Mix(ulong x)
    {
        x += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }

    // FNV-1a.
    private static ulong Hash(string name)
    {
        ulong hash = 14695981039346656037;
        foreach (char c in name)
            hash = (hash ^ c) * 1099511628211;
        return hash;
    }
}

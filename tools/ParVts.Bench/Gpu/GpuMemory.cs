using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Bench.Gpu;

/// <summary>Operands in device memory, filled with random numbers: tensor cores are faster on zeros than anyone will ever see.</summary>
internal sealed class GpuMemory(ComputeDevice device) : IDisposable
{
    private const int Piece = 1 << 20;

    private readonly List<IDisposable> _owned = [];
    private readonly ushort[] _bf16 = Fill(x => (ushort)(BitConverter.SingleToUInt32Bits(x) >> 16));
    private readonly float[] _f32 = Fill(x => x);

    /// <summary>A matrix of numbers in (−1, 1), each row at a multiple of 16 bytes.</summary>
    public Tensor Matrix(TensorType type, int rows, int columns)
    {
        int unit = type == TensorType.F32 ? 4 : 8;
        int stride = (columns + unit - 1) / unit * unit;
        Tensor whole = Empty(type, rows, stride);
        int lines = Math.Max(1, Piece / stride);
        for (int row = 0; row < rows; row += lines)
        {
            Tensor piece = whole.Slice(row, Math.Min(lines, rows - row));
            if (type == TensorType.F32)
                device.Upload<float>(_f32.AsSpan(0, piece.Rows * stride), piece);
            else
                device.Upload<ushort>(_bf16.AsSpan(0, piece.Rows * stride), piece);
        }

        return whole with { Columns = columns };
    }

    /// <summary>Whole numbers.</summary>
    public Tensor Integers(params ReadOnlySpan<int> values)
    {
        Tensor row = Empty(TensorType.I32, 1, values.Length);
        device.Upload(values, row);
        return row;
    }

    /// <summary>Numbers.</summary>
    public Tensor Floats(params ReadOnlySpan<float> values)
    {
        Tensor row = Empty(TensorType.F32, 1, values.Length);
        device.Upload(values, row);
        return row;
    }

    /// <summary>Memory for results.</summary>
    public Tensor Empty(TensorType type, int rows, int columns)
    {
        DeviceBuffer buffer = device.Allocate((long)rows * columns * new Tensor(0, type, 0, 0).ElementBytes);
        _owned.Add(buffer);
        return buffer.View(type, rows, columns);
    }

    /// <summary>A layer with keys and values in every row.</summary>
    public KvStore Keys(int heads, int headDim, int rows)
    {
        var store = new KvStore(device, 1, heads, headDim, TensorType.BF16);
        _owned.Add(store);
        store.Reserve(KvNeeds.Uniform(1, rows + 1));
        store.Extend(0, rows);
        Tensor values = Matrix(TensorType.F32, rows, heads * headDim);
        device.RopeStore(default, values, values, default, store.Layer(0), 0);
        return store;
    }

    public void Dispose()
    {
        foreach (IDisposable one in _owned)
            one.Dispose();
    }

    // Large enough for the longest row.
    private static T[] Fill<T>(Func<float, T> convert)
    {
        var random = new Random(5);
        T[] values = new T[Piece];
        for (int i = 0; i < values.Length; i++)
            values[i] = convert(random.NextSingle() * 2 - 1);
        return values;
    }
}

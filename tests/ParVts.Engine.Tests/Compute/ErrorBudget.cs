using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>
/// Contract C5: against float64, an operation may be at most twice as wrong as the naive float32 implementation on the
/// same inputs, plus one unit in the last place. Wrong is the largest difference over all elements; the unit is that of
/// the largest element of the truth, in the output's type.
/// </summary>
internal static class ErrorBudget
{
    /// <summary>Holds <paramref name="actual"/> to the budget.</summary>
    public static void Check(string what, double[] truth, float[] naive, float[] actual, TensorType output = TensorType.F32)
    {
        double allowed = 0;
        double largest = 0;
        for (int i = 0; i < truth.Length; i++)
        {
            if (!double.IsFinite(truth[i]))
                continue;
            allowed = Math.Max(allowed, 2 * Math.Abs(naive[i] - truth[i]));
            largest = Math.Max(largest, Math.Abs(truth[i]));
        }

        allowed += Unit(output) * Math.Max(MathF.BitIncrement((float)largest) - (float)largest, float.Epsilon);
        for (int i = 0; i < truth.Length; i++)
        {
            bool good = double.IsFinite(truth[i])
                ? Math.Abs(actual[i] - truth[i]) <= allowed
                : double.IsNaN(truth[i]) ? float.IsNaN(actual[i]) : actual[i] == truth[i];
            if (!good)
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, the truth {truth[i]:R}, naive {naive[i]:R}, allowed error {allowed:E2}");
        }
    }

    // Units of float32 in one of the type: its fraction has 23 bits, bfloat16's 7, float16's 10.
    private static double Unit(TensorType type) => type switch
    {
        TensorType.BF16 => 1 << 16,
        TensorType.F16 => 1 << 13,
        _ => 1,
    };
}


/// <summary>
/// A matrix in memory with room round it: the content begins as NaN, and what lies beyond it must stay as it is.
/// </summary>
internal sealed unsafe class TestMatrix : IDisposable
{
    private const int Guard = 32;
    private const byte Pattern = 0xA5;
    private readonly CpuBuffer _buffer;
    private readonly int _bytes;

    public TestMatrix(TensorType type, int rows, int columns)
    {
        int size = new Tensor(0, type, 1, 1).ElementBytes;
        _bytes = rows * columns * size;
        _buffer = new CpuBuffer(_bytes + 2 * Guard);
        Span<byte> all = new((void*)_buffer.DangerousGetHandle(), _bytes + 2 * Guard);
        all.Fill(Pattern);
        all.Slice(Guard, _bytes).Fill(0xFF); // NaN in every floating-point type
        Tensor = new Tensor(_buffer.DangerousGetHandle() + Guard, type, rows, columns);
    }

    public Tensor Tensor { get; }

    /// <summary>Random values of a normal-like distribution, times <paramref name="scale"/>, exact in the type.</summary>
    public static TestMatrix Random(Random random, TensorType type, int rows, int columns, double scale = 1)
    {
        var matrix = new TestMatrix(type, rows, columns);
        for (int i = 0; i < rows * columns; i++)
        {
            float value = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2 * scale);
            if (type == TensorType.F32)
                ((float*)matrix.Tensor.Address)[i] = value;
            else if (type == TensorType.F16)
                ((Half*)matrix.Tensor.Address)[i] = (Half)value;
            else
                ((ushort*)matrix.Tensor.Address)[i] = (ushort)(BitConverter.SingleToInt32Bits(value) >> 16);
        }

        return matrix;
    }

    /// <summary>A copy in the same type.</summary>
    public TestMatrix Copy()
    {
        var copy = new TestMatrix(Tensor.Type, Tensor.Rows, Tensor.Columns);
        new ReadOnlySpan<byte>((void*)Tensor.Address, _bytes).CopyTo(new Span<byte>((void*)copy.Tensor.Address, _bytes));
        return copy;
    }

    /// <summary>A copy in F32 or F64.</summary>
    public TestMatrix As(TensorType type)
    {
        var copy = new TestMatrix(type, Tensor.Rows, Tensor.Columns);
        float[] values = Floats();
        for (int i = 0; i < values.Length; i++)
        {
            if (type == TensorType.F64)
                ((double*)copy.Tensor.Address)[i] = values[i];
            else
                ((float*)copy.Tensor.Address)[i] = values[i];
        }

        return copy;
    }

    /// <summary>The elements, widened where they are of a 16-bit type.</summary>
    public float[] Floats()
    {
        CheckGuards();
        int count = Tensor.Rows * Tensor.Columns;
        return Tensor.Type switch
        {
            TensorType.BF16 => [.. new ReadOnlySpan<ushort>((void*)Tensor.Address, count).ToArray().Select(bits => BitConverter.UInt32BitsToSingle((uint)bits << 16))],
            TensorType.F16 => [.. new ReadOnlySpan<Half>((void*)Tensor.Address, count).ToArray().Select(half => (float)half)],
            _ => new ReadOnlySpan<float>((void*)Tensor.Address, count).ToArray(),
        };
    }

    public double[] Doubles()
    {
        CheckGuards();
        return new ReadOnlySpan<double>((void*)Tensor.Address, Tensor.Rows * Tensor.Columns).ToArray();
    }

    public void Dispose() => _buffer.Dispose();

    private void CheckGuards()
    {
        Span<byte> all = new((void*)_buffer.DangerousGetHandle(), _bytes + 2 * Guard);
        if (all[..Guard].ContainsAnyExcept(Pattern) || all[^Guard..].ContainsAnyExcept(Pattern))
            Assert.Fail("an operation wrote outside its output");
    }
}

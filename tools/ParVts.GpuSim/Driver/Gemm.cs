using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Driver;

/// <summary>A matrix of cuBLAS as it lies in memory, column by column.</summary>
/// <param name="Address">Its first element.</param>
/// <param name="Type">cudaDataType: 0 float32, 2 f16, 14 bf16.</param>
/// <param name="Stride">Elements from one column to the next.</param>
/// <param name="Rows">Rows as it is stored.</param>
/// <param name="Columns">Columns as it is stored.</param>
/// <param name="Operation">cublasOperation_t: 0 as it is, 1 and 2 transposed.</param>
internal readonly record struct GemmOperand(ulong Address, int Type, int Stride, int Rows, int Columns, int Operation)
{
    public const int Float32 = 0;
    private const int Half = 2;
    private const int Brain = 14;

    public bool IsTransposed => Operation != 0;

    public bool IsValid => Rows >= 0 && Columns >= 0 && Stride >= Math.Max(1, Rows) && Operation is >= 0 and <= 2;

    public bool IsKnown => Type is Float32 or Half or Brain;

    private int Bytes => Type == Float32 ? sizeof(float) : sizeof(ushort);

    /// <summary>Reads a column.</summary>
    public void Read(SimMemory memory, int column, Span<float> values)
    {
        ulong place = Address + (ulong)((long)column * Stride * Bytes);
        if (Type == Float32)
        {
            memory.Read(place, MemoryMarshal.AsBytes(values));
            return;
        }

        Span<ushort> bits = new ushort[values.Length];
        memory.Read(place, MemoryMarshal.AsBytes(bits));
        for (int i = 0; i < bits.Length; i++)
            values[i] = Ops.Convert.HalfToFloat(bits[i], Type == Brain);
    }

    /// <summary>Writes a column.</summary>
    public void Write(SimMemory memory, int column, ReadOnlySpan<float> values)
    {
        ulong place = Address + (ulong)((long)column * Stride * Bytes);
        if (Type == Float32)
        {
            memory.Write(place, MemoryMarshal.AsBytes(values));
            return;
        }

        Span<ushort> bits = new ushort[values.Length];
        for (int i = 0; i < bits.Length; i++)
            bits[i] = Type == Brain ? Round(values[i]) : BitConverter.HalfToUInt16Bits((Half)values[i]);
        memory.Write(place, MemoryMarshal.AsBytes(bits));
    }

    // To the nearest bf16, ties to even.
    private static ushort Round(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)0x7FFF : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}

/// <summary>C = alpha * A * B + beta * C.</summary>
internal static class Gemm
{
    // Products smaller than this are not worth other threads.
    private const long ParallelFrom = 1 << 20;

    public static void Run(SimMemory memory, GemmOperand a, GemmOperand b, GemmOperand c, int k, float alpha, float beta)
    {
        // Both factors as vectors along k: rows of A, columns of B.
        float[] rows = Load(memory, a, a.IsTransposed, k);
        float[] columns = Load(memory, b, !b.IsTransposed, k);
        float[] results = new float[c.Rows * (long)c.Columns];
        if (beta != 0)
        {
            for (int j = 0; j < c.Columns; j++)
                c.Read(memory, j, results.AsSpan(j * c.Rows, c.Rows));
        }

        void Column(int j)
        {
            Span<float> result = results.AsSpan(j * c.Rows, c.Rows);
            for (int i = 0; i < result.Length; i++)
            {
                float sum = alpha * Dot(rows.AsSpan(i * k, k), columns.AsSpan(j * k, k));
                result[i] = beta == 0 ? sum : sum + (beta * result[i]);
            }
        }

        if ((long)c.Rows * c.Columns * k < ParallelFrom)
        {
            for (int j = 0; j < c.Columns; j++)
                Column(j);
        }
        else
        {
            Parallel.For(0, c.Columns, Column);
        }

        for (int j = 0; j < c.Columns; j++)
            c.Write(memory, j, results.AsSpan(j * c.Rows, c.Rows));
    }

    // A matrix as contiguous vectors along k: its own columns, or its rows.
    private static float[] Load(SimMemory memory, GemmOperand matrix, bool byColumns, int k)
    {
        float[] values = new float[(long)matrix.Rows * matrix.Columns];
        if (byColumns)
        {
            for (int j = 0; j < matrix.Columns && k > 0; j++)
                matrix.Read(memory, j, values.AsSpan(j * k, k));
            return values;
        }

        float[] column = new float[matrix.Rows];
        for (int j = 0; j < matrix.Columns; j++)
        {
            matrix.Read(memory, j, column);
            for (int i = 0; i < column.Length; i++)
                values[(i * k) + j] = column[i];
        }

        return values;
    }

    private static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        int width = Vector<float>.Count;
        Vector<float> first = Vector<float>.Zero;
        Vector<float> second = Vector<float>.Zero;
        int i = 0;
        for (; i <= a.Length - (2 * width); i += 2 * width)
        {
            first = Vector.FusedMultiplyAdd(new Vector<float>(a[i..]), new Vector<float>(b[i..]), first);
            second = Vector.FusedMultiplyAdd(new Vector<float>(a[(i + width)..]), new Vector<float>(b[(i + width)..]), second);
        }

        float sum = Vector.Sum(first + second);
        for (; i < a.Length; i++)
            sum = MathF.FusedMultiplyAdd(a[i], b[i], sum);
        return sum;
    }
}

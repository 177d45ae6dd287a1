using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;

namespace ParVts.GpuSim.Tests.Kernels;

/// <summary>
/// Tests of the product's kernels one by one, each entry of a file by name, whether a device would choose it for these sizes or not.
/// Inputs and outputs are matrices with room behind each row: nobody wrote what is behind an input's rows, so that reading it is a
/// fault; what is behind an output's rows must stay as it was.
/// </summary>
internal abstract class KernelTest : SimTest
{
    protected const int F32 = 0, Bf16 = 1, F16 = 2;

    private const string Prefix = "product/";

    private static readonly ConcurrentDictionary<string, string> s_compiled = new();

    private readonly Dictionary<string, SimModule> _modules = [];

    [TearDown]
    public void Forget() => _modules.Clear();

    /// <summary>Launches an entry of a specialisation ("ELEMENT=1 OUTPUT=0").</summary>
    protected LaunchCounts Run(string file, string macros, string kernel, Dim3 grid, int threads, int shared, params object[] arguments)
    {
        string key = $"{file} {macros}";
        if (!_modules.TryGetValue(key, out SimModule? module))
            _modules[key] = module = Gpu.LoadModule(Compile(file, macros));
        return Gpu.Launch(module[kernel], grid, new Dim3(threads), shared, Pack(arguments));
    }

    /// <summary>Launches a kernel of matmul.cu, or of gemv.cu ("gemv 8" for up to eight rows), as the device does.</summary>
    protected LaunchCounts MatMul(string kernel, Matrix x, Matrix w, Matrix? bias, Matrix result, bool adds = false, int function = -1)
    {
        string macros = $"ELEMENT={x.Type} OUTPUT={(result.Type == F32 ? 0 : 1)} FUNCTION={function}";
        object[] arguments =
            [x.Address, x.Stride, w.Address, w.Stride, bias?.Address ?? 0UL, result.Address, result.Stride, x.Rows, w.Rows, x.Columns, adds ? 1 : 0];
        if (kernel.StartsWith("gemv", StringComparison.Ordinal))
            return Run("gemv.cu", $"{macros} ROWS={kernel[^1]}", "gemv", new Dim3((w.Rows + 3) / 4), 128, 0, arguments);
        (int tileRows, int tileColumns, int threads) = kernel switch
        {
            "matmul_128x128" => (128, 128, 128),
            "matmul_64x64" => (64, 64, 128),
            _ => (16, 32, 64),
        };
        int tiles = (x.Rows + tileRows - 1) / tileRows * ((w.Rows + tileColumns - 1) / tileColumns);
        return Run("matmul.cu", macros, kernel, new Dim3(tiles), threads, 48 * 1024, arguments);
    }

    /// <summary>Shared memory of patchify, as the device gives it: eight patches, each with room behind it.</summary>
    protected static int PatchBytes(int p, int elementBytes) => 8 * elementBytes * ((3 * p * p) + ((p - (3 * p * p)) & ((128 / elementBytes) - 1)));

    private static string Compile(string file, string macros)
    {
        KernelCompiler compiler = TestCompiler.Require();
        return s_compiled.GetOrAdd($"{file} {macros}", _ =>
        {
            string[] names = [.. Assembly.GetExecutingAssembly().GetManifestResourceNames().Where(n => n.StartsWith(Prefix, StringComparison.Ordinal))];
            Dictionary<string, string> texts = names.ToDictionary(n => n[Prefix.Length..], Nvrtc.Source);
            Dictionary<string, string> headers = texts.Where(t => t.Key.EndsWith(".cuh", StringComparison.Ordinal)).ToDictionary(t => t.Key, t => t.Value);
            Dictionary<string, string> definitions = macros.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(m => m.Split('=')).ToDictionary(m => m[0], m => m[1]);
            return compiler.Compile(new KernelSource(file, texts[file], headers), new KernelTarget(80, definitions, LineInfo: true, PtxOnly: true)).Ptx;
        });
    }

    /// <summary>A matrix of random values on the GPU, with <paramref name="padding"/> unwritten elements behind each row.</summary>
    protected Matrix Input(Random random, int rows, int columns, int type, int padding = 0, float scale = 1)
    {
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.Length; i++)
            values[i] = Rounded((random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * scale, type);
        return Place(values, rows, columns, type, padding);
    }

    /// <summary>A matrix of these values on the GPU, with unwritten elements behind each row.</summary>
    protected Matrix Place(float[] values, int rows, int columns, int type, int padding = 0)
    {
        int stride = Stride(columns, type) + padding;
        int size = type == F32 ? 4 : 2;
        ulong address = Gpu.Memory.Allocate(Math.Max(1, (long)rows * stride * size));
        for (int row = 0; row < rows; row++)
            Gpu.Memory.Write(address + (ulong)(row * stride * size), Bytes(values.AsSpan(row * columns, columns), type));
        return new Matrix(address, rows, columns, stride, type, values);
    }

    /// <summary>A matrix for results: NaN everywhere, behind its rows as well.</summary>
    protected Matrix Output(int rows, int columns, int type, int padding = 0)
    {
        int stride = Stride(columns, type) + padding;
        byte[] poison = new byte[rows * stride * (type == F32 ? 4 : 2)];
        poison.AsSpan().Fill(0xFF);
        ulong address = Gpu.Memory.Allocate(poison.Length);
        Gpu.Memory.Write(address, poison);
        return new Matrix(address, rows, columns, stride, type, []);
    }

    /// <summary>What a kernel wrote; what is behind the rows must be untouched.</summary>
    protected float[] Read(Matrix matrix)
    {
        int size = matrix.Type == F32 ? 4 : 2;
        byte[] bytes = new byte[matrix.Rows * matrix.Stride * size];
        float[] values = new float[matrix.Rows * matrix.Columns];
        if (matrix.Values.Length > 0)
        {
            // An input that was changed in place: behind its rows there is nothing to read.
            for (int row = 0; row < matrix.Rows; row++)
                Gpu.Memory.Read(matrix.Address + (ulong)(row * matrix.Stride * size), bytes.AsSpan(row * matrix.Stride * size, matrix.Columns * size));
        }
        else
        {
            Gpu.Memory.Read(matrix.Address, bytes);
        }

        for (int row = 0; row < matrix.Rows; row++)
        {
            Span<byte> line = bytes.AsSpan(row * matrix.Stride * size, matrix.Stride * size);
            if (matrix.Values.Length == 0)
                Assert.That(line[(matrix.Columns * size)..].ToArray(), Is.All.EqualTo(0xFF), $"something was written behind row {row}");
            for (int i = 0; i < matrix.Columns; i++)
            {
                values[(row * matrix.Columns) + i] = matrix.Type == F32
                    ? MemoryMarshal.Read<float>(line[(4 * i)..])
                    : Widened(MemoryMarshal.Read<ushort>(line[(2 * i)..]), matrix.Type);
            }
        }

        return values;
    }

    /// <summary>
    /// Contract C5: at most twice as wrong as the naive float32 way, rounded to the output's type, plus one unit in the last place
    /// of the largest value.
    /// </summary>
    protected static void CheckBudget(string what, double[] truth, float[] naive, float[] actual, int type = F32)
    {
        double allowed = 0, largest = 0;
        for (int i = 0; i < truth.Length; i++)
        {
            allowed = Math.Max(allowed, 2 * Math.Abs(Rounded(naive[i], type) - truth[i]));
            largest = Math.Max(largest, Math.Abs(truth[i]));
        }

        allowed += largest * Math.Pow(2, type switch { F32 => -23, Bf16 => -7, _ => -10 });
        for (int i = 0; i < truth.Length; i++)
        {
            if (!(Math.Abs(actual[i] - truth[i]) <= allowed))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, the truth {truth[i]:R}, naive {naive[i]:R}, allowed error {allowed:E2}");
        }
    }

    protected static float Rounded(float value, int type) => type == F32 ? value : Widened(Narrowed(value, type), type);

    /// <summary>Columns and room up to the next row that a vector access may begin at.</summary>
    protected static int Stride(int columns, int type) => type == F32 ? (columns + 3) / 4 * 4 : (columns + 7) / 8 * 8;

    private static byte[] Bytes(ReadOnlySpan<float> values, int type)
    {
        if (type == F32)
            return MemoryMarshal.AsBytes(values).ToArray();
        ushort[] bits = new ushort[values.Length];
        for (int i = 0; i < bits.Length; i++)
            bits[i] = Narrowed(values[i], type);
        return MemoryMarshal.AsBytes<ushort>(bits).ToArray();
    }

    private static ushort Narrowed(float value, int type)
    {
        if (type == F16)
            return BitConverter.HalfToUInt16Bits((Half)value);
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static float Widened(ushort bits, int type) =>
        type == F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>A matrix on the GPU and, of an input, its values there.</summary>
    protected sealed record Matrix(ulong Address, int Rows, int Columns, int Stride, int Type, float[] Values)
    {
        public float this[int row, int column] => Values[(row * Columns) + column];

        public Matrix Slice(int first, int rows) => new(
            Address + (ulong)(first * Stride * (Type == F32 ? 4 : 2)), rows, Columns, Stride, Type, Values.Length == 0 ? [] : Values[(first * Columns)..((first + rows) * Columns)]);
    }
}

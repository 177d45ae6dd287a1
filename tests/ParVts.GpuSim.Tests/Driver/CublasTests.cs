using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>Matrix products of cuBLAS against float64, in the order of streams and in graphs.</summary>
internal sealed unsafe class CublasTests : DriverTest
{
    private const int Float32 = 0;
    private const int Float16 = 2;
    private const int BFloat16 = 14;
    private const int Compute32F = 68;

    private delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, int, int, ulong, int, int, void*, ulong, int, int, int, int, int> _multiply;
    private readonly List<DeviceMemory> _matrices = [];
    private nint _handle;

    [TearDown]
    public void FreeMatrices()
    {
        foreach (DeviceMemory memory in _matrices)
            memory.Dispose();
        _matrices.Clear();
    }

    [SetUp]
    public void Create()
    {
        _multiply = (delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, int, int, ulong, int, int, void*, ulong, int, int, int, int, int>)
            Driver.Cublas.Functions.Require("cublasGemmEx", "8.0");
        var create = (delegate* unmanaged<nint*, int>)Driver.Cublas.Functions.Require("cublasCreate_v2", "4.0");
        _handle = Made(handle => create((nint*)handle));
        Assert.That(Call("cublasSetStream_v2", Stream.Raw), Is.Zero);
    }

    [Test]
    public void Products(
        [Values(Float32, Float16, BFloat16)] int type, [Values] bool narrow, [Values(0, 1)] int transposeA, [Values(0, 1)] int transposeB,
        [Values("1 1 1", "5 7 33", "64 3 130", "160 130 96")] string shape, [Values(0f, 0.5f)] float beta)
    {
        int[] sizes = [.. shape.Split(' ').Select(int.Parse)];
        (int m, int n, int k) = (sizes[0], sizes[1], sizes[2]);
        int typeC = narrow ? type : Float32;
        var a = new Matrix(this, type, transposeA == 0 ? m : k, transposeA == 0 ? k : m, 1);
        var b = new Matrix(this, type, transposeB == 0 ? k : n, transposeB == 0 ? n : k, 2);
        var c = new Matrix(this, typeC, m, n, 3);
        double[] old = [.. c.Read().Select(v => (double)v)];
        float alpha = 1.5f, scale = beta;
        using (Context.Enter())
            Assert.That(Multiply(a, b, c, transposeA, transposeB, m, n, k, &alpha, &scale), Is.Zero);
        alpha = scale = float.NaN;
        Assert.That(Driver.Counters.MatrixProducts, Is.Zero, "it waits in the stream");
        float[] actual = c.Read();
        Assert.That(Driver.Counters.MatrixProducts, Is.EqualTo(1));
        double error = typeC switch { Float32 => 0, Float16 => 1 / 2048.0, _ => 1 / 256.0 };
        for (int j = 0; j < n; j++)
        {
            for (int i = 0; i < m; i++)
            {
                double sum = beta * old[(j * m) + i];
                double size = Math.Abs(sum);
                for (int l = 0; l < k; l++)
                {
                    double term = 1.5 * a[transposeA == 0 ? i : l, transposeA == 0 ? l : i] * b[transposeB == 0 ? l : j, transposeB == 0 ? j : l];
                    sum += term;
                    size += Math.Abs(term);
                }

                Assert.That(actual[(j * m) + i], Is.EqualTo(sum).Within((error * Math.Abs(sum)) + (2e-6 * size)), $"row {i}, column {j}");
            }
        }

        Assert.That(Driver.Faults, Is.Empty);
    }

    [Test]
    public void A_graph_records_a_product()
    {
        var a = new Matrix(this, Float32, 2, 2, 1);
        var c = new Matrix(this, Float32, 2, 2, 2);
        float[] first = c.Read();
        float alpha = 1, beta = 1;
        Raw(() => Api.StreamBeginCapture(Stream.Raw, 1));
        using (Context.Enter())
            Assert.That(Multiply(a, a, c, 0, 0, 2, 2, 2, &alpha, &beta), Is.Zero);
        nint graph = Made(place => Api.StreamEndCapture(Stream.Raw, (nint*)place));
        nint executable = Made(place => Api.GraphInstantiate((nint*)place, graph, 0));
        Raw(() => Api.GraphLaunch(executable, Stream.Raw));
        Raw(() => Api.GraphLaunch(executable, Stream.Raw));
        float[] actual = c.Read();
        for (int i = 0; i < 2; i++)
        {
            for (int j = 0; j < 2; j++)
                Assert.That(actual[(2 * j) + i], Is.EqualTo(first[(2 * j) + i] + (2 * ((a[i, 0] * a[0, j]) + (a[i, 1] * a[1, j])))).Within(1e-5));
        }

        Assert.That(Driver.Counters.MatrixProducts, Is.EqualTo(2));
    }

    [TestCase(Float32, BFloat16, Float32, Compute32F)]
    [TestCase(Float32, Float32, Float16, Compute32F)]
    [TestCase(1, 1, Float32, Compute32F)]
    [TestCase(Float16, Float16, Float16, 64)]
    public void What_cublas_does_not_multiply(int typeA, int typeB, int typeC, int compute)
    {
        using var memory = new DeviceMemory(Context, 64);
        float one = 1;
        using (Context.Enter())
            Assert.That(_multiply(_handle, 0, 0, 1, 1, 1, &one, memory.Address, typeA, 1, memory.Address, typeB, 1, &one, memory.Address, typeC, 1, compute, -1), Is.EqualTo(15));
    }

    [Test]
    public void Operands_are_checked()
    {
        var a = new Matrix(this, Float32, 4, 4, 1);
        var c = new Matrix(this, Float32, 4, 4, 2);
        using var blank = new DeviceMemory(Context, 64);
        int Product(ulong left, int stride, ulong result)
        {
            float one = 1, zero = 0;
            using CudaContext.Scope scope = Context.Enter();
            return _multiply(_handle, 0, 0, 4, 4, 4, &one, left, 0, stride, a.Address, 0, a.Stride, &zero, result, 0, 4, Compute32F, -1);
        }

        Assert.That(Product(a.Address, 3, c.Address), Is.EqualTo(7), "columns overlap");
        Assert.That(Product(a.Address, a.Stride, blank.Address), Is.Zero, "what nobody wrote is not read where beta is 0");
        Stream.Synchronize();
        Assert.That(Product(a.Address, a.Stride + 40, c.Address), Is.Zero);
        Refused(700, Stream.Synchronize);
        Assert.That(((SimFaultException)Driver.Faults[^1]).Kind, Is.EqualTo(FaultKind.OutOfBounds));
        Assert.That(() => Product(a.Address, a.Stride, c.Address), Throws.TypeOf<CudaContextLostException>());
    }

    [Test]
    public void A_factor_that_nobody_wrote_is_a_fault([Values] bool result)
    {
        var a = new Matrix(this, Float32, 4, 4, 1);
        using var blank = new DeviceMemory(Context, 64);
        using var other = new DeviceMemory(Context, 64);
        float one = 1;
        using (Context.Enter())
        {
            ulong left = result ? a.Address : blank.Address;
            Assert.That(_multiply(_handle, 0, 0, 4, 4, 4, &one, left, 0, 4, a.Address, 0, a.Stride, &one, other.Address, 0, 4, Compute32F, -1), Is.Zero);
        }

        Refused(719, Stream.Synchronize);
        Assert.That(((SimFaultException)Driver.Faults.Single()).Kind, Is.EqualTo(FaultKind.UnwrittenRead));
    }

    [Test]
    public void Handles_streams_and_names()
    {
        using var workspace = new DeviceMemory(Context, 1024);
        var space = (delegate* unmanaged<nint, ulong, nuint, int>)Driver.Cublas.Functions.Require("cublasSetWorkspace_v2", "11.2");
        using CudaContext.Scope scope = Context.Enter();
        Assert.That(space(_handle, workspace.Address, 1024), Is.Zero);
        Assert.That(space(_handle, workspace.Address, 1025), Is.EqualTo(7));
        Assert.That(space(_handle, workspace.Address + 8, 16), Is.EqualTo(7));
        Assert.That(Call("cublasSetMathMode", 16), Is.Zero);
        Assert.That(Call("cublasSetStream_v2", 4711), Is.EqualTo(1));
        int version = 0;
        Assert.That(((delegate* unmanaged<nint, int*, int>)Driver.Cublas.Functions.Require("cublasGetVersion_v2", "4.0"))(_handle, &version), Is.Zero);
        Assert.That(version, Is.EqualTo(120_000));
        var name = (delegate* unmanaged<int, nint>)Driver.Cublas.Functions.Require("cublasGetStatusString", "11.4");
        Assert.That(Marshal.PtrToStringUTF8(name(13)), Is.EqualTo("CUBLAS_STATUS_EXECUTION_FAILED"));
        Assert.That(Driver.Leaks().Select(leak => leak.Kind), Does.Contain("cuBLAS handle"));
        var destroy = (delegate* unmanaged<nint, int>)Driver.Cublas.Functions.Require("cublasDestroy_v2", "4.0");
        Assert.That(destroy(_handle), Is.Zero);
        Assert.That(destroy(_handle), Is.EqualTo(1));
        Assert.That(Driver.Leaks().Select(leak => leak.Kind), Does.Not.Contain("cuBLAS handle"));
        Assert.That(Driver.Cublas.Functions.Find("cublasNothing"), Is.EqualTo((nint)0));
    }

    private int Multiply(Matrix a, Matrix b, Matrix c, int transposeA, int transposeB, int m, int n, int k, float* alpha, float* beta) => _multiply(
        _handle, transposeA, transposeB, m, n, k, alpha, a.Address, a.Type, a.Stride, b.Address, b.Type, b.Stride, beta, c.Address, c.Type, c.Stride, Compute32F, -1);

    private int Call(string function, nint argument)
    {
        using CudaContext.Scope scope = Context.Enter();
        return ((delegate* unmanaged<nint, nint, int>)Driver.Cublas.Functions.Require(function, "4.0"))(_handle, argument);
    }

    /// <summary>A matrix by columns, with a gap behind each that nobody wrote. It lives as long as the test.</summary>
    private sealed class Matrix
    {
        private readonly CublasTests _test;
        private readonly float[] _values;

        public Matrix(CublasTests test, int type, int rows, int columns, int seed)
        {
            _test = test;
            (Type, Rows, Columns, Stride) = (type, rows, columns, rows + 3);
            _values = [.. Random(rows * columns, seed).Select(v => Decode(Encode(v)))];
            var memory = new DeviceMemory(test.Context, Stride * columns * 4);
            test._matrices.Add(memory);
            Address = memory.Address;
            for (int j = 0; j < columns; j++)
                test.Stream.Upload(_values.AsSpan(j * rows, rows).ToArray().SelectMany(Encode).ToArray(), Place(j));
        }

        public int Type { get; }

        public int Rows { get; }

        public int Columns { get; }

        public int Stride { get; }

        public ulong Address { get; }

        private int Size => Type == Float32 ? 4 : 2;

        public double this[int row, int column] => _values[(column * Rows) + row];

        public float[] Read()
        {
            float[] values = new float[Rows * Columns];
            for (int j = 0; j < Columns; j++)
            {
                byte[] bytes = new byte[Rows * Size];
                _test.Stream.Download(Place(j), bytes);
                for (int i = 0; i < Rows; i++)
                    values[(j * Rows) + i] = Decode(bytes.AsSpan(i * Size, Size).ToArray());
            }

            return values;
        }

        private ulong Place(int column) => Address + (ulong)(column * Stride * Size);

        // Values are cut to bf16: rounding is not this test's concern.
        private byte[] Encode(float value) => Type switch
        {
            Float32 => BitConverter.GetBytes(value),
            Float16 => BitConverter.GetBytes((Half)value),
            _ => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)),
        };

        private float Decode(byte[] bytes) => Type switch
        {
            Float32 => BitConverter.ToSingle(bytes),
            Float16 => (float)BitConverter.ToHalf(bytes),
            _ => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(bytes) << 16),
        };
    }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>
/// A device for all tests of a class, and the comparison of an operation with the truth (contract C5). Matrices are made in
/// host memory; <see cref="At"/> gives the same matrix where the operation under test runs.
/// </summary>
internal abstract class DeviceTest
{
    private readonly List<IDisposable> _matrices = [];
    private readonly Dictionary<(TestMatrix Matrix, int Room), Tensor> _copies = [];
    private readonly ReferenceDevice _truth = new();
    private readonly NaiveDevice _naive = new();
    private TestGpu? _gpu;

    /// <summary>An operation on a device; <paramref name="at"/> gives an operand's place there.</summary>
    protected delegate void Operation(ComputeDevice device, Func<TestMatrix, Tensor> at, Tensor output);

    protected TestGpu Gpu => _gpu!;

    /// <summary>Which device the class tests.</summary>
    protected virtual TestGpu Open() => TestGpu.Open();

    [OneTimeSetUp]
    public void OpenDevice() => _gpu = Open();

    [TearDown]
    public void FreeMatrices()
    {
        foreach (IDisposable matrix in _matrices)
            matrix.Dispose();
        _matrices.Clear();
        _copies.Clear();
        TestGpu used = Gpu;
        if (used.IsLost)
        {
            used.Dispose();
            OpenDevice();
        }

        used.RequireNoFaults();
    }

    [OneTimeTearDown]
    public void CloseDevice() => _gpu?.Dispose();

    /// <summary>Random values, exact in the type.</summary>
    protected TestMatrix Random(Random random, TensorType type, int rows, int columns, double scale = 1) =>
        Keep(TestMatrix.Random(random, type, rows, columns, scale));

    /// <summary>Row numbers and the like.</summary>
    protected unsafe TestMatrix Integers(params ReadOnlySpan<int> values)
    {
        TestMatrix matrix = Keep(new TestMatrix(TensorType.I32, 1, values.Length));
        values.CopyTo(new Span<int>((void*)matrix.Tensor.Address, values.Length));
        return matrix;
    }

    /// <summary>The matrix in device memory. Rows have room behind them that nobody ever writes.</summary>
    /// <param name="matrix">A matrix of the test.</param>
    /// <param name="room">Elements behind each row, before its stride is rounded up.</param>
    protected Tensor At(TestMatrix matrix, int room = 0)
    {
        if (_copies.TryGetValue((matrix, room), out Tensor there))
            return there;
        Tensor place = Empty(matrix.Tensor.Type, matrix.Tensor.Rows, matrix.Tensor.Columns, room);
        CopyIn(matrix, place);
        return _copies[(matrix, room)] = place;
    }

    /// <summary>Device memory that nobody has written; on a real GPU it holds NaN.</summary>
    protected Tensor Empty(TensorType type, int rows, int columns, int room = 0)
    {
        int unit = rows == 1 ? 1 : 16 / new Tensor(0, type, 0, 0).ElementBytes;
        int stride = (columns + room + unit - 1) / unit * unit;
        DeviceBuffer buffer = Gpu.Device.Allocate((long)rows * stride * new Tensor(0, type, 0, 0).ElementBytes);
        _matrices.Add(buffer);
        Tensor whole = buffer.View(type, rows, stride);
        if (TestGpu.IsReal)
            Gpu.Device.Upload<byte>(Enumerable.Repeat((byte)0xFF, (int)buffer.Bytes).ToArray(), whole);
        return whole with { Columns = columns };
    }

    /// <summary>Copies a matrix of the test over a tensor of the device.</summary>
    protected unsafe void CopyIn(TestMatrix matrix, in Tensor place)
    {
        Tensor source = matrix.Tensor;
        for (int row = 0; row < source.Rows; row++)
        {
            Tensor line = source.Slice(row, 1);
            Gpu.Device.Upload(new ReadOnlySpan<byte>((void*)line.Address, line.Columns * line.ElementBytes), place.Slice(row, 1));
        }
    }

    /// <summary>A tensor of the device as float32, row by row.</summary>
    protected unsafe float[] Read(in Tensor tensor)
    {
        using var host = new TestMatrix(tensor.Type, tensor.Rows, tensor.Columns);
        for (int row = 0; row < tensor.Rows; row++)
        {
            Tensor line = host.Tensor.Slice(row, 1);
            Gpu.Device.Download(tensor.Slice(row, 1), new Span<byte>((void*)line.Address, line.Columns * line.ElementBytes));
        }

        using TestMatrix wide = host.As(TensorType.F32);
        return wide.Floats();
    }

    /// <summary>
    /// Runs an operation on the device under test, on float64 and on the naive implementation, holds it to the error budget and
    /// returns what it gave.
    /// </summary>
    /// <param name="what">For messages.</param>
    /// <param name="type">The output's type.</param>
    /// <param name="rows">The output's rows.</param>
    /// <param name="columns">The output's columns.</param>
    /// <param name="run">The operation.</param>
    /// <param name="start">What the output holds before; else nobody has written it.</param>
    /// <param name="naive">The naive implementation in the precision of the operation (contract D6), where plain float32 is not it.</param>
    /// <param name="room">Elements of room behind each row of the output.</param>
    protected float[] Compare(
        string what, TensorType type, int rows, int columns, Operation run, TestMatrix? start = null, Operation? naive = null, int room = 0)
    {
        using TestMatrix truth = start?.As(TensorType.F64) ?? new TestMatrix(TensorType.F64, rows, columns);
        using TestMatrix plain = start?.Copy() ?? new TestMatrix(type, rows, columns);
        Tensor output = Empty(type, rows, columns, room);
        if (start is not null)
            CopyIn(start, output);
        run(_truth, matrix => matrix.Tensor, truth.Tensor);
        (naive ?? run)(_naive, matrix => matrix.Tensor, plain.Tensor);
        run(Gpu.Device, matrix => At(matrix), output);
        float[] actual = Read(output);
        using TestMatrix wide = plain.As(TensorType.F32);
        ErrorBudget.Check(what, truth.Doubles(), wide.Floats(), actual, type);
        return actual;
    }

    private TestMatrix Keep(TestMatrix matrix)
    {
        _matrices.Add(matrix);
        return matrix;
    }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>Every operation of the CPU but attention, on random shapes, held to the error budget.</summary>
public sealed class OperationTests : IDisposable
{
    private static readonly int[] s_rows = [1, 2, 7, 8, 13, 64, 97];
    private static readonly TensorType[] s_types = [TensorType.F32, TensorType.BF16, TensorType.F16];
    private readonly CpuDevice _cpu = new(2);
    private readonly ReferenceDevice _truth = new();
    private readonly NaiveDevice _naive = new();

    [OneTimeTearDown]
    public void Dispose() => _cpu.Dispose();

    [Test]
    public void MatMul([Range(1, 30)] int seed)
    {
        var random = new Random(seed);
        int rows = s_rows[random.Next(s_rows.Length)];
        int inner = random.Next(1, 600);
        int columns = random.Next(1, 300);
        TensorType type = s_types[seed % 3];
        bool accumulate = random.Next(2) == 0;
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, inner);
        using TestMatrix weight = TestMatrix.Random(random, type, columns, inner);
        using TestMatrix bias = TestMatrix.Random(random, TensorType.F32, 1, columns);
        using TestMatrix start = TestMatrix.Random(random, TensorType.F32, rows, columns, 20);
        Tensor b = random.Next(2) == 0 ? default : bias.Tensor;
        Compare(
            $"MatMul seed {seed}: [{rows}, {inner}] · [{columns}, {inner}] {type}", accumulate ? start : null, rows, columns,
            (device, output) => device.MatMul(x.Tensor, weight.Tensor, b, output, accumulate));
    }

    [TestCase(577, 192, 200)]
    [TestCase(641, 100, 77)]
    [TestCase(640, 704, 33)]
    public void MatMul_of_many_rows(int rows, int inner, int columns)
    {
        var random = new Random(rows);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, inner);
        using TestMatrix weight = TestMatrix.Random(random, TensorType.BF16, columns, inner);
        Compare($"MatMul of {rows} rows", null, rows, columns, (device, output) => device.MatMul(x.Tensor, weight.Tensor, default, output));
    }

    [Test]
    public unsafe void A_rows_product_depends_on_nothing_but_the_row([Values] bool wide)
    {
        var random = new Random(5);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 641, 300);
        using TestMatrix weight = TestMatrix.Random(random, TensorType.BF16, 90, 300);
        float[] all = Product(641, 0, 2);
        Assert.That(Product(641, 0, 1), Is.EqualTo(all), "threads");
        Assert.That(Product(641, 0, 3), Is.EqualTo(all), "threads");
        foreach ((int first, int rows) in new[] { (0, 8), (5, 13), (100, 97), (633, 8), (1, 640) })
            Assert.That(Product(rows, first, 2), Is.EqualTo(all[(first * 90)..((first + rows) * 90)]), $"rows {first} … {first + rows}");

        float[] Product(int rows, int first, int threads)
        {
            using var pool = new WorkerPool(threads);
            using var output = new TestMatrix(TensorType.F32, rows, 90);
            using var workspace = new CpuBuffer(Gemm.WorkspaceBytes(rows, 300, threads));
            Gemm.Run(
                pool, x.Tensor.Slice(first, rows), weight.Tensor, default, output.Tensor, false, (void*)workspace.DangerousGetHandle(), wide);
            return output.Floats();
        }
    }

    [Test]
    public unsafe void Both_vector_widths_keep_the_budget([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        int rows = random.Next(8, 60);
        int inner = random.Next(1, 700);
        int columns = random.Next(1, 200);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, inner);
        using TestMatrix weight = TestMatrix.Random(random, s_types[seed % 3], columns, inner);
        foreach (bool wide in new[] { false, true })
        {
            using var pool = new WorkerPool(2);
            using var workspace = new CpuBuffer(Gemm.WorkspaceBytes(rows, inner, 2));
            Compare($"seed {seed}, wide {wide}", null, rows, columns, (device, output) =>
            {
                if (device is CpuDevice)
                    Gemm.Run(pool, x.Tensor, weight.Tensor, default, output, false, (void*)workspace.DangerousGetHandle(), wide);
                else
                    device.MatMul(x.Tensor, weight.Tensor, default, output);
            });
        }
    }

    [Test]
    public void Few_rows_give_the_same_bits_whatever_their_number([Values(TensorType.F32, TensorType.BF16, TensorType.F16)] TensorType type)
    {
        var random = new Random(9);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 7, 333);
        using TestMatrix weight = TestMatrix.Random(random, type, 130, 333);
        using var all = new TestMatrix(TensorType.F32, 7, 130);
        _cpu.MatMul(x.Tensor, weight.Tensor, default, all.Tensor);
        for (int row = 0; row < 7; row++)
        {
            using var one = new TestMatrix(TensorType.F32, 1, 130);
            _cpu.MatMul(x.Tensor.Slice(row, 1), weight.Tensor, default, one.Tensor);
            Assert.That(one.Floats(), Is.EqualTo(all.Floats()[(row * 130)..((row + 1) * 130)]));
        }
    }

    [Test]
    public void Norms([Range(1, 12)] int seed)
    {
        var random = new Random(seed);
        int rows = seed == 1 ? 641 : s_rows[random.Next(s_rows.Length)];
        int columns = random.Next(1, 700);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, columns, Math.Pow(10, random.Next(-3, 4)));
        using TestMatrix weight = TestMatrix.Random(random, TensorType.F32, 1, columns);
        using TestMatrix bias = TestMatrix.Random(random, TensorType.F32, 1, columns);
        Compare($"RmsNorm seed {seed}", null, rows, columns, (device, output) => device.RmsNorm(x.Tensor, weight.Tensor, 1e-5f, output));
        Compare(
            $"LayerNorm seed {seed}", null, rows, columns,
            (device, output) => device.LayerNorm(x.Tensor, weight.Tensor, bias.Tensor, 1e-5f, output));
    }

    [Test]
    public void Activations([Values] Activation function, [Values(0.1, 1, 10, 60)] double scale)
    {
        var random = new Random(3);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 13, 517, scale);
        using TestMatrix up = TestMatrix.Random(random, TensorType.F32, 13, 517);
        Compare($"{function} × {scale}", x, 13, 517, (device, output) => device.Activate(output, function, output));
        Compare($"gated {function} × {scale}", x, 13, 517, (device, output) => device.GatedActivate(output, up.Tensor, function, output));
    }

    [Test]
    public unsafe void Activations_of_what_is_not_finite([Values] Activation function)
    {
        using var x = new TestMatrix(TensorType.F32, 1, 9);
        float[] values = [float.NaN, 0f, 1e30f, -1e30f, 88f, -88f, -104f, 1e-30f, -0f];
        _cpu.Upload<float>(values, x.Tensor);
        Compare(function.ToString(), x, 1, 9, (device, output) => device.Activate(output, function, output));
    }

    [Test]
    public unsafe void Embed_widens_and_adds([Values(TensorType.F32, TensorType.BF16, TensorType.F16)] TensorType type, [Values] bool accumulate)
    {
        var random = new Random(4);
        using TestMatrix table = TestMatrix.Random(random, type, 50, 77);
        using TestMatrix start = TestMatrix.Random(random, TensorType.F32, 6, 77);
        using var ids = new TestMatrix(TensorType.I32, 1, 6);
        _cpu.Upload<int>([0, 49, 7, 7, 1, 30], ids.Tensor);
        Compare("Embed", accumulate ? start : null, 6, 77, (device, output) => device.Embed(table.Tensor, ids.Tensor, output, accumulate));
        _cpu.Upload<int>([0, 50, 7, 7, 1, 30], ids.Tensor);
        using var other = new TestMatrix(TensorType.F32, 6, 77);
        Assert.That(() => _cpu.Embed(table.Tensor, ids.Tensor, other.Tensor), Throws.ArgumentException);
    }

    [Test]
    public void Patchify_is_exact([Values(1, 2, 14)] int patch)
    {
        using TestMatrix pixels = TestMatrix.Random(new Random(6), TensorType.F32, 3 * 2 * patch, 3 * patch);
        Compare("Patchify", null, 6, 3 * patch * patch, (device, output) => device.Patchify(pixels.Tensor, patch, output));
    }

    [Test]
    public void RotaryTable_and_RopeStore([Values(32, 64, 72, 80, 96, 128)] int headDim, [Values(0, 50, 64)] int first)
    {
        var random = new Random(headDim);
        const int rows = 33;
        const int heads = 4;
        using var positions = new TestMatrix(TensorType.I32, rows, 3);
        _cpu.Upload<int>([.. Enumerable.Range(0, 3 * rows).Select(_ => random.Next(4096))], positions.Tensor);
        using var frequencies = new TestMatrix(TensorType.F32, 1, headDim / 2);
        float[] values = new float[headDim / 2];
        new Rotary(new RopeConfig(), headDim, 4096).ForLength(4096, values);
        _cpu.Upload<float>(values, frequencies.Tensor);
        Compare("RotaryTable", null, rows, headDim, (device, output) => device.RotaryTable(positions.Tensor, frequencies.Tensor, output));

        using var table = new TestMatrix(TensorType.F32, rows, headDim);
        _cpu.RotaryTable(positions.Tensor, frequencies.Tensor, table.Tensor);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, rows, heads * headDim);
        using TestMatrix k = TestMatrix.Random(random, TensorType.F32, rows, 2 * headDim);
        using TestMatrix v = TestMatrix.Random(random, TensorType.F32, rows, 2 * headDim);
        var stored = new Dictionary<string, double[]>();
        Compare("RopeStore q", q, rows, heads * headDim, (device, output) =>
        {
            using var kv = new KvStore(device, 1, 2, headDim);
            kv.Reserve(KvNeeds.Uniform(kv.Layers, first + rows));
            kv.Extend(0, first + rows);
            device.RopeStore(output, k.Tensor, v.Tensor, table.Tensor, kv.Layer(0), first);
            stored[device.Name] = Stored(kv.Layer(0), first, rows);
        });
        ErrorBudget.Check(
            "RopeStore kv", stored["reference"], Array.ConvertAll(stored["naive"], x => (float)x), Array.ConvertAll(stored["cpu"], x => (float)x));
    }

    private static unsafe double[] Stored(KvLayer layer, int first, int rows)
    {
        var values = new List<double>();
        for (int row = first; row < first + rows; row++)
        {
            for (int head = 0; head < layer.Heads; head++)
            {
                for (int i = 0; i < layer.PaddedHeadDim; i++)
                {
                    values.Add(layer.Keys(row / 64, head)[row % 64 * layer.PaddedHeadDim + i]);
                    values.Add(layer.Values(row / 64, head)[row % 64 * layer.PaddedHeadDim + i]);
                }
            }
        }

        return [.. values];
    }

    // Runs the operation on the three devices, each on an output of its own, and compares.
    private void Compare(string what, TestMatrix? start, int rows, int columns, Action<ComputeDevice, Tensor> run)
    {
        using TestMatrix truth = start?.As(TensorType.F64) ?? new TestMatrix(TensorType.F64, rows, columns);
        using TestMatrix naive = start?.As(TensorType.F32) ?? new TestMatrix(TensorType.F32, rows, columns);
        using TestMatrix actual = start?.As(TensorType.F32) ?? new TestMatrix(TensorType.F32, rows, columns);
        run(_truth, truth.Tensor);
        run(_naive, naive.Tensor);
        run(_cpu, actual.Tensor);
        ErrorBudget.Check(what, truth.Doubles(), naive.Floats(), actual.Floats());
    }
}

using ParVts.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>The engine's row kernels, launched by the host's own classes, against float64.</summary>
internal sealed class KernelTests : DriverTest
{
    private const int Threads = 256;

    // As ELEMENT in types.cuh; how far a result may be off, relative to its size: one rounding, and float32's own noise.
    public static readonly int[] Elements = [0, 1, 2];

    [Test]
    public void RmsNorm([Values(0, 1, 2)] int element, [Values(4, 100, 1024, 1152)] int columns, [Values(1, 5)] int rows)
    {
        int stride = columns + 8;
        float[] x = Random(rows * stride, 1, 3), weight = Random(columns, 2);
        using DeviceMemory dx = Upload(x), dw = Upload(weight), dy = new(Context, rows * stride * 4);
        CudaKernel kernel = Kernel("norm.cu", "rms_norm", ("ELEMENT", element), ("VALUES", columns > 1024 ? 2 : 1));
        var arguments = new RmsNormArguments(dx.Address, stride, dw.Address, 1e-6f, dy.Address, stride, columns);
        kernel.Signature.Check<RmsNormArguments>(kernel.Name);
        kernel.Launch(Stream, new LaunchShape(rows, 1, 1, Threads), arguments);
        Compare(element, rows, columns, stride, dy, (r, c) =>
        {
            double square = Enumerable.Range(0, columns).Average(i => (double)x[(r * stride) + i] * x[(r * stride) + i]);
            return x[(r * stride) + c] / Math.Sqrt(square + 1e-6) * weight[c];
        });
    }

    [Test]
    public void LayerNorm([Values(0, 1, 2)] int element, [Values(4, 100, 1024, 1152)] int columns, [Values(1, 5)] int rows)
    {
        int stride = columns + 8;
        float[] x = [.. Random(rows * stride, 1, 3).Select(v => v + 5)], weight = Random(columns, 2), bias = Random(columns, 3);
        using DeviceMemory dx = Upload(x), dw = Upload(weight), db = Upload(bias), dy = new(Context, rows * stride * 4);
        CudaKernel kernel = Kernel("norm.cu", "layer_norm", ("ELEMENT", element), ("VALUES", columns > 1024 ? 2 : 1));
        var arguments = new LayerNormArguments(dx.Address, stride, dw.Address, db.Address, 1e-5f, dy.Address, stride, columns);
        kernel.Signature.Check<LayerNormArguments>(kernel.Name);
        kernel.Launch(Stream, new LaunchShape(rows, 1, 1, Threads), arguments);
        Compare(element, rows, columns, stride, dy, (r, c) =>
        {
            double[] row = [.. Enumerable.Range(0, columns).Select(i => (double)x[(r * stride) + i])];
            double mean = row.Average();
            double variance = row.Average(v => (v - mean) * (v - mean));
            return ((row[c] - mean) / Math.Sqrt(variance + 1e-5) * weight[c]) + bias[c];
        });
    }

    [Test]
    public void Activations([Values(0, 1, 2)] int element, [Values(0, 1, 2, 3, 4)] int function, [Values(4, 1000, 2052)] int n)
    {
        float[] gate = Random(n, 4, 6), up = Random(n, 5, 2);
        using DeviceMemory dg = Upload(gate), du = Upload(up), plain = new(Context, n * 4), gated = new(Context, n * 4);
        var shape = new LaunchShape((n / 4 + Threads - 1) / Threads, 1, 1, Threads);
        CudaModule module = Module("activation.cu", ("ELEMENT", element), ("FUNCTION", function));
        CudaKernel kernel = module.GetKernel("activate");
        kernel.Signature.Check<ActivateArguments>(kernel.Name);
        kernel.Launch(Stream, shape, new ActivateArguments(dg.Address, plain.Address, n));
        CudaKernel product = module.GetKernel("gated_activate");
        product.Signature.Check<GatedArguments>(product.Name);
        product.Launch(Stream, shape, new GatedArguments(dg.Address, du.Address, gated.Address, n));
        double F(double x) => function switch
        {
            0 => x / (1 + Math.Exp(-x)),
            1 => x / (1 + Math.Exp(-1.702 * x)),
            2 => 0.5 * x * (1 + Erf(x / Math.Sqrt(2))),
            3 => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
            _ => Math.Max(x, 0),
        };
        Compare(element, 1, n, n, plain, (_, c) => F(gate[c]));
        Compare(element, 1, n, n, gated, (_, c) => F(gate[c]) * up[c]);
    }

    [Test]
    public void GatherAndScatter([Values(4, 100, 2052)] int columns, [Values(false, true)] bool scatter)
    {
        const int Rows = 7;
        int stride = columns + 12;
        int[] picked = [5, 0, 6, 2];
        float[] x = Random(Rows * stride, 6);
        float[] before = Random(Rows * stride, 7);
        using DeviceMemory dx = Upload(x), dy = Upload(before), rows = Upload(picked);
        CudaKernel kernel = Kernel("rows.cu", scatter ? "scatter_rows" : "gather_rows");
        kernel.Signature.Check<RowsArguments>(kernel.Name);
        kernel.Launch(
            Stream,
            new LaunchShape(picked.Length, 1, 1, Threads),
            new RowsArguments(dx.Address, stride, rows.Address, dy.Address, stride, columns));
        float[] expected = [.. before];
        for (int i = 0; i < picked.Length; i++)
        {
            int from = scatter ? i : picked[i], to = scatter ? picked[i] : i;
            x.AsSpan(from * stride, columns).CopyTo(expected.AsSpan(to * stride));
        }

        Assert.That(Download<float>(dy, expected.Length), Is.EqualTo(expected), "the picked rows alone, and no more than their columns");
        Finish();
    }

    [Test]
    public void MergeRows([Values(4, 100, 2052)] int columns)
    {
        int stride = columns + 4;
        int[] offsets = [0, 1, 4, 4, 6], sources = [2, 0, 1, 4, 3, 3];
        float[] weights = [1, 0.25f, 0.5f, 0.25f, 0.75f, -0.5f];
        float[] x = Random(5 * stride, 8);
        using DeviceMemory dx = Upload(x), o = Upload(offsets), s = Upload(sources), w = Upload(weights), dy = new(Context, 4 * 4 * stride);
        CudaKernel kernel = Kernel("rows.cu", "merge_rows");
        kernel.Signature.Check<MergeArguments>(kernel.Name);
        kernel.Launch(
            Stream,
            new LaunchShape(4, 1, 1, Threads),
            new MergeArguments(dx.Address, stride, o.Address, s.Address, w.Address, dy.Address, stride, columns));
        Compare(0, 4, columns, stride, dy, (r, c) =>
            Enumerable.Range(offsets[r], offsets[r + 1] - offsets[r]).Sum(e => (double)weights[e] * x[(sources[e] * stride) + c]));
    }

    [Test]
    public void PathWeights([Values(1, 12, 32, 40)] int heads, [Values(1, 9, 17)] int n)
    {
        int stride = heads + 3;
        float[] lse = Random(2 * n * stride, 9, 8);

        // A row that saw nothing, against one that did, and against another of its kind.
        lse.AsSpan(0, heads).Fill(float.NegativeInfinity);
        if (n > 1)
        {
            lse.AsSpan(1 * stride, heads).Fill(float.NegativeInfinity);
            lse.AsSpan((n + 1) * stride, heads).Fill(float.NegativeInfinity);
        }

        int[] first = [.. Enumerable.Range(0, n)], second = [.. first.Select(i => n + i)];
        using DeviceMemory dl = Upload(lse), df = Upload(first), ds = Upload(second), dw = new(Context, 4 * n);
        CudaKernel kernel = Kernel("paths.cu", "path_weights");
        kernel.Signature.Check<WeightArguments>(kernel.Name);
        kernel.Launch(
            Stream,
            new LaunchShape((n + 7) / 8, 1, 1, 256),
            new WeightArguments(dl.Address, stride, heads, df.Address, ds.Address, n, dw.Address));
        Compare(0, 1, n, n, dw, (_, i) => Enumerable.Range(0, heads).Average(h =>
        {
            double a = lse[(first[i] * stride) + h], b = lse[(second[i] * stride) + h];
            return a.Equals(b) ? 0.5 : 1 / (1 + Math.Exp(b - a));
        }));
    }

    [Test]
    public void FusePaths([Values(4, 100, 2052)] int columns)
    {
        int stride = columns + 4;
        int[] first = [1, 4, 0], second = [2, 3, 5];
        float[] weights = [0.25f, 1, 0.8f];
        float[] x = Random(6 * stride, 10);
        using DeviceMemory dx = Upload(x), df = Upload(first), ds = Upload(second), dw = Upload(weights);
        CudaKernel kernel = Kernel("paths.cu", "fuse_paths");
        kernel.Signature.Check<FuseArguments>(kernel.Name);
        kernel.Launch(
            Stream,
            new LaunchShape(first.Length, 1, 1, Threads),
            new FuseArguments(dx.Address, stride, columns, df.Address, ds.Address, dw.Address));
        float[] fused = Download<float>(dx, x.Length);
        for (int row = 0; row < 6; row++)
        {
            int pair = Array.IndexOf(first, row);
            for (int c = 0; c < stride; c++)
            {
                float old = x[(row * stride) + c];
                double expected = pair < 0 || c >= columns ? old : (weights[pair] * old) + ((1 - (double)weights[pair]) * x[(second[pair] * stride) + c]);
                double slack = expected.Equals(old) ? 0 : 3e-7;
                Assert.That(fused[(row * stride) + c], Is.EqualTo(expected).Within(slack), $"row {row}, column {c}");
            }
        }

        Finish();
    }

    private readonly List<CudaModule> _modules = [];

    private CudaModule Module(string file, params (string Name, int Value)[] definitions)
    {
        var module = new CudaModule(Context, Nvrtc.Engine(file, definitions));
        _modules.Add(module);
        return module;
    }

    private CudaKernel Kernel(string file, string name, params (string Name, int Value)[] definitions) => Module(file, definitions).GetKernel(name);

    private void Compare(int element, int rows, int columns, int stride, DeviceMemory actual, Func<int, int, double> expected)
    {
        for (int r = 0; r < rows; r++)
        {
            float[] row = new float[columns];
            int bytes = element == 0 ? 4 : 2;
            byte[] raw = new byte[columns * bytes];
            Stream.Download(actual.Address + (ulong)(r * stride * bytes), raw);
            for (int c = 0; c < columns; c++)
            {
                row[c] = element switch
                {
                    0 => BitConverter.ToSingle(raw, 4 * c),
                    1 => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(raw, 2 * c) << 16),
                    _ => (float)BitConverter.ToHalf(raw, 2 * c),
                };
                double value = expected(r, c);
                double relative = element switch { 0 => 2e-6, 1 => 1 / 256.0, _ => 1 / 2048.0 };
                Assert.That(row[c], Is.EqualTo(value).Within((relative * Math.Abs(value)) + 2e-6), $"row {r}, column {c}");
            }
        }

        Finish();
    }

    private void Finish()
    {
        foreach (CudaModule module in _modules)
            module.Dispose();
        _modules.Clear();
        Assert.That(Driver.Faults, Is.Empty);
    }

    // Abramowitz and Stegun 7.1.6, which converges everywhere.
    private static double Erf(double x)
    {
        double term = x, sum = x;
        for (int n = 1; n < 200; n++)
        {
            term *= 2 * x * x / ((2 * n) + 1);
            sum += term;
        }

        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }

    private readonly record struct RmsNormArguments(ulong X, int XStride, ulong Weight, float Eps, ulong Y, int YStride, int Columns);
    private readonly record struct LayerNormArguments(ulong X, int XStride, ulong Weight, ulong Bias, float Eps, ulong Y, int YStride, int Columns);
    private readonly record struct ActivateArguments(ulong X, ulong Out, int Count);
    private readonly record struct GatedArguments(ulong Gate, ulong Up, ulong Out, int Count);
    private readonly record struct RowsArguments(ulong X, int XStride, ulong Rows, ulong Y, int YStride, int Columns);
    private readonly record struct MergeArguments(ulong X, int XStride, ulong Offsets, ulong Sources, ulong Weights, ulong Y, int YStride, int Columns);
    private readonly record struct WeightArguments(ulong Lse, int Stride, int Heads, ulong First, ulong Second, int Count, ulong Weights);
    private readonly record struct FuseArguments(ulong X, int Stride, int Columns, ulong First, ulong Second, ulong Weights);
}

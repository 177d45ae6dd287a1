using System.Globalization;

namespace ParVts.GpuSim.Tests.Kernels;

/// <summary>Norms, activations, embeddings, patches and rows that move, on column counts that are no multiple of a vector.</summary>
internal sealed class RowKernelTests : KernelTest
{
    private static readonly int[] s_columns = [1, 3, 4, 5, 64, 127, 258, 1024, 1030];

    [Test]
    public void Norm([Values("rms_norm", "layer_norm")] string kernel, [Values(F32, Bf16, F16)] int type, [ValueSource(nameof(s_columns))] int columns)
    {
        Random random = new(columns);
        Matrix x = Input(random, 3, columns, F32, padding: 4), weight = Input(random, 1, columns, F32), bias = Input(random, 1, columns, F32);
        Matrix y = Output(3, columns, type, padding: 8);
        bool layer = kernel == "layer_norm";
        object[] arguments = layer
            ? [x.Address, x.Stride, weight.Address, bias.Address, 1e-5f, y.Address, y.Stride, columns]
            : [x.Address, x.Stride, weight.Address, 1e-5f, y.Address, y.Stride, columns];
        Run("norm.cu", Element(type), kernel, new Dim3(3), 32 * ((columns + 511) / 512), 0, arguments);
        double[] truth = new double[3 * columns];
        float[] naive = new float[3 * columns];
        for (int row = 0; row < 3; row++)
        {
            double[] values = [.. Enumerable.Range(0, columns).Select(i => (double)x[row, i])];
            double mean = layer ? values.Average() : 0;
            double scale = 1 / Math.Sqrt(values.Average(v => (v - mean) * (v - mean)) + 1e-5f);
            float sum = 0, plain = 0;
            for (int i = 0; i < columns; i++)
                sum += x[row, i];
            float center = layer ? sum / columns : 0;
            for (int i = 0; i < columns; i++)
                plain += (x[row, i] - center) * (x[row, i] - center);
            float factor = 1 / MathF.Sqrt((plain / columns) + 1e-5f);
            for (int i = 0; i < columns; i++)
            {
                truth[(row * columns) + i] = ((values[i] - mean) * scale * weight[0, i]) + (layer ? bias[0, i] : 0);
                naive[(row * columns) + i] = ((x[row, i] - center) * factor * weight[0, i]) + (layer ? bias[0, i] : 0);
            }
        }

        CheckBudget(kernel, truth, naive, Read(y), type);
    }

    [Test]
    public void The_longest_row_is_normalised()
    {
        Matrix x = Input(new Random(1), 1, 16384, F32), weight = Place([.. Enumerable.Repeat(1f, 16384)], 1, 16384, F32), y = Output(1, 16384, F32);
        Run("norm.cu", Element(F32), "rms_norm", new Dim3(1), 1024, 0, x.Address, x.Stride, weight.Address, 0f, y.Address, y.Stride, 16384);
        double scale = 1 / Math.Sqrt(x.Values.Average(v => (double)v * v));
        Assert.That(Read(y).Select(v => (double)v), Is.EqualTo(x.Values.Select(v => v * scale)).AsCollection.Within(1e-5));
    }

    [Test]
    public void Activate([Values(-1, 0, 1, 2, 3, 4)] int function, [Values(F32, Bf16, F16)] int type, [Values(1, 6, 1031)] int columns)
    {
        Random random = new(columns);
        Matrix x = Input(random, 3, columns, F32, padding: 4, scale: 2), up = Input(random, 3, columns, F32, padding: 8);
        Matrix y = Output(3, columns, type, padding: 8), z = Output(3, columns, type);
        string macros = string.Create(CultureInfo.InvariantCulture, $"{Element(type)} FUNCTION={function}");
        Dim3 grid = new(3, (columns + 1023) / 1024);
        Run("activation.cu", macros, "activate", grid, 256, 0, x.Address, x.Stride, y.Address, y.Stride, columns);
        Run("activation.cu", macros, "gated_activate", grid, 256, 0, x.Address, x.Stride, up.Address, up.Stride, z.Address, z.Stride, columns);
        double[] truth = [.. x.Values.Select(v => Truth.Apply(v, function))];
        double[] gated = [.. truth.Zip(up.Values, (a, b) => a * b)];
        CheckBudget("activate", truth, [.. truth.Select(v => (float)v)], Read(y), type);
        CheckBudget("gated_activate", gated, [.. gated.Select(v => (float)v)], Read(z), type);
        if (function == -1)
            Assert.That(Read(y), Is.EqualTo(x.Values.Select(v => Rounded(v, type))));
    }

    [Test]
    public void Embed([Values(F32, Bf16, F16)] int type, [ValueSource(nameof(s_columns))] int columns, [Values] bool adds)
    {
        Random random = new(columns);
        int[] ids = [4, 0, 4, 9];
        Matrix table = Input(random, 10, columns, type, padding: 8), old = Input(random, 4, columns, F32);
        Matrix output = adds ? old : Output(4, columns, F32, padding: 4);
        Run(
            "embed.cu", Element(type), "embed", new Dim3(4, (columns + 1023) / 1024), 256, 0,
            table.Address, table.Stride, Upload(ids), output.Address, output.Stride, columns, adds ? 1 : 0);
        Assert.That(Read(output), Is.EqualTo(Expected(4, columns, (row, i) => (adds ? old[row, i] : 0) + table[ids[row], i])));
    }

    [TestCase(14, 3, 9, Bf16)]
    [TestCase(14, 2, 24, F16)]
    [TestCase(3, 5, 1, F32)]
    [TestCase(1, 2, 17, Bf16)]
    [TestCase(32, 1, 2, Bf16)]
    public void Patchify(int p, int down, int across, int type)
    {
        Matrix pixels = Input(new Random(p), 3 * down * p, across * p, F32, padding: 4);
        Matrix output = Output(down * across, 3 * p * p, type, padding: 8);
        Run(
            "patch.cu", Element(type), "patchify", new Dim3((across + 7) / 8, down), 256, PatchBytes(p, type == F32 ? 4 : 2),
            pixels.Address, pixels.Stride, down * p, across, p, output.Address, output.Stride);
        Assert.That(Read(output), Is.EqualTo(Expected(down * across, 3 * p * p, (row, i) => Rounded(
            pixels[(i / (p * p) * down * p) + (row / across * p) + (i / p % p), (row % across * p) + (i % p)], type))));
    }

    [Test]
    public void Rows_move([ValueSource(nameof(s_columns))] int columns)
    {
        Random random = new(columns);
        Matrix x = Input(random, 6, columns, F32, padding: 4), bias = Input(random, 1, columns, F32);
        int[] rows = [5, 0, 3, 2, 4, 1];
        Matrix gathered = Output(6, columns, F32, padding: 8), scattered = Output(6, columns, F32), filled = Output(2, columns, F32, padding: 4), added = Input(random, 2, columns, F32);
        Run("rows.cu", "", "gather_rows", new Dim3(6), 256, 0, x.Address, x.Stride, Upload(rows), gathered.Address, gathered.Stride, columns);
        Run("rows.cu", "", "scatter_rows", new Dim3(6), 256, 0, x.Address, x.Stride, Upload(rows), scattered.Address, scattered.Stride, columns);
        Run("rows.cu", "", "fill_rows", new Dim3(2), 256, 0, bias.Address, filled.Address, filled.Stride, columns, 0);
        Run("rows.cu", "", "fill_rows", new Dim3(2), 256, 0, bias.Address, added.Address, added.Stride, columns, 1);
        Assert.That(Read(gathered), Is.EqualTo(Expected(6, columns, (row, i) => x[rows[row], i])));
        Assert.That(Read(scattered), Is.EqualTo(Expected(6, columns, (row, i) => x[Array.IndexOf(rows, row), i])));
        Assert.That(Read(filled), Is.EqualTo(Expected(2, columns, (_, i) => bias[0, i])));
        Assert.That(Read(added), Is.EqualTo(Expected(2, columns, (row, i) => added[row, i] + bias[0, i])));
    }

    [Test]
    public void Rows_merge_and_fuse([ValueSource(nameof(s_columns))] int columns)
    {
        Random random = new(columns);
        Matrix x = Input(random, 6, columns, F32, padding: 4), merged = Output(3, columns, F32, padding: 8);
        int[] offsets = [0, 2, 2, 5], sources = [1, 5, 0, 2, 1];
        float[] weights = [0.25f, 0.75f, 1, -2, 0.5f];
        Run(
            "rows.cu", "", "merge_rows", new Dim3(3), 256, 0,
            x.Address, x.Stride, Upload(offsets), Upload(sources), Upload(weights), merged.Address, merged.Stride, columns);
        float[] sums = Expected(3, columns, (row, i) =>
            Enumerable.Range(offsets[row], offsets[row + 1] - offsets[row]).Sum(e => weights[e] * x[sources[e], i]));
        Assert.That(Read(merged), Is.EqualTo(sums).AsCollection.Within(1e-6));

        int[] first = [1, 4], second = [0, 3];
        float[] shares = [1, 0.25f];
        Run("paths.cu", "", "fuse_paths", new Dim3(2), 256, 0, x.Address, x.Stride, columns, Upload(first), Upload(second), Upload(shares));
        float[] fused = Expected(6, columns, (row, i) => row == 4 ? (0.25f * x[4, i]) + (0.75f * x[3, i]) : x[row, i]);
        Assert.That(Read(x), Is.EqualTo(fused).AsCollection.Within(1e-6));
    }

    private static string Element(int type) => string.Create(CultureInfo.InvariantCulture, $"ELEMENT={type}");

    private static float[] Expected(int rows, int columns, Func<int, int, float> value) =>
        [.. Enumerable.Range(0, rows * columns).Select(at => value(at / columns, at % columns))];
}

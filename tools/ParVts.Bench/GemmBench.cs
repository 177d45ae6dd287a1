using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Bench;

/// <summary>
/// Our matrix product, bf16 weights, against OpenBLAS' float32 one on the same shapes, alternately in one process.
/// Prints a markdown table: GFLOP/s as medians (least to most), and the ratio of the medians.
/// </summary>
internal static unsafe class GemmBench
{
    private const int RowMajor = 101;
    private const int NoTranspose = 111;
    private const int Transpose = 112;

    private static readonly (int Inner, int Columns)[] s_shapes = [(2048, 2048), (2048, 5632), (5632, 2048), (2048, 32000)];

    public static void Run(int rows, int threads, int repeats)
    {
        var sgemm = LoadOpenBlas(threads);
        using var pool = new WorkerPool(threads);
        Console.WriteLine("| rows × inner × columns | ours, GFLOP/s | OpenBLAS, GFLOP/s | ratio |");
        Console.WriteLine("|---|---|---|---|");
        foreach ((int inner, int columns) in s_shapes)
            Measure(pool, sgemm, rows, inner, columns, repeats);
    }

    private static delegate* unmanaged<int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void>
        LoadOpenBlas(int threads)
    {
        foreach (string name in new[] { "libopenblas.so.0", "libopenblas.so", "libopenblas.dll", "libopenblas.dylib" })
        {
            if (!NativeLibrary.TryLoad(name, out nint library))
                continue;
            ((delegate* unmanaged<int, void>)NativeLibrary.GetExport(library, "openblas_set_num_threads"))(threads);
            return (delegate* unmanaged<int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void>)
                NativeLibrary.GetExport(library, "cblas_sgemm");
        }

        Console.Error.WriteLine("OpenBLAS is not here (apt-get install libopenblas0): only our own figures follow");
        return null;
    }

    private static void Measure(
        WorkerPool pool,
        delegate* unmanaged<int, int, int, int, int, int, float, float*, int, float*, int, float, float*, int, void> sgemm,
        int rows, int inner, int columns, int repeats)
    {
        using var x = new CpuBuffer((long)rows * inner * sizeof(float));
        using var narrow = new CpuBuffer((long)columns * inner * sizeof(ushort));
        using var wide = new CpuBuffer((long)columns * inner * sizeof(float));
        using var ours = new CpuBuffer((long)rows * columns * sizeof(float));
        using var theirs = new CpuBuffer((long)rows * columns * sizeof(float));
        using var workspace = new CpuBuffer(Gemm.WorkspaceBytes(rows, inner, pool.Threads));
        Tensor left = x.View(TensorType.F32, rows, inner);
        Tensor weight = narrow.View(TensorType.BF16, columns, inner);
        Tensor output = ours.View(TensorType.F32, rows, columns);
        Fill((float*)left.Address, (ushort*)weight.Address, (float*)wide.DangerousGetHandle(), left, weight);

        var ourTimes = new List<double>();
        var theirTimes = new List<double>();
        for (int repeat = 0; repeat <= repeats; repeat++)
        {
            double time = Time(() => Gemm.Run(pool, left, weight, default, output, false, (void*)workspace.DangerousGetHandle()));
            double other = sgemm == null ? double.NaN : Time(() => sgemm(
                RowMajor, NoTranspose, Transpose, rows, columns, inner, 1f, (float*)left.Address, inner,
                (float*)wide.DangerousGetHandle(), inner, 0f, (float*)theirs.DangerousGetHandle(), columns));

            // The first round warms up. OpenBLAS' threads spin for a while after a call: they get time to go to sleep.
            Thread.Sleep(50);
            if (repeat == 0)
                continue;
            ourTimes.Add(time);
            theirTimes.Add(other);
        }

        double work = 2e-9 * rows * inner * columns;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {rows} × {inner} × {columns} | {Rates(ourTimes, work)} | {Rates(theirTimes, work)} | {Median(theirTimes) / Median(ourTimes):0.00} |"));
    }

    private static void Fill(float* x, ushort* narrow, float* wide, in Tensor left, in Tensor weight)
    {
        var random = new Random(1);
        for (long i = 0; i < (long)left.Rows * left.Columns; i++)
            x[i] = random.NextSingle() - 0.5f;
        for (long i = 0; i < (long)weight.Rows * weight.Columns; i++)
        {
            narrow[i] = (ushort)(BitConverter.SingleToInt32Bits(random.NextSingle() - 0.5f) >> 16);
            wide[i] = BitConverter.Int32BitsToSingle(narrow[i] << 16);
        }
    }

    private static double Time(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    private static string Rates(List<double> times, double work) => string.Create(
        CultureInfo.InvariantCulture,
        $"{work / Median(times):0} ({work / times.Max():0} to {work / times.Min():0})");
}

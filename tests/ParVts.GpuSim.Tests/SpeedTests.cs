using System.Diagnostics;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;

namespace ParVts.GpuSim.Tests;

/// <summary>The kernels that speed is measured with give right results; and, where asked for, how fast they run.</summary>
internal sealed class SpeedTests : SimTest
{
    private const string File = "speed.cu";

    private ulong _big;

    [Test]
    public void Gemm()
    {
        const int M = 128, N = 64, K = 192;
        float[] a = Rounded(M * K, 1), b = Rounded(N * K, 2);
        ulong c = Gpu.Memory.Allocate(4 * M * N);
        Launch(File, "gemm", new Dim3(N / 64, M / 64), new Dim3(128), 0, Upload(Bits(a)), Upload(Bits(b)), c, N, K);
        float[] expected = [.. Enumerable.Range(0, M * N).Select(i => (float)Enumerable.Range(0, K).Sum(k => (double)a[(i / N * K) + k] * b[(i % N * K) + k]))];
        Assert.That(Download<float>(c, M * N), Is.EqualTo(expected).Within(1e-4));
    }

    [Test]
    public void Attention()
    {
        const int Rows = 128, Heads = 2;
        float[] q = Rounded(Heads * Rows * 64, 3), k = Rounded(Heads * Rows * 64, 4), v = Rounded(Heads * Rows * 64, 5);
        ulong o = Gpu.Memory.Allocate(4 * q.Length);
        Launch(File, "attention", new Dim3(Rows / 64, Heads), new Dim3(128), 0, Upload(Bits(q)), Upload(Bits(k)), Upload(Bits(v)), o, Rows);
        float[] actual = Download<float>(o, q.Length);
        for (int row = 0; row < Heads * Rows; row++)
        {
            int first = row / Rows * Rows;
            double[] p = [.. Enumerable.Range(first, Rows).Select(j => Math.Pow(2, Enumerable.Range(0, 64).Sum(n => (double)q[(64 * row) + n] * k[(64 * j) + n])))];
            for (int n = 0; n < 64; n++)
                Assert.That(actual[(64 * row) + n], Is.EqualTo(Enumerable.Range(0, Rows).Sum(j => p[j] * v[(64 * (first + j)) + n]) / p.Sum()).Within(5e-3));
        }
    }

    /// <summary>Prints rates of several kernels: a measurement, which asks for nothing.</summary>
    [TestCase(false)]
    [TestCase(true)]
    [Explicit("a measurement")]
    public void Rates(bool bare)
    {
        if (bare)
            (Gpu.DetectRaces, Gpu.DetectUnwritten, Gpu.CountMemory) = (false, false, false);
        const int N = 1 << 20;
        SimModule speed = Gpu.LoadModule(Nvrtc.Ptx(File)), basic = Gpu.LoadModule(Nvrtc.Ptx("basic.cu"));
        ulong big = _big = Upload(new float[4 * N]), small = Upload(Random(N, 1)), other = Upload(Random(N, 2));
        ulong a = Upload(Bits(Rounded(N, 3))), b = Upload(Bits(Rounded(N, 4))), c = Upload(Bits(Rounded(N, 5)));
        Measure("spin", basic["spin"], new Dim3(64), new Dim3(256), Pack(big, 2000));
        Measure("add", basic["add"], new Dim3(N / 256), new Dim3(256), Pack(small, other, big, N));
        Measure("gemm 512³", speed["gemm"], new Dim3(8, 8), new Dim3(128), Pack(a, b, big, 512, 512));
        Measure("attention 2x512", speed["attention"], new Dim3(8, 2), new Dim3(128), Pack(a, b, c, big, 512));
        SimModule norm = Project("norm.cu", []), activation = Project("activation.cu", new() { ["FUNCTION"] = "3" });
        Measure("rms_norm 512x2048", norm["rms_norm"], new Dim3(512), new Dim3(256), Pack(small, 2048, other, 1e-5f, big, 2048, 2048));
        Measure("layer_norm 512x2048", norm["layer_norm"], new Dim3(512), new Dim3(256), Pack(small, 2048, other, a, 1e-5f, big, 2048, 2048));
        Measure("gelu 1M", activation["activate"], new Dim3(N / 1024), new Dim3(256), Pack(small, big, N));
        foreach (int blocks in (int[])[1, 8])
        {
            const int Launches = 2000;
            byte[] parameters = Pack(1);
            for (int i = 0; i < Launches; i++)
                Gpu.Launch(speed["nothing"], new Dim3(blocks), new Dim3(256), 0, parameters);
            long bytes = GC.GetTotalAllocatedBytes(), start = Stopwatch.GetTimestamp();
            for (int i = 0; i < Launches; i++)
                Gpu.Launch(speed["nothing"], new Dim3(blocks), new Dim3(256), 0, parameters);
            double time = Stopwatch.GetElapsedTime(start).TotalMicroseconds / Launches;
            TestContext.Progress.WriteLine($"empty launch of {blocks} blocks: {time:0.0} us, {(GC.GetTotalAllocatedBytes() - bytes) / Launches} bytes allocated");
        }
    }

    private void Measure(string name, SimKernel kernel, Dim3 grid, Dim3 block, byte[] parameters)
    {
        // Other work on the machine disturbs the clock less if it is the processor's time that counts.
        double best = double.MaxValue, least = double.MaxValue;
        LaunchCounts counts = Gpu.Launch(kernel, grid, block, 0, parameters);
        for (int i = 0; i < 5; i++)
        {
            TimeSpan before = Environment.CpuUsage.TotalTime;
            long start = Stopwatch.GetTimestamp();
            counts = Gpu.Launch(kernel, grid, block, 0, parameters);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            least = Math.Min(least, (Environment.CpuUsage.TotalTime - before).TotalSeconds);
        }
        byte[] output = new byte[16 << 20];
        Gpu.Memory.Read(_big, output);
        string hash = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(output))[..8];
        long accesses = counts.ByText.Where(t => t.Key.StartsWith("ld", StringComparison.Ordinal) || t.Key.StartsWith("st", StringComparison.Ordinal)).Sum(t => t.Value);
        TestContext.Progress.WriteLine($"{name,-20} {1000 * best,8:0.0} ms {counts.ThreadInstructions / best / 1e6,7:0} M thread-instructions/s, {counts.ThreadInstructions / least / 1e6,5:0} M a core's second, {accesses / best / 1e6,4:0} M loads and stores/s, results {hash}");
    }

    private SimModule Project(string file, Dictionary<string, string> macros)
    {
        string folder = AppContext.BaseDirectory;
        while (!System.IO.File.Exists(Path.Combine(folder, "kernels", file)))
            folder = Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("kernels");
        folder = Path.Combine(folder, "kernels");
        Dictionary<string, string> headers = Directory.GetFiles(folder, "*.cuh").ToDictionary(f => Path.GetFileName(f), System.IO.File.ReadAllText);
        macros["ELEMENT"] = "1";
        KernelTarget target = new(80, macros, LineInfo: true);
        return Gpu.LoadModule(TestCompiler.Require().Compile(new KernelSource(file, System.IO.File.ReadAllText(Path.Combine(folder, file)), headers), target).Ptx);
    }

    private static float[] Rounded(int count, int seed) => [.. Random(count, seed).Select(v => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(v) & 0xFFFF0000))];

    private static ushort[] Bits(float[] values) => [.. values.Select(v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16))];
}

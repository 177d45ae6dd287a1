namespace ParVts.GpuSim.Tests;

/// <summary>Ordinary kernels against the same in C#.</summary>
internal sealed class BasicTests : SimTest
{
    private const string File = "basic.cu";

    [Test]
    public void VectorAdd()
    {
        const int N = 1000;
        float[] a = Random(N, 1), b = Random(N, 2);
        ulong c = Gpu.Memory.Allocate(4 * N);
        LaunchCounts counts = Launch(File, "add", new Dim3(8), new Dim3(128), 0, Upload(a), Upload(b), c, N);
        Assert.That(Download<float>(c, N), Is.EqualTo(a.Zip(b, (x, y) => x + y)));
        Assert.That(counts.ByText["st.global.f32"], Is.EqualTo(N));
    }

    [Test]
    public void Reduction()
    {
        const int N = 5000;
        float[] x = Random(N, 3);
        ulong sum = Upload(new float[1]);
        Launch(File, "reduce", new Dim3(5), new Dim3(256), 0, Upload(x), sum, N);
        Assert.That(Download<float>(sum, 1)[0], Is.EqualTo(x.Sum(v => (double)v)).Within(1e-3));
    }

    [Test]
    public void Transposition()
    {
        const int Rows = 37, Columns = 50;
        int[] x = [.. Enumerable.Range(0, Rows * Columns)];
        ulong y = Gpu.Memory.Allocate(4 * x.Length);
        Launch(File, "transpose", new Dim3(4, 3), new Dim3(16, 16), 0, Upload(x), y, Rows, Columns);
        int[] expected = new int[x.Length];
        for (int r = 0; r < Rows; r++)
        {
            for (int c = 0; c < Columns; c++)
                expected[(c * Rows) + r] = x[(r * Columns) + c];
        }
        Assert.That(Download<int>(y, x.Length), Is.EqualTo(expected));
    }

    [Test]
    public void Softmax()
    {
        const int Rows = 3, Columns = 77;
        float[] x = Random(Rows * Columns, 4);
        ulong y = Gpu.Memory.Allocate(4 * x.Length);
        Launch(File, "softmax", new Dim3(Rows), new Dim3(32), 4 * Columns, Upload(x), y, Columns);
        float[] actual = Download<float>(y, x.Length);
        for (int r = 0; r < Rows; r++)
        {
            double[] e = [.. x.Skip(r * Columns).Take(Columns).Select(v => Math.Exp(v))];
            for (int c = 0; c < Columns; c++)
                Assert.That(actual[(r * Columns) + c], Is.EqualTo(e[c] / e.Sum()).Within(1e-6));
        }
    }

    [Test]
    public void DivergenceNests()
    {
        int[] x = [.. Enumerable.Range(1, 500)];
        ulong y = Gpu.Memory.Allocate(4 * x.Length);
        Launch(File, "nests", new Dim3(4), new Dim3(128), 0, Upload(x), y, x.Length);
        Assert.That(Download<int>(y, x.Length), Is.EqualTo(x.Select(Nest)));
    }

    [Test]
    public void Histogram()
    {
        Random random = new(5);
        int[] x = [.. Enumerable.Range(0, 3000).Select(_ => random.Next(64))];
        ulong bins = Upload(new int[64]);
        Launch(File, "histogram", new Dim3(6), new Dim3(96), 0, Upload(x), bins, x.Length);
        Assert.That(Download<int>(bins, 64), Is.EqualTo(Enumerable.Range(0, 64).Select(b => x.Count(v => v == b))));
    }

    [Test]
    public void Calls()
    {
        float[] x = [.. Random(32, 6).Select(v => v + 1)];
        ulong y = Gpu.Memory.Allocate(4 * 32);
        Launch(File, "calls", new Dim3(1), new Dim3(32), 0, Upload(x), y);
        float[] expected = [.. x.Select((v, t) => MathF.FusedMultiplyAdd(v * (((t & 3) - t) & 7), (t & 3) + 1, Series(v, t)))];
        Assert.That(Download<float>(y, 32), Is.EqualTo(expected).Within(1e-4));
    }

    /// <summary>NVRTC's own mathematics: long code with local arrays, float64 and wide products.</summary>
    [Test]
    public void Library()
    {
        float[] x = [.. Random(200, 7).Select(v => v * 20)];
        ulong y = Gpu.Memory.Allocate(4 * 10 * x.Length);
        Launch(File, "library", new Dim3(4), new Dim3(64), 0, Upload(x), y, x.Length);
        float[] actual = Download<float>(y, 10 * x.Length);
        for (int i = 0; i < x.Length; i++)
        {
            double d = x[i], size = Math.Abs(d);
            double[] expected =
            [
                Math.Sin(d), Math.Cos(x[i] * 1e6f), Math.Exp(d), Math.Log(size), Math.Pow(size, 1.7f), Math.Tanh(d), Math.Sqrt(size) / (d + 100),
                (1 / Math.Sqrt(size)) + Math.Floor(d) + Math.Round(d, MidpointRounding.ToEven), double.NaN, d % 0.7f,
            ];
            for (int n = 0; n < 10; n++)
            {
                if (n != 8)
                    Assert.That(actual[(10 * i) + n], Is.EqualTo(expected[n]).Within(1e-6 * (1 + Math.Abs(expected[n]))), $"result {n} of {d}");
            }
            Assert.That(actual[(10 * i) + 8], Is.InRange(-1, 1));
        }
    }

    /// <summary>How fast the simulator is; it asks for little, since machines differ and are shared.</summary>
    [Test]
    public void Speed()
    {
        Gpu.DetectRaces = false;
        ulong y = Gpu.Memory.Allocate(4 * 64 * 256);
        SimKernel kernel = Gpu.LoadModule(Nvrtc.Ptx(File))["spin"];
        Gpu.Launch(kernel, new Dim3(64), new Dim3(256), 0, Pack(y, 500));
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        LaunchCounts counts = Gpu.Launch(kernel, new Dim3(64), new Dim3(256), 0, Pack(y, 3000));
        double rate = counts.ThreadInstructions / System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds;
        TestContext.Out.WriteLine($"{rate / 1e6:0} M thread-instructions a second");
        Assert.That(rate, Is.GreaterThan(20e6));
    }

    /// <summary>The same for a kernel that does little but load and store.</summary>
    [TestCase(false)]
    [TestCase(true)]
    public void SpeedOfMemory(bool races)
    {
        const int N = 1 << 20;
        Gpu.DetectRaces = races;
        ulong a = Upload(new float[N]), b = Upload(new float[N]), c = Gpu.Memory.Allocate(4 * N);
        SimKernel kernel = Gpu.LoadModule(Nvrtc.Ptx(File))["add"];
        Gpu.Launch(kernel, new Dim3(N / 256), new Dim3(256), 0, Pack(a, b, c, N));
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Gpu.Launch(kernel, new Dim3(N / 256), new Dim3(256), 0, Pack(a, b, c, N));
        double rate = 3.0 * N / System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds;
        TestContext.Out.WriteLine($"{rate / 1e6:0} M loads and stores a second, {(races ? "with" : "without")} the search for races");
        Assert.That(rate, Is.GreaterThan(1e6));
    }

    private static float Series(float x, int n)
    {
        float sum = 0;
        for (int k = 0; k < n; k++)
        {
            if (sum > 3)
                return sum;
            sum += x / (k + 1.0f);
        }
        return sum + 100;
    }

    private static int Nest(int x)
    {
        int steps = 0, sum = 0;
        while (x != 1 && steps < 100)
        {
            steps++;
            if ((x & 1) != 0)
            {
                if (x % 3 == 0)
                {
                    x /= 3;
                    continue;
                }
                x = (3 * x) + 1;
                if (x > 5000)
                    break;
            }
            else
            {
                x >>= 1;
            }
            for (int k = 0; k < x % 5 && k != 3; k++)
                sum += k * steps;
            switch (x % 7)
            {
                case 0:
                    sum += 11;
                    break;
                case 3:
                    sum = (sum ^ x) - 5;
                    break;
                case 4:
                    sum -= 5;
                    break;
                default:
                    sum++;
                    break;
            }
        }
        return (sum * 1000) + steps;
    }
}

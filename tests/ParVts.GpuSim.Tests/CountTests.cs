namespace ParVts.GpuSim.Tests;

/// <summary>Counts of sectors and bank conflicts on kernels whose figures are known, and fences between blocks.</summary>
internal sealed class CountTests : SimTest
{
    private const string File = "counts.cu";

    [TestCase(1, 4)]
    [TestCase(2, 8)]
    [TestCase(8, 32)]
    [TestCase(100, 32)]
    [TestCase(0, 1)]
    public void SectorsOfAStride(int stride, int sectors)
    {
        LaunchCounts counts = Launch(File, "strided", new Dim3(1), new Dim3(32), 0, Upload(new float[3200]), Gpu.Memory.Allocate(128), stride);
        Assert.That(counts.Loaded, Is.EqualTo(new GlobalTraffic(128, sectors, sectors)));
        Assert.That(counts.Stored, Is.EqualTo(new GlobalTraffic(128, 4, 4)));
        Assert.That(counts.SectorsByLine.Values, Is.EqualTo(new[] { ((long)sectors + 4, 8L) }));
    }

    [Test]
    public void SectorsOfAnOffset()
    {
        // Off by one element: a fifth sector is touched.
        LaunchCounts counts = Launch(File, "strided", new Dim3(1), new Dim3(32), 0, Upload(new float[64]) + 4, Gpu.Memory.Allocate(128), 1);
        Assert.That(counts.Loaded.Sectors, Is.EqualTo(5));
    }

    [Test]
    public void SectorsOfWideAccesses()
    {
        LaunchCounts counts = Launch(File, "wide", new Dim3(1), new Dim3(20), 0, Upload(new float[80]), Gpu.Memory.Allocate(320));
        Assert.That(counts.Loaded, Is.EqualTo(new GlobalTraffic(320, 10, 10)));
        Assert.That(counts.Stored, Is.EqualTo(new GlobalTraffic(320, 10, 10)));
        Assert.That(counts.Loaded.DistinctBytes, Is.EqualTo(320));
    }

    [Test]
    public void DistinctSectorsCountOnceALaunch()
    {
        ulong input = Upload(new float[32]), output = Gpu.Memory.Allocate(128 * 16);
        for (int i = 0; i < 2; i++)
        {
            LaunchCounts counts = Launch(File, "shared_input", new Dim3(16), new Dim3(32), 0, input, output);
            Assert.That(counts.Loaded, Is.EqualTo(new GlobalTraffic(128 * 16, 64, 4)));
            Assert.That(counts.Stored, Is.EqualTo(new GlobalTraffic(128 * 16, 64, 64)));
        }
    }

    [TestCase("banks4", 8192, 1, 0)]
    [TestCase("banks4", 8192, 0, 0, Description = "all lanes one word")]
    [TestCase("banks4", 8192, 2, 1)]
    [TestCase("banks4", 8192, 8, 7)]
    [TestCase("banks4", 8192, 32, 31)]
    [TestCase("banks4", 8192, 33, 0)]
    [TestCase("banks8", 16384, 1, 0)]
    [TestCase("banks8", 16384, 2, 2, Description = "two half warps, each of which needs a pass more")]
    [TestCase("banks8", 16384, 16, 30)]
    [TestCase("banks16", 16384, 1, 0)]
    [TestCase("banks16", 16384, 2, 4, Description = "four quarters")]
    [TestCase("banks16", 16384, 8, 28)]
    [TestCase("banks16", 16384, 9, 0)]
    public void BankConflicts(string kernel, int bytes, int stride, int conflicts)
    {
        LaunchCounts counts = Launch(File, kernel, new Dim3(1), new Dim3(32), bytes, Gpu.Memory.Allocate(512), stride);
        Assert.That(counts.Shared.Conflicts, Is.EqualTo(conflicts));
        Assert.That(counts.Shared.Passes, Is.EqualTo((bytes / 128) + (kernel == "banks4" ? 1 : kernel == "banks8" ? 2 : 4)));
        Assert.That(counts.ConflictsByLine.Keys, Is.EqualTo(conflicts > 0 ? new[] { FaultLine(kernel) } : []));
    }

    [TestCase(0, 28)]
    [TestCase(1, 0)]
    public void BankConflictsOfMatrices(int swizzled, int conflicts)
    {
        LaunchCounts counts = Launch(File, "matrices", new Dim3(1), new Dim3(32), 0, Gpu.Memory.Allocate(128), swizzled);
        Assert.That(counts.Shared, Is.EqualTo(new SharedTraffic(16 + 4, conflicts)));
        Assert.That(counts.ConflictsByLine.Keys, Is.EqualTo(conflicts > 0 ? new[] { FaultLine("matrices") } : []));
    }

    [Test]
    public void MatrixOperationsAndKinds()
    {
        LaunchCounts counts = Launch("speed.cu", "gemm", new Dim3(1, 2), new Dim3(128), 0, Upload(new ushort[128 * 64]), Upload(new ushort[64 * 64]), Gpu.Memory.Allocate(4 * 128 * 64), 64, 64);
        Assert.That(counts.MatrixFlops, Is.EqualTo(2 * 128 * 64 * 64));
        Assert.That(counts.MatrixOperations, Is.EqualTo(128 / 16 * (64 / 8) * (64 / 16)));
        Assert.That(counts.Shared.Conflicts, Is.Zero);
        Assert.That(counts.ByKind.Values.Sum(), Is.EqualTo(counts.ThreadInstructions));
        Assert.That(counts.ByKind[InstructionKind.Matrix], Is.EqualTo(32 * counts.MatrixOperations));
        Assert.That(counts.Loaded, Is.EqualTo(new GlobalTraffic(4 * 64 * 64 * 2, 4 * 64 * 64 * 2 / 32, 3 * 64 * 64 * 2 / 32)));
        Assert.That(counts.Stored.DistinctBytes, Is.EqualTo(4 * 128 * 64));
    }

    [Test]
    public void CountingMayBeLeft()
    {
        Gpu.CountMemory = false;
        LaunchCounts counts = Launch(File, "wide", new Dim3(1), new Dim3(20), 0, Upload(new float[80]), Gpu.Memory.Allocate(320));
        Assert.That(counts.Loaded, Is.EqualTo(default(GlobalTraffic)));
        Assert.That(counts.ThreadInstructions, Is.Positive);
    }

    [Test]
    public void UnwrittenReadsMayBeAllowed()
    {
        ulong blank = Gpu.Memory.Allocate(320), output = Gpu.Memory.Allocate(320);
        Assert.That(() => Launch(File, "wide", new Dim3(1), new Dim3(20), 0, blank, output), Throws.TypeOf<SimFaultException>());
        Gpu.DetectUnwritten = false;
        Assert.That(() => Launch(File, "wide", new Dim3(1), new Dim3(20), 0, blank, output), Throws.Nothing);
        Assert.That(() => Launch(File, "wide", new Dim3(1), new Dim3(21), 0, blank, output), Throws.TypeOf<SimFaultException>().With.Property("Kind").EqualTo(FaultKind.OutOfBounds));
    }

    [Test]
    public void AFenceHandsOver()
    {
        const int Blocks = 9, Threads = 96;
        ulong parts = Gpu.Memory.Allocate(4 * Blocks * Threads), output = Gpu.Memory.Allocate(4 * Threads);
        Launch(File, "last_block", new Dim3(Blocks), new Dim3(Threads), 0, parts, Upload(new int[1]), output);
        Assert.That(Download<int>(output, Threads), Is.EqualTo(Enumerable.Range(0, Threads).Select(t => Enumerable.Range(0, Blocks).Sum(b => b + t))));
        SimFaultException? fault = Assert.Throws<SimFaultException>(
            () => Launch(File, "last_block_unfenced", new Dim3(Blocks), new Dim3(Threads), 0, parts, Upload(new int[1]), output));
        Assert.That(fault?.Kind, Is.EqualTo(FaultKind.Race));
    }

    /// <summary>The line of a kernel that says "conflict".</summary>
    private static int FaultLine(string kernel)
    {
        string[] lines = Nvrtc.Source(File).Split('\n');
        return Array.FindIndex(lines, Array.FindIndex(lines, l => l.Contains($"void {kernel}(")), l => l.Contains("// conflict")) + 1;
    }
}

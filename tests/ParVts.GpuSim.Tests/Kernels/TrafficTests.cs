namespace ParVts.GpuSim.Tests.Kernels;

/// <summary>What kernels move: no bank is met twice, and memory-bound kernels move at most 1.05 times the bytes that they must.</summary>
internal sealed class TrafficTests : KernelTest
{
    private const double Spare = 1.05;

    private readonly Random _random = new(1);

    [Test]
    public void Tiles_meet_no_bank_twice_and_write_whole_sectors(
        [Values("matmul_128x128", "matmul_64x64", "matmul_16x32")] string kernel, [Values(0, 1)] int output)
    {
        Matrix x = Input(_random, 256, 256, Bf16), w = Input(_random, 256, 256, Bf16), result = Output(256, 256, output == 0 ? F32 : Bf16);
        LaunchCounts counts = MatMul(kernel, x, w, null, result);
        Assert.That(counts.Shared.Conflicts, Is.Zero, string.Join(' ', counts.ConflictsByLine));
        Assert.That(counts.MatrixFlops, Is.EqualTo(2L * 256 * 256 * 256));
        Assert.That(32 * counts.Stored.Sectors, Is.EqualTo(counts.Stored.Bytes));
        Assert.That(32 * counts.Loaded.Sectors, Is.EqualTo(counts.Loaded.Bytes));
    }

    [TestCase(1)]
    [TestCase(7)]
    public void Few_rows_read_each_weight_once(int rows)
    {
        Matrix x = Input(_random, rows, 1000, Bf16), w = Input(_random, 301, 1000, Bf16), result = Output(rows, 301, F32);
        LaunchCounts counts = MatMul(rows == 1 ? "gemv 1" : "gemv 8", x, w, null, result);
        Assert.That(counts.Shared.Conflicts, Is.Zero);
        Within(counts, 2 * 1000 * (301 + rows), 4 * 301 * rows);
        (long sectors, long needed) = counts.SectorsByLine.Values.MaxBy(line => line.Sectors);
        Assert.That(sectors, Is.LessThanOrEqualTo(Spare * needed));
    }

    [TestCase(4096)]
    [TestCase(1021)]
    public void Rows_move_once(int columns)
    {
        Matrix x = Input(_random, 5, columns, F32), weight = Input(_random, 1, columns, F32), bias = Input(_random, 1, columns, F32);
        Matrix wide = Output(5, columns, F32), half = Output(5, columns, Bf16), table = Input(_random, 5, columns, Bf16);
        ulong rows = Upload<int>([4, 0, 1, 3, 2]), other = Upload<int>([2, 3]), shares = Upload<float>([0.5f, 0.25f]);
        Dim3 grid = new(5, (columns + 1023) / 1024);
        int threads = 32 * ((columns + 511) / 512);
        int four = 5 * 4 * columns, two = 5 * 2 * columns;
        Within(Run("norm.cu", "ELEMENT=1", "rms_norm", new Dim3(5), threads, 0, x.Address, x.Stride, weight.Address, 0f, half.Address, half.Stride, columns), four + four / 5, two);
        Within(
            Run("norm.cu", "ELEMENT=1", "layer_norm", new Dim3(5), threads, 0, x.Address, x.Stride, weight.Address, bias.Address, 0f, half.Address, half.Stride, columns),
            four + four / 5 * 2, two);
        Within(Run("activation.cu", "ELEMENT=1 FUNCTION=0", "activate", grid, 256, 0, x.Address, x.Stride, half.Address, half.Stride, columns), four, two);
        Within(
            Run("activation.cu", "ELEMENT=1 FUNCTION=0", "gated_activate", grid, 256, 0, x.Address, x.Stride, x.Address, x.Stride, half.Address, half.Stride, columns),
            four, two);
        Within(Run("embed.cu", "ELEMENT=1", "embed", grid, 256, 0, table.Address, table.Stride, rows, wide.Address, wide.Stride, columns, 0), two, four);
        Within(Run("rows.cu", "", "gather_rows", new Dim3(5), 256, 0, x.Address, x.Stride, rows, wide.Address, wide.Stride, columns), four, four);
        Within(Run("rows.cu", "", "scatter_rows", new Dim3(5), 256, 0, x.Address, x.Stride, rows, wide.Address, wide.Stride, columns), four, four);
        Within(Run("rows.cu", "", "fill_rows", new Dim3(5), 256, 0, bias.Address, wide.Address, wide.Stride, columns, 0), four / 5, four);
        Within(
            Run("paths.cu", "", "fuse_paths", new Dim3(2), 256, 0, wide.Address, wide.Stride, columns, rows, other, shares), four / 5 * 4, four / 5 * 2);
    }

    [TestCase(14, 24)]
    [TestCase(16, 16)]
    public void Patches_move_once(int p, int across)
    {
        Matrix pixels = Input(_random, 3 * p, across * p, F32), output = Output(across, 3 * p * p, Bf16);
        LaunchCounts counts = Run(
            "patch.cu", "ELEMENT=1", "patchify", new Dim3((across + 7) / 8, 1), 256, PatchBytes(p, 2),
            pixels.Address, pixels.Stride, p, across, p, output.Address, output.Stride);
        Within(counts, 4 * 3 * p * p * across, 2 * 3 * p * p * across);
        Assert.That(32 * counts.Loaded.Sectors, Is.LessThanOrEqualTo(Spare * counts.Loaded.Bytes));
        Assert.That(counts.Shared.Conflicts, Is.LessThanOrEqualTo(0.02 * counts.Shared.Passes), "bank conflicts");
    }

    // The launch may touch so many bytes, plus the ends of rows, and each warp's accesses may be as many sectors as their bytes take.
    private static void Within(LaunchCounts counts, long loaded, long stored)
    {
        TestContext.Out.WriteLine($"loaded {counts.Loaded} of {loaded}, stored {counts.Stored} of {stored}, {counts.Shared}");
        Assert.That(counts.Loaded.DistinctBytes, Is.InRange(loaded, Spare * loaded), "loaded");
        Assert.That(counts.Stored.DistinctBytes, Is.InRange(stored, Spare * stored), "stored");
    }
}

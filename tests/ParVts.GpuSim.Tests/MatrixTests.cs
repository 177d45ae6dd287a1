namespace ParVts.GpuSim.Tests;

/// <summary>ldmatrix, mma.sync and cp.async against plain products and sums.</summary>
internal sealed class MatrixTests : SimTest
{
    private const string File = "matrix.cu";

    [TestCase("product_bf16", 16)]
    [TestCase("product_bf16", 48)]
    [TestCase("product_f16", 32)]
    public void Product(string kernel, int k)
    {
        (ushort[] a, double[] x) = Halves(16 * k, 1, kernel.EndsWith("bf16", StringComparison.Ordinal));
        (ushort[] b, double[] y) = Halves(k * 8, 2, kernel.EndsWith("bf16", StringComparison.Ordinal));
        ulong c = Gpu.Memory.Allocate(4 * 128);
        LaunchCounts counts = Launch(File, kernel, new Dim3(1), new Dim3(32), 0, Upload(a), Upload(b), c, k);
        Assert.That(Download<float>(c, 128), Is.EqualTo(Plain(x, y, k, 0)).Within(1e-5));
        Assert.That(counts.ByText.Where(t => t.Key.StartsWith("mma", StringComparison.Ordinal)).Sum(t => t.Value), Is.EqualTo(32 * k / 16));
    }

    [Test]
    public void ShortProduct()
    {
        (ushort[] a, double[] x) = Halves(16 * 8, 3, bfloat: true);
        (ushort[] b, double[] y) = Halves(8 * 8, 4, bfloat: true);
        ulong c = Gpu.Memory.Allocate(4 * 128);
        Launch(File, "product_short", new Dim3(1), new Dim3(32), 0, Upload(a), Upload(b), c);
        Assert.That(Download<float>(c, 128), Is.EqualTo(Plain(x, y, 8, 1)).Within(1e-5));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(7)]
    public void AsyncCopiesThroughTwoBuffers(int tiles)
    {
        float[] x = Random(128 * tiles, 5);
        ulong y = Gpu.Memory.Allocate(4 * 32);
        Launch(File, "pipeline", new Dim3(1), new Dim3(32), 0, Upload(x), y, tiles);
        double[] expected = [.. Enumerable.Range(0, 32).Select(t => Enumerable.Range(0, 4 * tiles).Sum(n => (double)x[(128 * (n / 4)) + 127 - (4 * t) - (n % 4)]))];
        Assert.That(Download<float>(y, 32), Is.EqualTo(expected).Within(1e-5));
    }

    [Test]
    public void WaitingForTooFewGroupsIsCaught()
    {
        ulong x = Upload(Random(512, 6)), y = Gpu.Memory.Allocate(4 * 32);
        SimFaultException? fault = Assert.Throws<SimFaultException>(() => Launch(File, "pipeline_short_wait", new Dim3(1), new Dim3(32), 0, x, y, 4));
        Assert.That(fault?.Kind, Is.EqualTo(FaultKind.AsyncNotWaited));
    }

    [Test]
    public void HalfAWarpCannotMultiply()
    {
        ulong x = Upload(new ushort[256]), y = Upload(new ushort[128]), c = Gpu.Memory.Allocate(512);
        SimFaultException? fault = Assert.Throws<SimFaultException>(() => Launch(File, "product_short", new Dim3(1), new Dim3(16), 0, x, y, c));
        Assert.That(fault?.Kind, Is.EqualTo(FaultKind.DivergentWarp));
    }

    private static (ushort[] Bits, double[] Values) Halves(int count, int seed, bool bfloat)
    {
        ushort[] bits = [.. Random(count, seed).Select(v => bfloat ? (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16) : BitConverter.HalfToUInt16Bits((Half)v))];
        return (bits, [.. bits.Select(b => bfloat ? BitConverter.UInt32BitsToSingle((uint)b << 16) : (double)BitConverter.UInt16BitsToHalf(b))]);
    }

    private static double[] Plain(double[] a, double[] b, int k, double c) =>
        [.. Enumerable.Range(0, 128).Select(i => c + Enumerable.Range(0, k).Sum(n => a[((i / 8) * k) + n] * b[(n * 8) + (i % 8)]))];
}

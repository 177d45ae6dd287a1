namespace ParVts.GpuSim.Tests;

/// <summary>Opcodes that engines' kernels have and the other tests lack.</summary>
internal sealed class OpcodeTests : SimTest
{
    private const string File = "opcodes.cu";

    [Test]
    public void Packs()
    {
        float[] x = [.. Random(64, 1).Select(v => v * 100)];
        ulong y = Gpu.Memory.Allocate(256);
        Launch(File, "packs", new Dim3(1), new Dim3(32), 0, Upload(x), y);
        uint[] actual = Download<uint>(y, 64);
        for (int i = 0; i < 32; i++)
        {
            Assert.That(actual[2 * i], Is.EqualTo(BitConverter.HalfToUInt16Bits((Half)x[2 * i]) | ((uint)BitConverter.HalfToUInt16Bits((Half)x[(2 * i) + 1]) << 16)));
            Assert.That(BitConverter.UInt32BitsToSingle(actual[(2 * i) + 1] << 16), Is.EqualTo(x[2 * i]).Within(0.4).Percent);
            Assert.That(BitConverter.UInt32BitsToSingle(actual[(2 * i) + 1] & 0xFFFF0000), Is.EqualTo(x[(2 * i) + 1]).Within(0.4).Percent);
        }
    }

    [TestCase("pairs_bf16", true)]
    [TestCase("pairs_f16", false)]
    public void Pairs(string kernel, bool bfloat)
    {
        ushort[] bits = [.. Random(32 * 6, 2).Select(v => bfloat ? (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16) : BitConverter.HalfToUInt16Bits((Half)v))];
        double[] x = [.. bits.Select(b => Value(b, bfloat))];
        ulong y = Gpu.Memory.Allocate(256);
        Launch(File, kernel, new Dim3(1), new Dim3(32), 0, Upload(bits), y);
        ushort[] actual = Download<ushort>(y, 128);
        for (int i = 0; i < 32; i++)
        {
            for (int n = 0; n < 2; n++)
            {
                double a = x[(6 * i) + n], b = x[(6 * i) + 2 + n], c = x[(6 * i) + 4 + n], exact = (a * b) + c;
                Assert.That(Value(actual[(4 * i) + n], bfloat), Is.EqualTo(exact).Within(Math.Max(Math.Abs(exact), 1e-6) / (bfloat ? 256 : 2048)));
                Assert.That(Value(actual[(4 * i) + 2 + n], bfloat), Is.EqualTo(Math.Max(a, b)));
            }
        }
    }

    [Test]
    public void Sums()
    {
        Half[] x = [.. Random(128, 3).Select(v => (Half)v)];
        ulong y = Gpu.Memory.Allocate(128);
        Launch(File, "sums_f16", new Dim3(1), new Dim3(32), 0, Upload<ushort>([.. x.Select(BitConverter.HalfToUInt16Bits)]), y);
        Half[] expected = [.. Enumerable.Range(0, 64).Select(i => (Half)((float)(x[(i / 2 * 4) + (i % 2)] + x[(i / 2 * 4) + 2 + (i % 2)]) * (float)x[(i / 2 * 4) + 2 + (i % 2)]))];
        Assert.That(Download<ushort>(y, 64).Select(BitConverter.UInt16BitsToHalf), Is.EqualTo(expected));
    }

    [Test]
    public void Whole()
    {
        Random random = new(4);
        int[] x = [.. Enumerable.Range(0, 64).Select(_ => (int)random.NextInt64(int.MinValue, int.MaxValue))];
        ulong y = Gpu.Memory.Allocate(32 * 32);
        Launch(File, "whole", new Dim3(1), new Dim3(32), 0, Upload(x), y);
        int[] actual = Download<int>(y, 256);
        for (int i = 0; i < 32; i++)
        {
            int a = x[i], b = x[i + 32];
            byte[] bytes = [.. BitConverter.GetBytes(a), .. BitConverter.GetBytes(b)];
            ulong reversed = 0;
            for (int n = 0; n < 64; n++)
                reversed |= ((((ulong)(uint)b << 32) | (uint)a) >> n & 1) << (63 - n);
            int[] expected =
            [
                unchecked((a << 8 >> 8) * (b << 8 >> 8)), unchecked((int)((uint)(a & 0xFFFFFF) * (uint)(b & 0xFFFFFF))),
                BitConverter.ToInt32([bytes[5], bytes[1], bytes[7], bytes[4]]), (int)(((((ulong)(uint)b << 32) | (uint)a) >> 11) & uint.MaxValue),
                unchecked((int)reversed), unchecked((int)(Math.Abs((long)a - b) + 7)), x[..32].Max(), x[..32].Count(v => (v & 3) == (a & 3)),
            ];
            Assert.That(actual.Skip(8 * i).Take(8), Is.EqualTo(expected), $"of {a} and {b}");
        }
    }

    [Test]
    public void Atomics()
    {
        ulong at = Upload(new ulong[4]);
        Launch(File, "atomics64", new Dim3(2), new Dim3(64), 0, at);
        Assert.That(Download<ulong>(at, 4), Is.EqualTo(new[] { 640UL, 63UL << 40, 77UL, BitConverter.DoubleToUInt64Bits(64) }));
    }

    [Test]
    public void Functions()
    {
        float[] x = [.. Random(32, 5).Select(v => v * 4)];
        ulong y = Gpu.Memory.Allocate(32 * 32);
        Launch(File, "functions", new Dim3(1), new Dim3(32), 0, Upload(x), y);
        float[] actual = Download<float>(y, 256);
        for (int i = 0; i < 32; i++)
        {
            double v = x[i], size = Math.Abs(v);
            double[] expected =
            [
                double.NaN, Math.Exp(v), Math.Log(size + 1), Math.Sin(v), Math.Sin(x[i] * 1e8f), (Math.Sqrt(size) / 3) + (v * v) + 1,
                Math.Cbrt(v) + Math.Log(1 + size) + Math.Pow(2, v), Math.Truncate(x[i] * 1000) + Math.Round(v, MidpointRounding.ToEven) + (v / 3),
            ];
            for (int n = 1; n < 8; n++)
                Assert.That(actual[(8 * i) + n], Is.EqualTo(expected[n]).Within(2e-6 * (1 + Math.Abs(expected[n]))), $"result {n} of {v}");
            Assert.That(actual[8 * i], Is.InRange(-1, 1));
        }
    }

    [TestCase(0)]
    [TestCase(5)]
    [TestCase(61)]
    [TestCase(128)]
    public void ZeroFill(int count)
    {
        float[] x = Random(Math.Max(count, 4), 6);
        ulong y = Gpu.Memory.Allocate(128);
        Launch(File, "zero_filled", new Dim3(1), new Dim3(32), 0, Upload(x), y, count);
        float At(int i) => i < count ? x[i] : 0;
        Assert.That(Download<float>(y, 32), Is.EqualTo(Enumerable.Range(0, 32).Select(t => At(t) + At(t + 32) + At(t + 64) + At(t + 96))));
    }

    [Test]
    public void NamedBarriers()
    {
        ulong y = Gpu.Memory.Allocate(512);
        Launch(File, "named_barriers", new Dim3(1), new Dim3(128), 0, y);
        Assert.That(Download<int>(y, 128), Is.EqualTo(Enumerable.Range(0, 128).Select(t => t ^ 32)));
    }

    private static double Value(ushort bits, bool bfloat) => bfloat ? BitConverter.UInt32BitsToSingle((uint)bits << 16) : (double)BitConverter.UInt16BitsToHalf(bits);
}

using System.Numerics;

namespace ParVts.GpuSim.Tests;

/// <summary>Integers of all widths, bit operations, roundings and conversions, on edge cases and random operands.</summary>
internal sealed class ArithmeticTests : SimTest
{
    private const string File = "arithmetic.cu";

    [Test]
    public void U8() => Integers<byte>("ints_u8");

    [Test]
    public void S8() => Integers<sbyte>("ints_s8");

    [Test]
    public void U16() => Integers<ushort>("ints_u16");

    [Test]
    public void S16() => Integers<short>("ints_s16");

    [Test]
    public void U32() => Integers<uint>("ints_u32");

    [Test]
    public void S32() => Integers<int>("ints_s32");

    [Test]
    public void U64() => Integers<ulong>("ints_u64");

    [Test]
    public void S64() => Integers<long>("ints_s64");

    [Test]
    public void Bits()
    {
        uint[] a = Operands<uint>(1), b = Operands<uint>(2);
        ulong o = Gpu.Memory.Allocate(a.Length * 48);
        Launch(File, "bits", new Dim3(20), new Dim3(64), 0, Upload(a), Upload(b), o, a.Length);
        uint[] actual = Download<uint>(o, a.Length * 12);
        for (int i = 0; i < a.Length; i++)
        {
            uint x = a[i], y = b[i];
            ulong w = ((ulong)x << 32) | y;
            int at = (int)(y & 31), length = (int)(y >> 5 & 31);
            uint field = (uint)((1UL << length) - 1);
            uint reversed = Enumerable.Range(0, 32).Aggregate(0u, (r, n) => r | ((x >> n & 1) << (31 - n)));
            uint permuted = Enumerable.Range(0, 4).Aggregate(0u, (r, n) => r | ((uint)((((ulong)y << 32) | x) >> (int)(8 * (y >> 7 >> (4 * n) & 7))) & 255) << (8 * n));
            uint[] expected =
            [
                (uint)BitOperations.PopCount(x), (uint)BitOperations.LeadingZeroCount(x), reversed, permuted,
                (uint)(((((ulong)y << 32) | x) << (int)(x & 31)) >> 32), (uint)((ulong)x * y >> 32), (uint)((long)(int)x * (int)y >> 32),
                (uint)(BitOperations.PopCount(w) + (100 * BitOperations.LeadingZeroCount(w))), x >> at & field,
                (y & ~(field << at)) | ((x & field) << at), (x & y) | (~x & (x + y)), (uint)((ulong)((UInt128)w * w >> 64) >> 3),
            ];
            Assert.That(actual.Skip(12 * i).Take(12), Is.EqualTo(expected), $"of 0x{x:x} and 0x{y:x}");
        }
    }

    [Test]
    public void Roundings()
    {
        // 12 bits of fraction, so that float64 holds every exact result of the three.
        Random random = new(3);
        float[] Make() => [.. Enumerable.Range(0, 500).Select(_ => (float)Math.ScaleB(random.Next(-4095, 4096), random.Next(-14, 3)))];
        float[] a = Make(), b = Make(), c = [.. Make().Select(v => v / 1024)];
        ulong o = Gpu.Memory.Allocate(a.Length * 64);
        Launch(File, "roundings", new Dim3(8), new Dim3(64), 0, Upload(a), Upload(b), Upload(c), o, a.Length);
        float[] actual = Download<float>(o, a.Length * 16);
        for (int i = 0; i < a.Length; i++)
        {
            double[] exact = [((double)a[i] * b[i]) + c[i], (double)a[i] + b[i], (double)a[i] * b[i], (double)a[i] * b[i]];
            Assert.That(actual.Skip(16 * i).Take(16), Is.EqualTo(exact.SelectMany(AllRoundings)), $"of {a[i]}, {b[i]}, {c[i]}");
        }
    }

    [Test]
    public void Conversions()
    {
        float[] a =
        [
            0, -0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e-8f, 3e9f, -3e9f, 5e9f, 65504, 65520, 1e-7f, 3.14159f, float.PositiveInfinity,
            float.NegativeInfinity, 1.00390625f, 1.01171875f, .. Random(200, 4).Select(v => v * 1000),
        ];
        ulong o = Gpu.Memory.Allocate(a.Length * 32);
        Launch(File, "conversions", new Dim3(8), new Dim3(64), 0, Upload(a), o, a.Length);
        int[] actual = Download<int>(o, a.Length * 8);
        for (int i = 0; i < a.Length; i++)
        {
            double x = a[i];
            int[] expected =
            [
                Whole(Math.Truncate(x)), Whole(Math.Round(x, MidpointRounding.ToEven)), Whole(Math.Floor(x)), Whole(Math.Ceiling(x)),
                (int)(uint)Math.Clamp(Math.Truncate(x), 0, uint.MaxValue), BitConverter.HalfToUInt16Bits((Half)a[i]), NearestBFloat(a[i]),
                (NearestBFloat(a[i]) << 16) | NearestBFloat(-a[i]),
            ];
            Assert.That(actual.Skip(8 * i).Take(8), Is.EqualTo(expected), $"of {a[i]}");
        }
    }

    private void Integers<T>(string kernel)
        where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        T[] a = Operands<T>(1), b = Operands<T>(2);
        int bytes = T.Zero.GetByteCount();
        ulong o = Gpu.Memory.Allocate(a.Length * 16 * bytes);
        Launch(File, kernel, new Dim3(20), new Dim3(64), 0, Upload(a), Upload(b), o, a.Length);
        T[] actual = Download<T>(o, a.Length * 16);
        for (int i = 0; i < a.Length; i++)
            Assert.That(actual.Skip(16 * i).Take(16), Is.EqualTo(Expected(a[i], b[i], 8 * bytes)), $"of {a[i]} and {b[i]}");
    }

    private static T[] Expected<T>(T x, T y, int bits)
        where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        // In whole numbers without end, then cut.
        BigInteger p = BigInteger.CreateChecked(x), q = BigInteger.CreateChecked(y);
        int s = int.CreateTruncating(y & T.CreateTruncating(bits - 1));
        BigInteger[] results =
        [
            p + q, p - q, p * q, q.IsZero ? 0 : BigInteger.Divide(p, q), q.IsZero ? 0 : BigInteger.Remainder(p, q), BigInteger.Min(p, q), BigInteger.Max(p, q),
            p & q, p | q, p ^ q, -p - 1, p << s, p >> s, (p < q ? 1 : 0) + (p == q ? 2 : 0) + (p >= q ? 4 : 0), BigInteger.Divide(p, 7), BigInteger.Remainder(p, 10),
        ];
        return [.. results.Select(T.CreateTruncating)];
    }

    /// <summary>Every pair of edge cases, and random ones behind.</summary>
    private static T[] Operands<T>(int which)
        where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        T[] edges = [T.Zero, T.One, T.CreateTruncating(2), T.MaxValue, T.MinValue, T.MaxValue - T.One, T.MinValue + T.One, T.CreateTruncating(-1), T.CreateTruncating(0x55)];
        Random random = new(which);
        IEnumerable<T> pairs = edges.SelectMany(a => edges.Select(b => which == 1 ? a : b));
        return [.. pairs, .. Enumerable.Range(0, 800).Select(_ => T.CreateTruncating(random.NextInt64(long.MinValue, long.MaxValue)))];
    }

    private static IEnumerable<float> AllRoundings(double exact)
    {
        float nearest = (float)exact;
        float below = nearest > exact ? MathF.BitDecrement(nearest) : nearest, above = nearest < exact ? MathF.BitIncrement(nearest) : nearest;
        return [nearest, exact > 0 ? below : above, below, above];
    }

    private static int Whole(double x) => (int)Math.Clamp(x, int.MinValue, int.MaxValue);

    /// <summary>The nearer of the two neighbours; of equally near ones the even one.</summary>
    private static int NearestBFloat(float x)
    {
        uint bits = BitConverter.SingleToUInt32Bits(x), low = bits & 0xFFFF0000, high = low + 0x10000;
        if (!float.IsFinite(x) || low == bits)
            return (int)(low >> 16);
        double down = Math.Abs((double)x - BitConverter.UInt32BitsToSingle(low)), up = Math.Abs((double)BitConverter.UInt32BitsToSingle(high) - x);
        return (int)((up < down || (up == down && (low & 0x10000) != 0) ? high : low) >> 16);
    }
}

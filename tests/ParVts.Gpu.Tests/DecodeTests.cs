using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;
using ParVts.GpuSim;

namespace ParVts.Gpu.Tests;

/// <summary>Rotary positions, rows into the pages, attention of a decode step, thinned layers.</summary>
internal sealed class DecodeTests : DeviceTest
{
    // Head size, KV heads, query heads to each.
    private static readonly (int HeadDim, int KvHeads, int Group)[] s_shapes =
        [(16, 2, 3), (32, 1, 1), (64, 2, 1), (64, 1, 7), (72, 3, 2), (80, 1, 4), (96, 2, 5), (128, 2, 4), (128, 1, 16), (8, 1, 20)];

    private static IEnumerable<TestCaseData> Attentions() =>
        from shape in Enumerable.Range(0, s_shapes.Length)
        from type in new[] { TensorType.BF16, TensorType.F16 }
        select new TestCaseData(s_shapes[shape].HeadDim, s_shapes[shape].KvHeads, s_shapes[shape].Group, type);

    [TestCaseSource(nameof(Attentions))]
    public void Decode_attention(int headDim, int kvHeads, int group, TensorType type)
    {
        var random = new Random(headDim + group);
        int columns = kvHeads * group * headDim;
        foreach (int rows in new[] { 1, 63, 64, 65, random.Next(1, 301) })
        {
            using TestCache cache = TestCache.Random(Gpu, random, type, rows, kvHeads, headDim, random.Next(1, 700));
            TestMatrix q = Random(random, TensorType.F32, 1, columns, 2);
            float scale = 1f / MathF.Sqrt(headDim);
            foreach (TensorType output in new[] { type, TensorType.F32 })
            {
                Compare($"{rows} rows, {output}", output, 1, columns, (device, at, y) =>
                    device.DecodeAttention(at(q), cache.On(device), scale, y));
            }
        }
    }

    [Test]
    public void Decode_attention_outlives_large_scores([Values(TensorType.BF16, TensorType.F16)] TensorType type)
    {
        using TestCache cache = TestCache.Random(Gpu, new Random(1), type, 200, 1, 64);
        TestMatrix q = Random(new Random(2), TensorType.F32, 1, 128, 100);
        Compare("large scores", type, 1, 128, (device, at, y) => device.DecodeAttention(at(q), cache.On(device), 1f, y));
    }

    [TestCase(128, 2, 1)]
    [TestCase(128, 2, 7)]
    [TestCase(64, 4, 1)]
    [TestCase(64, 1, 16)]
    [TestCase(72, 2, 1)]
    public void Decode_attention_moves_each_byte_once(int headDim, int kvHeads, int group)
    {
        const int Length = 640;
        if (Gpu.Sim is null)
            Assert.Ignore("a real GPU does not count");
        using TestCache cache = TestCache.Random(Gpu, new Random(1), TensorType.BF16, Length, kvHeads, headDim);
        TestMatrix q = Random(new Random(2), TensorType.F32, 1, kvHeads * group * headDim);
        Gpu.Sim.Gpu.CountMemory = true;
        Gpu.Device.DecodeAttention(At(q), cache.Store.Layer(0), 1f, Empty(TensorType.BF16, 1, kvHeads * group * headDim));
        Gpu.Device.Download(At(q), q.Floats().AsSpan());
        Gpu.Sim.Gpu.CountMemory = false;
        LaunchCounts counts = Gpu.Sim.Counters.Kernels["decode_attention"].Last;
        long least = 4L * Length * kvHeads * KvStore.Pad(headDim);
        TestContext.Out.WriteLine(
            $"{least} bytes of keys and values, {counts.Loaded.DistinctBytes} loaded, {counts.Loaded.Sectors * 32} asked of the cache, "
            + $"{counts.Stored.DistinctBytes} stored; {counts.Shared}");
        foreach ((int line, long conflicts) in counts.ConflictsByLine)
            TestContext.Out.WriteLine($"line {line}: {conflicts}");
        Assert.That(counts.Loaded.DistinctBytes, Is.LessThanOrEqualTo(1.05 * least));
        if (headDim % 64 == 0)
            Assert.That(counts.Shared.Conflicts, Is.Zero);
    }

    [Test]
    public void No_rows_give_zeros()
    {
        using TestCache cache = TestCache.Random(Gpu, new Random(1), TensorType.BF16, 0, 2, 64, 300);
        TestMatrix q = Random(new Random(2), TensorType.F32, 1, 256);
        Tensor output = Empty(TensorType.BF16, 1, 256);
        Gpu.Device.DecodeAttention(At(q), cache.Store.Layer(0), 1f, output);
        Assert.That(Read(output), Is.All.Zero);
    }

    [Test]
    public void A_step_reads_its_length_from_device_memory([Values(0, 5, 63, 64, 127, 200)] int before)
    {
        using TestCache cache = TestCache.Random(Gpu, new Random(before), TensorType.BF16, before, 2, 64, 300);
        TestMatrix q = Random(new Random(2), TensorType.F32, 1, 256);
        TestMatrix k = Random(new Random(3), TensorType.F32, 1, 128);
        TestMatrix v = Random(new Random(4), TensorType.F32, 1, 128);
        cache.Store.PrepareStep();
        KvLayer step = cache.Store.StepLayer(0);
        Gpu.Device.RopeStore(default, At(k), At(v), default, step, KvLayer.AtLength);
        Tensor output = Empty(TensorType.BF16, 1, 256);
        Gpu.Device.DecodeAttention(At(q), step, 0.125f, output);
        float[] stepped = Read(output);
        cache.Store.CommitStep();

        Tensor again = Empty(TensorType.BF16, 1, 256);
        Gpu.Device.DecodeAttention(At(q), cache.Store.Layer(0), 0.125f, again);
        Assert.That(stepped, Is.EqualTo(Read(again)), "the same rows, their number given by value");
        float[] stored = cache.Read(before, 1);
        Assert.That(stored[..128], Is.EqualTo(k.Floats().Select(x => Round(x, TensorType.BF16))));
        Assert.That(stored[128..], Is.EqualTo(v.Floats().Select(x => Round(x, TensorType.BF16))));
    }

    [Test]
    public void Rotary_tables([Values(1, 3, 300)] int rows, [Values(8, 36, 64)] int half)
    {
        var random = new Random(rows + half);
        int[] positions = new int[3 * rows];
        for (int i = 0; i < positions.Length; i++)
            positions[i] = i == 0 ? 131071 : random.Next(5000);
        TestMatrix frequencies = Random(random, TensorType.F32, 1, half);
        TestMatrix all = Integers(positions);
        Compare(
            "RotaryTable", TensorType.F32, rows, 2 * half,
            (device, at, output) => device.RotaryTable(at(all) with { Rows = rows, Columns = 3, Stride = 3 }, at(frequencies), output), room: 5);
    }

    [Test]
    public void Rows_are_rotated_and_stored(
        [Values(8, 24, 64, 72, 128)] int headDim, [Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values] bool rotated,
        [Values("qkv", "kv", "q")] string which)
    {
        var random = new Random(headDim);
        int rows = random.Next(1, 80);
        int first = random.Next(0, 70);
        int kvHeads = random.Next(1, 4);
        int group = random.Next(1, 4);
        int width = kvHeads * headDim;
        TestMatrix q = Random(random, TensorType.F32, rows, group * width);
        TestMatrix k = Random(random, TensorType.F32, rows, width);
        TestMatrix v = Random(random, TensorType.F32, rows, width);
        TestMatrix table = Random(random, TensorType.F32, rows, headDim);
        using TestCache cache = new(Gpu, random, type, first + rows, kvHeads, headDim);
        using TestCache truth = new(Gpu, random, type, first + rows, kvHeads, headDim);
        using TestCache naive = new(Gpu, random, type, first + rows, kvHeads, headDim);
        bool queries = which.Contains('q', StringComparison.Ordinal);
        bool stored = which.Contains('k', StringComparison.Ordinal);
        float[] rotatedQ = Compare("q", TensorType.F32, rows, group * width, (device, at, output) =>
            device.RopeStore(
                queries ? output : default, stored ? at(k) : default, stored ? at(v) : default, rotated ? at(table) : default,
                device is CudaDevice ? cache.Store.Layer(0) : device is ReferenceDevice ? truth.Host : naive.Host, first), q, room: 7);
        if (!rotated || !queries)
            Assert.That(rotatedQ, Is.EqualTo(q.Floats()));
        if (!stored)
            return;
        float[] actual = cache.Read(first, rows);
        ErrorBudget.Check(
            "stored", [.. truth.ReadHost(first, rows).Select(x => (double)x)], [.. naive.ReadHost(first, rows).Select(x => Round(x, type))], actual, type);
        for (int i = 0; i < actual.Length; i++)
        {
            if (i % KvStore.Pad(headDim) >= headDim)
                Assert.That(actual[i], Is.Zero, "what a head is padded with");
        }
    }

    [Test]
    public void Kept_keys_move_up([Values(16, 72, 128)] int headDim, [Range(1, 4)] int seed)
    {
        var random = new Random(seed);
        int rows = seed == 1 ? 1300 : random.Next(2, 300);
        int first = seed == 1 ? 3 : random.Next(0, rows);
        double share = seed == 2 ? 1 : random.NextDouble();
        int[] kept = [.. Enumerable.Range(first, rows - first).Where(_ => random.NextDouble() < share)];
        if (kept.Length == 0)
            kept = [rows - 1];
        using TestCache cache = TestCache.Random(Gpu, random, TensorType.F16, rows, 2, headDim);
        float[] before = cache.Read(0, rows);
        Gpu.Device.KeepKeys(cache.Store.Layer(0), At(Integers(kept)), first);
        float[] after = cache.Read(0, rows);
        int stride = before.Length / rows;
        float[] expected = [.. before];
        for (int i = 0; i < kept.Length; i++)
            before.AsSpan(kept[i] * stride, stride).CopyTo(expected.AsSpan((first + i) * stride));
        Assert.That(after, Is.EqualTo(expected));
    }

    private static float Round(float x, TensorType type) => type == TensorType.F16
        ? (float)(Half)x
        : BitConverter.UInt32BitsToSingle((uint)Narrowing.ToBFloat16(x) << 16);
}

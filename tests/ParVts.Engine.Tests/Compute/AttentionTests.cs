using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>Segment and decode attention on random plans, held to the error budget; what a row may depend on, bit for bit.</summary>
public sealed class AttentionTests : IDisposable
{
    private readonly CpuDevice _cpu = new(2);
    private readonly ReferenceDevice _truth = new();
    private readonly NaiveDevice _naive = new();

    [OneTimeTearDown]
    public void Dispose() => _cpu.Dispose();

    [Test]
    public void Random_plans_keep_the_budget([Values(32, 64, 72, 80, 96, 128)] int headDim, [Range(1, 40)] int seed)
    {
        var random = new Random(seed * 1000 + headDim);
        int keys = random.Next(1, 260);
        int rows = random.Next(1, 130);
        int kvHeads = random.Next(1, 3);
        int heads = kvHeads * random.Next(1, 4);
        var plan = new AttentionPlan();
        RandomPlan(plan, random, rows, keys);
        double peak = seed % 2 == 0 ? 1 : 4;
        Compare($"seed {seed}, head size {headDim}, {rows} rows, {keys} keys", random, plan, rows, keys, heads, kvHeads, headDim, peak);
    }

    [Test]
    public void Masks_and_biases_keep_the_budget([Values(32, 128)] int headDim, [Range(1, 20)] int seed)
    {
        var random = new Random(seed);
        int keys = random.Next(100, 260);
        int rows = random.Next(40, 130);
        var plan = new AttentionPlan();
        RandomPlan(plan, random, rows, keys, random);
        Compare($"seed {seed}, head size {headDim}, {rows} rows, {keys} keys", random, plan, rows, keys, 4, 2, headDim, 1);
    }

    [TestCase(1, 0)]
    [TestCase(48, 16)]
    [TestCase(577, 0)]
    [TestCase(641, 0)]
    [TestCase(97, 543)]
    public void Causal_attention_keeps_the_budget(int rows, int cached)
    {
        var plan = new AttentionPlan();
        plan.SetCausal(rows, cached);
        Compare($"{rows} rows after {cached}", new Random(rows), plan, rows, rows + cached, 2, 1, 64, 3);
    }

    [Test]
    public void Decode_attention_keeps_the_budget([Values(1, 5, 63, 64, 65, 700)] int keys, [Values(32, 72, 128)] int headDim)
    {
        var random = new Random(keys);
        using KvStore kv = RandomStore(random, keys, 2, headDim);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, 1, 6 * headDim, 3);
        float scale = 1f / MathF.Sqrt(headDim);
        using var truth = new TestMatrix(TensorType.F64, 1, 6 * headDim);
        using var naive = new TestMatrix(TensorType.F32, 1, 6 * headDim);
        using var actual = new TestMatrix(TensorType.F32, 1, 6 * headDim);
        _truth.DecodeAttention(q.Tensor, kv.Layer(0), scale, truth.Tensor);
        _naive.DecodeAttention(q.Tensor, kv.Layer(0), scale, naive.Tensor);
        _cpu.DecodeAttention(q.Tensor, kv.Layer(0), scale, actual.Tensor);
        ErrorBudget.Check($"{keys} keys", truth.Doubles(), naive.Floats(), actual.Floats());
    }

    [Test]
    public void A_row_is_the_same_bits_whatever_shares_the_call()
    {
        var random = new Random(11);
        using KvStore kv = RandomStore(random, 300, 1, 64);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, 300, 128, 3);
        var plan = new AttentionPlan();
        plan.SetCausal(300, 0);
        float[] whole = Attend(_cpu, kv, q.Tensor, plan);
        using var one = new CpuDevice(1);
        using var three = new CpuDevice(3);
        Assert.That(Attend(one, kv, q.Tensor, plan), Is.EqualTo(whole), "threads");
        Assert.That(Attend(three, kv, q.Tensor, plan), Is.EqualTo(whole), "threads");

        // The same ranges for a part of the rows: the tiles begin elsewhere.
        foreach ((int first, int rows) in new[] { (0, 7), (0, 100), (0, 289) })
        {
            plan.SetCausal(rows, 0);
            Assert.That(Attend(_cpu, kv, q.Tensor.Slice(first, rows), plan), Is.EqualTo(whole[..(rows * 128)]), $"{rows} rows");
        }
    }

    [Test]
    public unsafe void Paths_that_do_not_list_each_other_have_no_influence()
    {
        // [prefix 10 | V_S 20 | q_A 7 | V_R 50 | q_B 7], as ParVTS lays its rows.
        var random = new Random(12);
        using KvStore kv = RandomStore(random, 94, 2, 32);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, 94, 128, 3);
        var plan = new AttentionPlan();
        plan.AddSegment(0, 37);
        plan.AddRange(new KeyRange(0, 37, KeyRule.Diagonal));
        plan.AddSegment(37, 94);
        plan.AddRange(new KeyRange(0, 10, KeyRule.Full));
        plan.AddRange(new KeyRange(37, 94, KeyRule.Diagonal));
        float[] before = Attend(_cpu, kv, q.Tensor, plan);
        for (int row = 37; row < 94; row++)
            kv.Layer(0).Keys(row / 64, 0)[row % 64 * 32] += 5f;
        float[] after = Attend(_cpu, kv, q.Tensor, plan);
        Assert.That(after[..(37 * 128)], Is.EqualTo(before[..(37 * 128)]), "path A");
        Assert.That(after[(37 * 128)..], Is.Not.EqualTo(before[(37 * 128)..]), "path B");
    }

    [Test]
    public void Counted_pairs_are_the_visible_ones([Range(1, 20)] int seed)
    {
        var random = new Random(seed);
        var plan = new AttentionPlan();
        int rows = random.Next(1, 60);
        RandomPlan(plan, random, rows, random.Next(1, 80), random);
        long expected = 0;
        long ofHeads = 0;
        foreach (QuerySegment segment in plan.Segments.ToArray())
        {
            foreach (KeyRange range in plan.RangesOf(segment).ToArray())
            {
                for (int query = 0; query < segment.End - segment.Start; query++)
                    expected += Enumerable.Range(range.Start, range.End - range.Start).Count(key => plan.Sees(range, query, key));
                int heads = Enumerable.Range(0, 3).Count(head => !plan.Skips(range, head));
                for (int query = 0; query < segment.End - segment.Start; query++)
                    ofHeads += heads * Enumerable.Range(range.Start, range.End - range.Start).Count(key => plan.Sees(range, query, key));
            }
        }

        Assert.That(plan.CountPairs(), Is.EqualTo(expected));
        Assert.That(plan.CountPairs(3), Is.EqualTo(ofHeads));
    }

    [Test]
    public void Warm_operations_allocate_nothing()
    {
        var random = new Random(13);
        using KvStore kv = RandomStore(random, 200, 1, 64);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, 200, 128);
        using var output = new TestMatrix(TensorType.F32, 200, 128);
        using TestMatrix weight = TestMatrix.Random(random, TensorType.BF16, 128, 128);
        var plan = new AttentionPlan();
        long before = 0;
        for (int round = 0; round < 3; round++)
        {
            before = GC.GetAllocatedBytesForCurrentThread();
            plan.SetCausal(200, 0);
            _cpu.SegmentAttention(q.Tensor, kv.Layer(0), plan, 0.125f, output.Tensor);
            _cpu.DecodeAttention(q.Tensor.Slice(0, 1), kv.Layer(0), 0.125f, output.Tensor.Slice(0, 1));
            _cpu.MatMul(q.Tensor, weight.Tensor, default, output.Tensor);
            _cpu.MatMul(q.Tensor.Slice(0, 1), weight.Tensor, default, output.Tensor.Slice(0, 1));
            _cpu.GatedActivate(output.Tensor, q.Tensor, Activation.Silu, output.Tensor);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static float[] Attend(CpuDevice device, KvStore kv, in Tensor q, AttentionPlan plan)
    {
        using var output = new TestMatrix(TensorType.F32, q.Rows, q.Columns);
        device.SegmentAttention(q, kv.Layer(0), plan, 0.2f, output.Tensor);
        return output.Floats();
    }

    // Up to three segments with gaps between, each with ranges that do not overlap.
    private static void RandomPlan(AttentionPlan plan, Random random, int rows, int keys, Random? masks = null)
    {
        int headMasks = masks?.Next(3) ?? 0;
        for (int i = 0; i < headMasks; i++)
            plan.AddHeadMask([(uint)masks!.Next(8)]);
        if (masks?.Next(2) == 0)
            plan.SetKeyMask([.. Enumerable.Range(0, (keys + 31) / 32).Select(_ => masks.Next(4) == 0 ? 0u : (uint)masks.NextInt64())]);
        if (masks?.Next(2) == 0)
            plan.SetKeyBias([.. Enumerable.Range(0, keys).Select(_ => MathF.Log(masks.Next(1, 9)))]);
        int row = random.Next(0, Math.Max(1, rows / 3));
        while (row < rows)
        {
            int end = Math.Min(rows, row + random.Next(1, rows + 1));
            plan.AddSegment(row, end);
            int key = random.Next(0, keys);
            while (key < keys)
            {
                int last = Math.Min(keys, key + random.Next(1, keys + 1));
                plan.AddRange(new KeyRange(
                    key, last, (KeyRule)random.Next(3), (ValueRule)random.Next(3), random.Next(keys), 2 * random.Next(3) + 1, random.Next(1, 12),
                    masks?.Next(-1, headMasks) ?? -1));
                key = last + random.Next(0, 9);
            }

            row = end + random.Next(0, 5);
        }
    }

    private static unsafe KvStore RandomStore(Random random, int keys, int kvHeads, int headDim)
    {
        using var device = new CpuDevice(1);
        var kv = new KvStore(device, 1, kvHeads, headDim);
        kv.Reserve(KvNeeds.Uniform(kv.Layers, keys));
        kv.Extend(0, keys);
        using TestMatrix k = TestMatrix.Random(random, TensorType.F32, keys, kvHeads * headDim);
        using TestMatrix v = TestMatrix.Random(random, TensorType.F32, keys, kvHeads * headDim);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, keys, kvHeads * headDim);
        device.RopeStore(q.Tensor, k.Tensor, v.Tensor, default, kv.Layer(0), 0);
        return kv;
    }

    private void Compare(
        string what, Random random, AttentionPlan plan, int rows, int keys, int heads, int kvHeads, int headDim, double peak)
    {
        using KvStore kv = RandomStore(random, keys, kvHeads, headDim);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, rows, heads * headDim, peak);
        float scale = 1f / MathF.Sqrt(headDim);
        using var truth = new TestMatrix(TensorType.F64, rows, heads * headDim);
        using var naive = new TestMatrix(TensorType.F32, rows, heads * headDim);
        using var actual = new TestMatrix(TensorType.F32, rows, heads * headDim);
        using var sumsTruth = new TestMatrix(TensorType.F64, rows, heads);
        using var sumsNaive = new TestMatrix(TensorType.F32, rows, heads);
        using var sumsActual = new TestMatrix(TensorType.F32, rows, heads);
        _truth.SegmentAttention(q.Tensor, kv.Layer(0), plan, scale, truth.Tensor, sumsTruth.Tensor);
        _naive.SegmentAttention(q.Tensor, kv.Layer(0), plan, scale, naive.Tensor, sumsNaive.Tensor);
        long flops = _cpu.Counters.AttentionFlops;
        _cpu.SegmentAttention(q.Tensor, kv.Layer(0), plan, scale, actual.Tensor, sumsActual.Tensor);
        ErrorBudget.Check(what, truth.Doubles(), naive.Floats(), actual.Floats());
        bool[] covered = new bool[rows];
        foreach (QuerySegment segment in plan.Segments)
            covered.AsSpan(segment.Start, segment.End - segment.Start).Fill(true);
        int[] inside = [.. Enumerable.Range(0, rows * heads).Where(i => covered[i / heads])];
        ErrorBudget.Check(
            what + ", log-sum-exp",
            [.. inside.Select(i => sumsTruth.Doubles()[i])], [.. inside.Select(i => sumsNaive.Floats()[i])], [.. inside.Select(i => sumsActual.Floats()[i])]);
        Assert.That(_cpu.Counters.AttentionFlops - flops, Is.EqualTo(4 * headDim * plan.CountPairs(heads)), what);
    }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>The operations that policies need: probes, moved, merged and fused rows, thinned caches; held to the error budget.</summary>
public sealed unsafe class ScheduleOperationTests : IDisposable
{
    private readonly CpuDevice _cpu = new(2);
    private readonly ReferenceDevice _truth = new();
    private readonly NaiveDevice _naive = new();

    [OneTimeTearDown]
    public void Dispose() => _cpu.Dispose();

    [Test]
    public void Probes_are_the_probabilities_of_the_plan([Values] ProbeReduction reduction, [Range(1, 12)] int seed)
    {
        var random = new Random(seed);
        int headDim = new[] { 32, 64, 72, 80, 96, 128 }[seed % 6];
        int kvHeads = random.Next(1, 3);
        int heads = kvHeads * random.Next(1, 4);
        int cached = random.Next(0, 100);
        int rows = random.Next(2, 120);
        var plan = new AttentionPlan();
        int half = rows / 2;
        plan.AddSegment(0, half);
        plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
        plan.AddRange(new KeyRange(cached, cached + half, KeyRule.Diagonal));
        plan.AddSegment(half, rows);
        plan.AddRange(new KeyRange(cached + half, cached + rows, KeyRule.Diagonal));
        using KvStore kv = Store(random, cached + rows, kvHeads, headDim);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, rows, heads * headDim, 2);
        using TestMatrix output = new(TensorType.F32, rows, heads * headDim);
        using TestMatrix lse = new(TensorType.F32, rows, heads);
        float scale = 1f / MathF.Sqrt(headDim);
        _cpu.SegmentAttention(q.Tensor, kv.Layer(0), plan, scale, output.Tensor, lse.Tensor);
        using TestMatrix asked = Indices(half == 0 ? [rows - 1] : [rows - 1, 0, half - 1]);
        int n = asked.Tensor.Columns;
        int lines = reduction switch { ProbeReduction.Heads => n, ProbeReduction.Rows => heads, _ => 1 };
        float[] actual = Compare($"seed {seed}", null, lines, cached + rows, (device, result) =>
            device.Probe(q.Tensor, kv.Layer(0), plan, scale, lse.Tensor, asked.Tensor, reduction, result));
        for (int line = 0; line < lines; line++)
        {
            Assert.That(
                actual.Skip(line * (cached + rows)).Take(cached + rows).Sum(p => (double)p), Is.EqualTo(1).Within(1e-5),
                "probabilities of a line sum to one");
        }
    }

    [Test]
    public void Rows_are_gathered_in_any_order()
    {
        var random = new Random(1);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 9, 37);
        int[] order = [8, 0, 3, 3, 1];
        using TestMatrix rows = Indices(order);
        using TestMatrix output = new(TensorType.F32, 5, 37);
        _cpu.GatherRows(x.Tensor, rows.Tensor, output.Tensor);
        float[] source = x.Floats();
        Assert.That(output.Floats(), Is.EqualTo(order.SelectMany(row => source[(row * 37)..((row + 1) * 37)])));
    }

    [Test]
    public void Rows_are_scattered_and_the_others_stay()
    {
        var random = new Random(1);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 2, 19);
        using TestMatrix all = TestMatrix.Random(random, TensorType.F32, 4, 19);
        using TestMatrix rows = Indices([3, 1]);
        float[] before = all.Floats();
        float[] moved = x.Floats();
        _cpu.ScatterRows(x.Tensor, rows.Tensor, all.Tensor);
        Assert.That(all.Floats(), Is.EqualTo(before[..19].Concat(moved[19..]).Concat(before[38..57]).Concat(moved[..19])));
    }

    [Test]
    public void Rows_merge_by_weights([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 20, 51);
        int[] counts = [3, .. Enumerable.Range(0, 6).Select(_ => random.Next(0, 5))];
        using TestMatrix offsets = Indices([.. Enumerable.Range(0, 8).Select(i => counts[..i].Sum())]);
        using TestMatrix sources = Indices([.. Enumerable.Range(0, counts.Sum()).Select(_ => random.Next(20))]);
        using TestMatrix weights = TestMatrix.Random(random, TensorType.F32, 1, sources.Tensor.Columns);
        Compare($"seed {seed}", null, 7, 51, (device, result) =>
            device.MergeRows(x.Tensor, offsets.Tensor, sources.Tensor, weights.Tensor, result));
    }

    [Test]
    public void Paths_fuse_row_by_row_and_leave_the_others_alone([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, 12, 33);
        using TestMatrix first = Indices([1, 4, 5]);
        using TestMatrix second = Indices([7, 9, 8]);
        using var weights = new TestMatrix(TensorType.F32, 1, 3);
        new float[] { 1, (float)random.NextDouble(), 0 }.CopyTo(new Span<float>((void*)weights.Tensor.Address, 3));
        float[] before = x.Floats();
        float[] after = Compare($"seed {seed}", x, 12, 33, (device, rows) => device.FusePaths(rows, first.Tensor, second.Tensor, weights.Tensor));
        foreach (int row in new[] { 0, 1, 2, 3, 6, 7, 8, 9, 10, 11 })
            Assert.That(after[(row * 33)..((row + 1) * 33)], Is.EqualTo(before[(row * 33)..((row + 1) * 33)]), $"row {row}");
        Assert.That(after[(5 * 33)..(6 * 33)], Is.EqualTo(before[(8 * 33)..(9 * 33)]), "a weight of 0 takes the other's bits");
    }

    [Test]
    public void Path_weights_follow_the_log_sum_exp()
    {
        using var lse = new TestMatrix(TensorType.F32, 4, 2);
        new[] { 3f, -50f, 1f, 2f, float.NegativeInfinity, float.NegativeInfinity, float.NegativeInfinity, 0f }
            .CopyTo(new Span<float>((void*)lse.Tensor.Address, 8));
        using TestMatrix first = Indices([0, 2, 1, 2]);
        using TestMatrix second = Indices([1, 1, 2, 3]);
        float[] weights = Compare("weights", null, 1, 4, (device, result) => device.PathWeights(lse.Tensor, first.Tensor, second.Tensor, result));
        Assert.That(weights[0], Is.EqualTo(1 / (1 + Math.Exp(-2)) / 2).Within(1e-6), "by hand");
        Assert.That(weights[1], Is.Zero, "a path that saw nothing weighs nothing");
        Assert.That(weights[2], Is.EqualTo(1));
        Assert.That(weights[3], Is.EqualTo(0.25f), "where neither saw anything: one half");
    }

    [Test]
    public void A_thinned_cache_holds_the_rows_that_stayed()
    {
        var random = new Random(2);
        using KvStore kv = Store(random, 150, 2, 40);
        KvLayer layer = kv.Layer(0);
        int[] kept = [0, 2, 3, 63, 64, 66, 127, 128, 149];
        var expected = new List<(float[] Keys, float[] Values)>();
        foreach (int row in kept)
            expected.Add((Read(layer.Keys(row / 64, 1), row), Read(layer.Values(row / 64, 1), row)));
        using TestMatrix rows = Indices(kept);
        _cpu.KeepKeys(layer, rows.Tensor);
        for (int i = 0; i < kept.Length; i++)
        {
            Assert.That(Read(layer.Keys(0, 1), i), Is.EqualTo(expected[i].Keys));
            Assert.That(Read(layer.Values(0, 1), i), Is.EqualTo(expected[i].Values));
        }

        float[] Read(float* page, int row) => new ReadOnlySpan<float>(page + row % 64 * layer.PaddedHeadDim, layer.PaddedHeadDim).ToArray();
    }

    [Test]
    public void Row_numbers_that_are_not_there_are_refused()
    {
        using TestMatrix x = TestMatrix.Random(new Random(1), TensorType.F32, 3, 4);
        using TestMatrix bad = Indices([3]);
        using TestMatrix good = Indices([0]);
        using TestMatrix output = new(TensorType.F32, 1, 4);
        using TestMatrix weight = TestMatrix.Random(new Random(1), TensorType.F32, 1, 1);
        Assert.That(() => _cpu.GatherRows(x.Tensor, bad.Tensor, output.Tensor), Throws.ArgumentException);
        Assert.That(() => _cpu.FusePaths(x.Tensor, good.Tensor, bad.Tensor, weight.Tensor), Throws.ArgumentException);
        Assert.That(() => _cpu.PathWeights(x.Tensor, bad.Tensor, good.Tensor, weight.Tensor), Throws.ArgumentException);
    }

    [Test]
    public void Attention_counts_the_pairs_that_it_saw([Range(1, 20)] int seed)
    {
        var random = new Random(seed);
        int rows = random.Next(1, 150);
        int keys = rows + random.Next(0, 90);
        var plan = new AttentionPlan();
        if (seed % 2 == 0)
        {
            plan.SetCausal(rows, keys - rows);
        }
        else
        {
            plan.AddSegment(0, rows);
            plan.AddRange(new KeyRange(0, keys / 2, KeyRule.Window, Window: 3, GridWidth: 5));
            plan.AddRange(new KeyRange(keys / 2, keys, KeyRule.Diagonal, ValueRule.None));
        }

        using KvStore kv = Store(random, keys, 1, 32);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, rows, 96);
        using TestMatrix output = new(TensorType.F32, rows, 96);
        long before = _cpu.Counters.AttentionFlops;
        _cpu.SegmentAttention(q.Tensor, kv.Layer(0), plan, 1, output.Tensor);
        Assert.That(_cpu.Counters.AttentionFlops - before, Is.EqualTo(4L * 96 * plan.CountPairs()));
    }

    private float[] Compare(string what, TestMatrix? start, int rows, int columns, Action<ComputeDevice, Tensor> run)
    {
        using TestMatrix truth = start?.As(TensorType.F64) ?? new TestMatrix(TensorType.F64, rows, columns);
        using TestMatrix naive = start?.As(TensorType.F32) ?? new TestMatrix(TensorType.F32, rows, columns);
        using TestMatrix actual = start?.As(TensorType.F32) ?? new TestMatrix(TensorType.F32, rows, columns);
        run(_truth, truth.Tensor);
        run(_naive, naive.Tensor);
        run(_cpu, actual.Tensor);
        ErrorBudget.Check(what, truth.Doubles(), naive.Floats(), actual.Floats());
        return actual.Floats();
    }

    private static TestMatrix Indices(int[] values)
    {
        var matrix = new TestMatrix(TensorType.I32, 1, values.Length);
        values.CopyTo(new Span<int>((void*)matrix.Tensor.Address, values.Length));
        return matrix;
    }

    private KvStore Store(Random random, int keys, int heads, int headDim)
    {
        var kv = new KvStore(_cpu, 1, heads, headDim);
        kv.Reserve(KvNeeds.Uniform(1, keys));
        kv.Extend(0, keys);
        using TestMatrix q = TestMatrix.Random(random, TensorType.F32, keys, heads * headDim);
        using TestMatrix k = TestMatrix.Random(random, TensorType.F32, keys, heads * headDim, 2);
        using TestMatrix v = TestMatrix.Random(random, TensorType.F32, keys, heads * headDim);
        _cpu.RopeStore(q.Tensor, k.Tensor, v.Tensor, default, kv.Layer(0), 0);
        return kv;
    }
}

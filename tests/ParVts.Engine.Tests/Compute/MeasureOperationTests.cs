using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>What policies measure, and how it is read; held to the error budget.</summary>
public sealed unsafe class MeasureOperationTests : IDisposable
{
    private readonly CpuDevice _cpu = new(2);
    private readonly ReferenceDevice _truth = new();
    private readonly NaiveDevice _naive = new();

    [OneTimeTearDown]
    public void Dispose() => _cpu.Dispose();

    [Test]
    public void Similarities_are_products_and_cosines([Range(1, 10)] int seed, [Values] bool cosine)
    {
        var random = new Random(seed);
        (int n, int m, int columns) = seed switch
        {
            1 => (1, 1, 1),
            2 => (8, 576, 1024),
            3 => (300, 3, 64),
            _ => (random.Next(1, 140), random.Next(1, 140), random.Next(1, 300)),
        };
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, n, columns, Math.Pow(10, random.Next(-3, 3)));
        using TestMatrix y = TestMatrix.Random(random, TensorType.F32, m, columns);
        Clear(x, n / 2);
        Clear(y, m - 1);
        float[] actual = Compare($"seed {seed}", n, m, (device, result) => device.Similarity(x.Tensor, y.Tensor, cosine, result));
        Assert.That(Enumerable.Range(0, n).Select(i => actual[i * m + m - 1]), Is.All.Zero, "nothing is like a row of zeros");
        Assert.That(actual[(n / 2 * m)..((n / 2 + 1) * m)], Is.All.Zero, "a row of zeros is like nothing");
        if (cosine)
            Assert.That(actual, Is.All.InRange(-1.00001f, 1.00001f));
    }

    [Test]
    public void A_row_is_like_itself()
    {
        using TestMatrix x = TestMatrix.Random(new Random(1), TensorType.F32, 70, 50);
        float[] cosines = Compare("itself", 70, 70, (device, result) => device.Similarity(x.Tensor, x.Tensor, cosine: true, result));
        Assert.That(Enumerable.Range(0, 70).Select(i => cosines[i * 71]), Is.All.EqualTo(1f).Within(1e-6f));
    }

    [Test]
    public void Heads_are_averaged([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        (int rows, int heads, int width) = (random.Next(1, 40), seed == 1 ? 1 : random.Next(2, 33), random.Next(1, 90));
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, heads * width);
        float[] actual = Compare($"seed {seed}", rows, width, (device, result) => device.MeanHeads(x.Tensor, result));
        float[] values = x.Floats();
        Assert.That(actual[^1], Is.EqualTo(Enumerable.Range(1, heads).Average(head => (double)values[^(1 + (heads - head) * width)])).Within(1e-5), "by hand");
    }

    [Test]
    public void Sizes_of_rows([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        (int rows, int columns) = (random.Next(1, 30), seed == 1 ? 4096 : random.Next(1, 500));
        using TestMatrix x = TestMatrix.Random(random, TensorType.F32, rows, columns, Math.Pow(10, random.Next(-3, 3)));
        Compare($"seed {seed}", 1, rows, (device, result) => device.AbsoluteSums(x.Tensor, result));
    }

    [Test]
    public void Keys_are_read_as_they_are_stored([Values(32, 40, 72, 128)] int headDim, [Values(1, 3)] int kvHeads)
    {
        var random = new Random(headDim);
        using KvStore kv = Store(random, 150, kvHeads, headDim, out TestMatrix keys);
        using (keys)
        {
            float[] stored = keys.Floats();
            foreach ((int first, int count) in ((int, int)[])[(0, 150), (63, 2), (149, 1)])
            {
                float[] actual = Compare($"from {first}", count, kvHeads * headDim, (device, result) => device.ReadKeys(kv.Layer(0), first, result));
                Assert.That(actual, Is.EqualTo(stored.AsSpan(first * kvHeads * headDim, actual.Length).ToArray()), $"from {first}");
            }
        }
    }

    [Test]
    public void A_probe_before_attention_makes_its_own_sums([Values] ProbeReduction reduction, [Range(1, 8)] int seed)
    {
        using Case probed = Make(seed);
        int lines = reduction switch { ProbeReduction.Heads => probed.Asked.Tensor.Columns, ProbeReduction.Rows => probed.Heads, _ => 1 };
        float[] actual = Compare($"seed {seed}", lines, probed.Keys, (device, result) =>
            device.PreProbe(probed.Q.Tensor, probed.Layer, probed.Plan, probed.Scale, probed.Asked.Tensor, reduction, result));

        // The rows that are asked for all see something, so probabilities add up to 1; masked keys have none.
        for (int line = 0; line < lines; line++)
            Assert.That(actual.Skip(line * probed.Keys).Take(probed.Keys).Sum(p => (double)p), Is.EqualTo(1).Within(1e-5));
        if (seed % 2 == 0)
            Assert.That(Enumerable.Range(0, actual.Length).Where(i => i % probed.Keys % 5 == 3).Select(i => actual[i]), Is.All.Zero);
    }

    [Test]
    public void Value_probes_are_the_sums_of_the_closed_form([Range(1, 8)] int seed)
    {
        using Case probed = Make(seed);
        int n = probed.Asked.Tensor.Columns;
        using var output = new TestMatrix(TensorType.F32, probed.Rows, probed.Q.Tensor.Columns);
        using var sums = new TestMatrix(TensorType.F32, probed.Rows, probed.Heads);
        using var attended = new TestMatrix(TensorType.F32, n, probed.Q.Tensor.Columns);
        _cpu.SegmentAttention(probed.Q.Tensor, probed.Layer, probed.Plan, probed.Scale, output.Tensor, sums.Tensor);
        _cpu.GatherRows(output.Tensor, probed.Asked.Tensor, attended.Tensor);
        float[] lines = Compare($"seed {seed}", 2 * n + 1, probed.Keys, (device, result) => device.ValueProbe(
            probed.Q.Tensor, attended.Tensor, probed.Layer, probed.Plan, probed.Scale, sums.Tensor, probed.Asked.Tensor, result.Slice(0, 2 * n),
            new Tensor(result.Slice(2 * n, 1).Address, result.Type, 1, n)), defined: 2 * n * probed.Keys + n);

        // O is Σ p·v: its projections on all of them are ‖O‖².
        for (int i = 0; i < n; i++)
        {
            float square = lines[2 * n * probed.Keys + i];
            Assert.That(lines.Skip(2 * i * probed.Keys).Take(probed.Keys).Sum(a => (double)a), Is.EqualTo(square).Within(1e-4 * square));
        }
    }

    [Test]
    public void A_readback_is_of_the_moment_when_it_was_begun()
    {
        using TestMatrix source = TestMatrix.Random(new Random(1), TensorType.F32, 1, 100);
        float[] before = source.Floats();
        using Readback readback = _cpu.CreateReadback(400);
        readback.Begin(source.Tensor);
        Clear(source, 0);
        float[] read = new float[100];
        readback.Finish<float>(read);
        Assert.That(read, Is.EqualTo(before));
        readback.Begin(source.Tensor with { Columns = 7, Stride = 7 });
        readback.Finish(read.AsSpan(0, 7));
        Assert.That(read, Is.EqualTo(before.Select((value, i) => i < 7 ? 0 : value)), "used again, for fewer");
        using var larger = new TestMatrix(TensorType.F32, 1, 101);
        Assert.That(() => readback.Begin(larger.Tensor), Throws.ArgumentException);
    }

    [Test]
    public void What_does_not_fit_is_refused()
    {
        using TestMatrix x = TestMatrix.Random(new Random(1), TensorType.F32, 3, 8);
        using TestMatrix narrow = TestMatrix.Random(new Random(1), TensorType.BF16, 3, 8);
        using var output = new TestMatrix(TensorType.F32, 8, 64);
        using KvStore kv = Store(new Random(1), 10, 2, 32, out TestMatrix keys);
        keys.Dispose();
        Tensor Output(int rows, int columns) => output.Tensor with { Rows = rows, Columns = columns };
        Assert.Multiple(() =>
        {
            Assert.That(() => _cpu.Similarity(x.Tensor, x.Tensor, true, Output(3, 2)), Throws.ArgumentException);
            Assert.That(() => _cpu.Similarity(x.Tensor, x.Tensor with { Columns = 7 }, true, Output(3, 3)), Throws.ArgumentException);
            Assert.That(() => _cpu.Similarity(x.Tensor, narrow.Tensor, true, Output(3, 3)), Throws.ArgumentException);
            Assert.That(() => _cpu.MeanHeads(x.Tensor, Output(3, 3)), Throws.ArgumentException);
            Assert.That(() => _cpu.MeanHeads(narrow.Tensor, Output(3, 4)), Throws.ArgumentException);
            Assert.That(() => _cpu.AbsoluteSums(x.Tensor, Output(1, 2)), Throws.ArgumentException);
            Assert.That(() => _cpu.AbsoluteSums(narrow.Tensor, Output(1, 3)), Throws.ArgumentException);
            Assert.That(() => _cpu.ReadKeys(kv.Layer(0), 0, Output(3, 32)), Throws.ArgumentException);
            Assert.That(() => _cpu.ReadKeys(kv.Layer(0), 8, Output(3, 64)), Throws.ArgumentException);
        });
    }

    // The first `defined` elements of the results, or all.
    private float[] Compare(string what, int rows, int columns, Action<ComputeDevice, Tensor> run, int? defined = null)
    {
        using var truth = new TestMatrix(TensorType.F64, rows, columns);
        using var naive = new TestMatrix(TensorType.F32, rows, columns);
        using var actual = new TestMatrix(TensorType.F32, rows, columns);
        run(_truth, truth.Tensor);
        run(_naive, naive.Tensor);
        run(_cpu, actual.Tensor);
        Range all = ..(defined ?? rows * columns);
        ErrorBudget.Check(what, truth.Doubles()[all], naive.Floats()[all], actual.Floats()[all]);
        return actual.Floats();
    }

    // Cached keys and two segments of rows, or, of even seeds, with a mask, biases, and heads that leave out a range.
    private Case Make(int seed)
    {
        var random = new Random(seed);
        int headDim = new[] { 32, 64, 72, 80, 96, 128 }[seed % 6];
        int kvHeads = random.Next(1, 3);
        int heads = kvHeads * random.Next(1, 4);
        int cached = random.Next(1, 100);
        int rows = random.Next(10, 120);
        int keys = cached + rows;
        int half = rows / 2;
        var plan = new AttentionPlan();
        plan.AddSegment(0, half);
        plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
        plan.AddRange(new KeyRange(cached, cached + half, KeyRule.Diagonal));
        plan.AddSegment(half, rows);
        if (seed % 2 == 0)
        {
            uint[] mask = new uint[(keys + 31) / 32];
            for (int key = 0; key < keys; key++)
                mask[key / 32] |= key % 5 == 3 ? 0 : 1u << (key % 32);
            plan.SetKeyMask(mask);
            plan.SetKeyBias([.. Enumerable.Range(0, keys).Select(_ => random.NextSingle())]);
            plan.AddRange(new KeyRange(0, cached, KeyRule.Full, Heads: plan.AddHeadMask([0b101])));
        }

        plan.AddRange(new KeyRange(cached + half, keys, KeyRule.Diagonal));
        KvStore kv = Store(random, keys, kvHeads, headDim, out TestMatrix stored);
        stored.Dispose();
        return new Case(kv, plan, TestMatrix.Random(random, TensorType.F32, rows, heads * headDim), Indices([rows - 1, rows / 2 + 2, half - 1]), heads, keys);
    }

    private KvStore Store(Random random, int rows, int heads, int headDim, out TestMatrix keys)
    {
        var kv = new KvStore(_cpu, 1, heads, headDim);
        kv.Reserve(KvNeeds.Uniform(1, rows));
        kv.Extend(0, rows);
        keys = TestMatrix.Random(random, TensorType.F32, rows, heads * headDim, 2);
        using TestMatrix values = TestMatrix.Random(random, TensorType.F32, rows, heads * headDim);
        _cpu.RopeStore(default, keys.Tensor, values.Tensor, default, kv.Layer(0), 0);
        return kv;
    }

    private static TestMatrix Indices(int[] values)
    {
        var matrix = new TestMatrix(TensorType.I32, 1, values.Length);
        values.CopyTo(new Span<int>((void*)matrix.Tensor.Address, values.Length));
        return matrix;
    }

    private static void Clear(TestMatrix matrix, int row) =>
        new Span<float>((float*)matrix.Tensor.Address + row * matrix.Tensor.Columns, matrix.Tensor.Columns).Clear();

    private sealed record Case(KvStore Kv, AttentionPlan Plan, TestMatrix Q, TestMatrix Asked, int Heads, int Keys) : IDisposable
    {
        public KvLayer Layer => Kv.Layer(0);

        public int Rows => Q.Tensor.Rows;

        public float Scale => 1f / MathF.Sqrt(Layer.HeadDim);

        public void Dispose()
        {
            Kv.Dispose();
            Q.Dispose();
            Asked.Dispose();
        }
    }
}

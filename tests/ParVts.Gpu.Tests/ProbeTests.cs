using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>Probabilities of named rows, reduced on the device (contract S4).</summary>
internal sealed class ProbeTests : DeviceTest
{
    private const int Rows = 90;

    [Test]
    public void Probes_are_the_plans_probabilities(
        [Values] ProbeReduction reduction, [Range(1, 6)] int seed, [Values(TensorType.BF16, TensorType.F16)] TensorType type, [Values] bool entry)
    {
        using Case probed = Make(seed, type);
        int[] rows = seed switch
        {
            1 => [Rows - 1],
            2 => [.. Enumerable.Range(0, Rows)],
            _ => [.. Enumerable.Range(0, Rows).Where(_ => probed.Random.Next(5) == 0).Append(3)],
        };
        TestMatrix named = Integers(rows);
        int lines = reduction switch { ProbeReduction.Heads => rows.Length, ProbeReduction.Rows => probed.Heads, _ => 1 };
        float[] actual = Compare($"{reduction} {seed}", TensorType.F32, lines, probed.Keys, (device, at, output) =>
        {
            if (entry && device is CudaDevice cuda)
                cuda.PreProbe(at(probed.Q), probed.Layer(device), probed.Plan, probed.Scale, at(named), reduction, output);
            else
                device.Probe(at(probed.Q), probed.Layer(device), probed.Plan, probed.Scale, at(probed.LogSumExp), at(named), reduction, output);
        }, room: 5);

        double seeing = rows.Sum(row => Enumerable.Range(0, probed.Heads).Count(head => Enumerable.Range(0, probed.Keys).Any(key => Sees(probed.Plan, row, head, key))));
        Assert.That(seeing, Is.Positive);
        double expected = seeing / (reduction switch { ProbeReduction.Heads => probed.Heads, ProbeReduction.Rows => rows.Length, _ => probed.Heads * rows.Length });
        Assert.That(actual.Sum(x => (double)x), Is.EqualTo(expected).Within(1e-4 * expected), "probabilities add up to 1");
        for (int i = 0; i < actual.Length; i++)
        {
            (int line, int key) = (i / probed.Keys, i % probed.Keys);
            IEnumerable<int> itsRows = reduction == ProbeReduction.Heads ? [rows[line]] : rows;
            IEnumerable<int> itsHeads = reduction == ProbeReduction.Rows ? [line] : Enumerable.Range(0, probed.Heads);
            if (!itsRows.Any(row => itsHeads.Any(head => Sees(probed.Plan, row, head, key))))
                Assert.That(actual[i], Is.Zero, $"nobody sees key {key}");
        }
    }

    [Test]
    public void A_rows_probe_does_not_depend_on_the_rows_beside_it()
    {
        using Case probed = Make(4, TensorType.BF16);
        int[] rows = [.. Enumerable.Range(0, Rows)];
        float[] all = Probe(probed, rows);
        foreach (int row in new[] { 0, 40, Rows - 1 })
            Assert.That(Probe(probed, [row]), Is.EqualTo(all[(row * probed.Keys)..((row + 1) * probed.Keys)]));
    }

    [Test]
    public void Value_probes_are_the_sums_of_the_closed_form([Range(1, 6)] int seed, [Values(TensorType.BF16, TensorType.F16)] TensorType type)
    {
        using Case probed = Make(seed, type);
        int[] rows = seed == 1 ? [Rows - 1] : [Rows - 1, 17, 0];
        TestMatrix named = Integers(rows);
        TestMatrix attended = Random(probed.Random, TensorType.F32, rows.Length, probed.Q.Tensor.Columns);
        Tensor sums = Empty(TensorType.F32, 2 * rows.Length, probed.Keys, 3);
        Tensor squares = Empty(TensorType.F32, 1, rows.Length);
        Gpu.Device.ValueProbe(
            At(probed.Q), At(attended), probed.Layer(Gpu.Device), probed.Plan, probed.Scale, At(probed.LogSumExp), At(named), sums, squares);
        (double[] truth, double[] trueSquares) = ValueSums<double>(probed, attended, rows);
        (float[] naive, float[] naiveSquares) = ValueSums<float>(probed, attended, rows);
        ErrorBudget.Check("A and B", truth, naive, Read(sums));
        ErrorBudget.Check("S", trueSquares, naiveSquares, Read(squares));
    }

    [Test]
    public void A_probe_that_does_not_fit_is_refused()
    {
        using Case probed = Make(1, TensorType.BF16);
        Tensor rows = At(Integers(0));
        Assert.That(
            () => Gpu.Device.Probe(
                At(probed.Q), probed.Layer(Gpu.Device), probed.Plan, 1f, At(probed.LogSumExp), rows, ProbeReduction.Heads,
                Empty(TensorType.F32, 1, probed.Keys - 1)),
            Throws.ArgumentException);
        probed.Plan.AddRange(new KeyRange(0, probed.Keys + 1, KeyRule.Full));
        Assert.That(
            () => Gpu.Device.Probe(
                At(probed.Q), probed.Layer(Gpu.Device), probed.Plan, 1f, At(probed.LogSumExp), rows, ProbeReduction.Heads,
                Empty(TensorType.F32, 1, probed.Keys)),
            Throws.ArgumentException);
    }

    private float[] Probe(Case probed, int[] rows)
    {
        Tensor output = Empty(TensorType.F32, rows.Length, probed.Keys);
        Gpu.Device.Probe(
            At(probed.Q), probed.Layer(Gpu.Device), probed.Plan, probed.Scale, At(probed.LogSumExp), At(Integers(rows)), ProbeReduction.Heads, output);
        return Read(output);
    }

    // Queries, a layer, a plan over both, and the log-sum-exp of its softmax.
    private Case Make(int seed, TensorType type)
    {
        var random = new Random(seed);
        (int headDim, int kvHeads, int group) = seed switch
        {
            1 => (64, 2, 1),
            2 => (16, 1, 3),
            3 => (128, 1, 7),
            4 => (72, 3, 2),
            5 => (80, 2, 5),
            _ => (32, 1, 1),
        };
        int cached = random.Next(0, 140);
        int last = cached + Rows - (seed > 3 ? 1 : 0);
        var plan = new AttentionPlan();
        switch (seed % 3)
        {
            case 0:
                plan.AddSegment(0, Rows);
                plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
                plan.AddRange(new KeyRange(cached, last, KeyRule.Diagonal));
                break;
            case 1:
                // A prefix, then two paths that share it and nothing else; the last row sees one of them.
                plan.AddSegment(0, 10);
                plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
                plan.AddRange(new KeyRange(cached, cached + 10, KeyRule.Diagonal));
                plan.AddSegment(10, 40);
                plan.AddRange(new KeyRange(0, cached + 10, KeyRule.Full));
                plan.AddRange(new KeyRange(cached + 10, cached + 40, KeyRule.Diagonal));
                plan.AddSegment(40, Rows);
                plan.AddRange(new KeyRange(0, cached + 10, KeyRule.Full));
                plan.AddRange(new KeyRange(cached + 40, last, KeyRule.Diagonal));
                break;
            default:
                // A grid with windows behind cached keys; rows that see nothing; a question.
                plan.AddSegment(0, 63);
                plan.AddRange(new KeyRange(0, Math.Min(cached, 5), KeyRule.Full));
                plan.AddRange(new KeyRange(cached, cached + 63, KeyRule.Window, Window: 5, GridWidth: 9));
                plan.AddSegment(70, Rows);
                plan.AddRange(new KeyRange(cached + 70, last, KeyRule.Diagonal));
                break;
        }

        int heads = kvHeads * group;
        if (seed > 3)
            Mask(plan, random, cached + Rows, heads);
        TestMatrix q = Random(random, TensorType.F32, Rows, heads * headDim, 2);
        TestCache cache = TestCache.Random(Gpu, random, type, cached + Rows, kvHeads, headDim);
        TestMatrix logSumExp = Random(random, TensorType.F32, Rows, heads);
        using (var output = new TestMatrix(TensorType.F64, Rows, heads * headDim))
        using (var truth = new ReferenceDevice())
            truth.SegmentAttention(q.Tensor, cache.Host, plan, 1f / MathF.Sqrt(headDim), output.Tensor, logSumExp.Tensor);
        return new Case(random, cache, plan, q, logSumExp, heads, cached + Rows);
    }

    private static (T[] Sums, T[] Squares) ValueSums<T>(Case probed, TestMatrix attended, int[] rows)
        where T : unmanaged, System.Numerics.IFloatingPointIeee754<T>
    {
        KvLayer layer = probed.Layer(null);
        float[] q = probed.Q.Floats();
        float[] o = attended.Floats();
        float[] lse = probed.LogSumExp.Floats();
        int columns = probed.Q.Tensor.Columns;
        var sums = new T[2 * rows.Length * probed.Keys];
        var squares = new T[rows.Length];
        for (int i = 0; i < rows.Length; i++)
        {
            foreach (float x in o.AsSpan(i * columns, columns))
                squares[i] += T.CreateChecked(x) * T.CreateChecked(x);
            for (int key = 0; key < probed.Keys; key++)
            {
                for (int head = 0; head < probed.Heads; head++)
                {
                    if (!Sees(probed.Plan, rows[i], head, key))
                        continue;
                    T score = T.Zero;
                    T projection = T.Zero;
                    T length = T.Zero;
                    for (int d = 0; d < layer.HeadDim; d++)
                    {
                        (T k, T v) = Stored<T>(layer, key, head / (probed.Heads / layer.Heads), d);
                        score += T.CreateChecked(q[rows[i] * columns + head * layer.HeadDim + d]) * k;
                        projection += T.CreateChecked(o[i * columns + head * layer.HeadDim + d]) * v;
                        length += v * v;
                    }

                    T bias = probed.Plan.KeyBias.IsEmpty ? T.Zero : T.CreateChecked(probed.Plan.KeyBias[key]);
                    T p = T.Exp(score * T.CreateChecked(probed.Scale) + bias - T.CreateChecked(lse[rows[i] * probed.Heads + head]));
                    sums[2 * i * probed.Keys + key] += p * projection;
                    sums[(2 * i + 1) * probed.Keys + key] += p * p * length;
                }
            }
        }

        return (sums, squares);
    }

    private static unsafe (T Key, T Value) Stored<T>(in KvLayer layer, int key, int kvHead, int d)
        where T : System.Numerics.INumber<T>
    {
        int place = key % KvStore.PageRows * layer.PaddedHeadDim + d;
        return (T.CreateChecked(layer.Keys(key / KvStore.PageRows, kvHead)[place]), T.CreateChecked(layer.Values(key / KvStore.PageRows, kvHead)[place]));
    }

    private static bool Sees(AttentionPlan plan, int row, int head, int key)
    {
        foreach (QuerySegment segment in plan.Segments)
        {
            foreach (KeyRange range in plan.RangesOf(segment))
            {
                if (row >= segment.Start && row < segment.End && !plan.Skips(range, head) && plan.Sees(range, row - segment.Start, key))
                    return true;
            }
        }

        return false;
    }

    // Every fifth key is not there, every key has a bias, and some heads leave out a range of the last segment.
    private static void Mask(AttentionPlan plan, Random random, int keys, int heads)
    {
        uint[] mask = new uint[(keys + 31) / 32];
        for (int key = 0; key < keys; key++)
            mask[key / 32] |= key % 5 == 3 ? 0 : 1u << (key % 32);
        plan.SetKeyMask(mask);
        plan.SetKeyBias([.. Enumerable.Range(0, keys).Select(_ => random.NextSingle())]);
        uint[] skipping = new uint[(heads + 31) / 32];
        skipping[0] = 0b101;
        int number = plan.AddHeadMask(skipping);
        plan.AddRange(new KeyRange(keys - 1, keys, KeyRule.Full, Heads: number));
    }

    private sealed record Case(
        Random Random, TestCache Cache, AttentionPlan Plan, TestMatrix Q, TestMatrix LogSumExp, int Heads, int Keys) : IDisposable
    {
        public float Scale => 1f / MathF.Sqrt(Cache.HeadDim);

        public KvLayer Layer(ComputeDevice? device) => device is null ? Cache.Host : Cache.On(device);

        public void Dispose() => Cache.Dispose();
    }
}

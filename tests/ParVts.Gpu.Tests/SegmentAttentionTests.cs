using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;
using ParVts.GpuSim;

namespace ParVts.Gpu.Tests;

/// <summary>Segment attention: held to the error budget, to what is visible, and bit for bit to what a row may depend on.</summary>
internal sealed class SegmentAttentionTests : DeviceTest
{
    private static readonly AttentionShape s_small = new(64, 2, 1, TensorType.BF16);

    [Test]
    public void Random_plans_keep_the_budget(
        [Values(16, 32, 48, 64, 72, 80, 96, 128, 160)] int headDim, [Values(TensorType.BF16, TensorType.F16)] TensorType type, [Range(1, 6)] int seed)
    {
        var random = new Random(seed * 1000 + headDim + (int)type);
        int kvHeads = random.Next(1, 3);
        var shape = new AttentionShape(headDim, kvHeads * random.Next(1, 4), kvHeads, type);
        using var attention = new DeviceAttention(Gpu, random, shape, random.Next(1, 150), random.Next(1, 260), seed % 2 == 0 ? 1 : 4);
        var plan = new AttentionPlan();
        RandomPlan(plan, random, attention);
        Compare(attention, plan, $"seed {seed}, {shape}, {attention.Rows} rows, {attention.KeyCount} keys");
    }

    [TestCase(1, 0)]
    [TestCase(64, 0)]
    [TestCase(65, 64)]
    [TestCase(97, 543)]
    public void Causal_attention_keeps_the_budget(int rows, int cached)
    {
        using var attention = new DeviceAttention(Gpu, new Random(rows), s_small, rows, rows + cached, 3);
        var plan = new AttentionPlan();
        plan.SetCausal(rows, cached);
        Compare(attention, plan, $"{rows} rows after {cached}");
    }

    [Test]
    public void Every_visible_key_counts_and_no_other([Range(1, 20)] int seed)
    {
        // Queries of 0 make all scores equal: the log-sum-exp is the log of the count, the result the mean of the values.
        var random = new Random(seed);
        using var attention = new DeviceAttention(Gpu, random, s_small with { HeadDim = 16 }, random.Next(1, 150), random.Next(1, 260));
        Array.Clear(attention.Queries);
        var plan = new AttentionPlan();
        RandomPlan(plan, random, attention, bias: false);
        AttentionResult result = attention.Run(plan);
        long[] expected = new long[attention.Rows * attention.Shape.Heads];
        foreach (QuerySegment segment in plan.Segments.ToArray())
        {
            for (int i = segment.Start * attention.Shape.Heads; i < segment.End * attention.Shape.Heads; i++)
            {
                foreach (KeyRange range in plan.RangesOf(segment).ToArray())
                {
                    if (!plan.Skips(range, i % attention.Shape.Heads))
                        expected[i] += Enumerable.Range(range.Start, range.End - range.Start).Count(key => plan.Sees(range, i / attention.Shape.Heads - segment.Start, key));
                }
            }
        }

        Assert.That(result.LogSumExp.Select(x => (long)Math.Round(Math.Exp(x))), Is.EqualTo(expected));
        Assert.That(plan.CountPairs(attention.Shape.Heads), Is.EqualTo(expected.Sum()));
    }

    [Test]
    public void A_row_is_the_same_bits_in_whatever_tile_it_lies([Range(1, 6)] int seed)
    {
        var random = new Random(seed);
        using var attention = new DeviceAttention(Gpu, random, s_small with { HeadDim = seed % 2 == 0 ? 48 : 128 }, 150, 230, 3);
        var plan = new AttentionPlan();
        RandomPlan(plan, random, attention);
        AttentionResult whole = attention.Run(plan);
        var list = new AttentionTiles();
        list.Fill(plan, attention.Rows);
        List<AttentionTile> pieces = [];
        foreach (AttentionTile tile in list.Tiles)
        {
            for (int done = 0; done < tile.Rows;)
            {
                int rows = Math.Min(tile.Rows - done, seed == 1 ? 16 : random.Next(1, 40));
                pieces.Add(tile with { Row = tile.Row + done, Place = tile.Place + done, Rows = rows });
                done += rows;
            }
        }

        AttentionResult split = attention.Run(plan, [.. pieces]);
        Assert.That(split.Output, Is.EqualTo(whole.Output));
        Assert.That(split.LogSumExp, Is.EqualTo(whole.LogSumExp));
    }

    [Test]
    public void A_path_in_the_packed_plan_is_the_same_bits_as_alone_and_the_other_has_no_influence([Values(0, 40)] int cached)
    {
        // [prefix | V_S | q_A | V_R | q_B], as ParVTS lays its rows (arXiv 2511.18875).
        const int prefix = 35, subject = 48, question = 17, rest = 110;
        const int first = prefix + subject + question, rows = first + rest + question;
        using var attention = new DeviceAttention(Gpu, new Random(5), s_small, rows, cached + rows, 3);
        var packed = new AttentionPlan();
        PackPaths(packed, cached, prefix, first, rows);
        AttentionResult together = attention.Run(packed);
        Compare(attention, packed, "both paths");

        // The other path's rows are of no segment, and become zeros.
        var alone = new AttentionPlan();
        alone.SetCausal(first, cached);
        AttentionResult apart = attention.Run(alone);
        int columns = s_small.Heads * s_small.HeadDim;
        Assert.That(together.Output[..(first * columns)], Is.EqualTo(apart.Output[..(first * columns)]));
        Assert.That(together.LogSumExp[..(first * s_small.Heads)], Is.EqualTo(apart.LogSumExp[..(first * s_small.Heads)]));
        Assert.That(apart.Output[(first * columns)..], Is.All.EqualTo(0f));
        Assert.That(apart.LogSumExp[(first * s_small.Heads)..], Is.All.EqualTo(float.NegativeInfinity));

        // The rest's keys and values change; path A does not.
        for (int i = (cached + first) * s_small.HeadDim; i < attention.Keys.Length; i++)
            attention.Keys[i] = attention.KeyValues[i] = 60;
        attention.Store(cached + first, cached + rows);
        AttentionResult changed = attention.Run(packed);
        Assert.That(changed.Output[..(first * columns)], Is.EqualTo(together.Output[..(first * columns)]));
        Assert.That(changed.Output[(first * columns)..], Is.Not.EqualTo(together.Output[(first * columns)..]));
    }

    [Test]
    public void A_page_that_a_row_does_not_see_leaves_it_as_it_is()
    {
        // The same keys with a masked page of huge scores before, between and behind.
        using var attention = new DeviceAttention(Gpu, new Random(6), s_small, 20, 256, 3);
        var plan = new AttentionPlan();
        plan.AddSegment(0, 20);
        plan.AddRange(new KeyRange(64, 128, KeyRule.Full));
        plan.AddRange(new KeyRange(192, 230, KeyRule.Full));
        AttentionResult bare = attention.Run(plan);
        uint[] mask = [1, 0, ~0u, ~0u, 0, 1u << 31, ~0u, 0x3F];
        plan.Clear();
        plan.SetKeyMask(mask);
        plan.AddSegment(0, 20);
        plan.AddRange(new KeyRange(0, 64, KeyRule.Window, Window: 1, GridWidth: 1)); // row 0 alone sees key 0
        plan.AddRange(new KeyRange(64, 128, KeyRule.Full));
        plan.AddRange(new KeyRange(128, 192, KeyRule.Diagonal)); // nobody reaches key 191
        plan.AddRange(new KeyRange(192, 256, KeyRule.Full));
        AttentionResult masked = attention.Run(plan);
        int columns = s_small.Heads * s_small.HeadDim;
        Assert.That(masked.Output[columns..], Is.EqualTo(bare.Output[columns..]));
        Assert.That(masked.Output[..columns], Is.Not.EqualTo(bare.Output[..columns]));
    }

    [Test]
    public void Work_is_what_the_plan_shows([Range(1, 12)] int seed)
    {
        var random = new Random(seed);
        using var attention = new DeviceAttention(Gpu, random, s_small with { HeadDim = 32, Heads = 3 }, random.Next(1, 200), random.Next(1, 260));
        var plan = new AttentionPlan();
        RandomPlan(plan, random, attention);
        var list = new AttentionTiles();
        list.Fill(plan, attention.Rows);
        Assert.That(attention.Run(plan).Products, Is.EqualTo(ExpectedProducts(plan, list.Tiles, attention.Shape)));
    }

    [Test]
    public void Path_tiles_cost_only_what_they_see()
    {
        const int prefix = 35, first = 163, rows = 419;
        using var attention = new DeviceAttention(Gpu, new Random(8), s_small with { HeadDim = 16 }, rows, rows);
        var plan = new AttentionPlan();
        plan.SetCausal(rows, 0);
        AttentionResult dense = attention.Run(plan);
        PackPaths(plan, 0, prefix, first, rows);
        AttentionResult packed = attention.Run(plan);

        // Dense: 7 tiles that see 1 to 7 pages. Packed: 3 tiles that see 1 to 3; 4 that see the prefix' page and, from the page
        // where path B begins, 2 to 5 pages. Each page holds 64 rows of 2 chunks, keys and values.
        Assert.That(dense.Copies, Is.EqualTo(2 * 64 * 2 * 2 * 28));
        Assert.That(packed.Copies, Is.EqualTo(2 * 64 * 2 * 2 * (6 + 4 + 14)));
        Assert.That(packed.Products, Is.LessThan(dense.Products));
    }

    [Test]
    public void No_access_meets_a_bank_conflict_and_every_byte_moves_once([Values(16, 32, 48, 64, 72, 80, 96, 128, 160)] int headDim)
    {
        using var attention = new DeviceAttention(Gpu, new Random(headDim), new AttentionShape(headDim, 2, 2, TensorType.BF16), 128, 192);
        var plan = new AttentionPlan();
        plan.AddSegment(0, 128);
        plan.AddRange(new KeyRange(0, 192, KeyRule.Full));
        if (Gpu.Sim is null)
            Assert.Ignore("a real GPU does not count what it executes");
        Gpu.Sim!.Gpu.CountMemory = true;
        LaunchCounts counts = attention.Run(plan, sums: false).Counts!;
        Gpu.Sim.Gpu.CountMemory = false;
        Assert.That(counts.Shared.Passes, Is.Positive);
        Assert.That(counts.Shared.Conflicts, Is.Zero, string.Join(", ", counts.ConflictsByLine));

        // Two tiles and two heads: queries once, three pages of keys and values; beside them a few words of the work list a warp.
        long asked = 4 * (64L * headDim * sizeof(float) + 3 * 2 * 64 * attention.Shape.Padded * sizeof(ushort));
        Assert.That(32 * counts.Loaded.Sectors, Is.InRange(asked, asked * 1.05 + 4 * 4 * 32 * 48));
        long written = 4L * 64 * headDim * sizeof(ushort);
        Assert.That(32 * counts.Stored.Sectors, Is.InRange(written, headDim % 16 == 0 ? written : written * 1.25));
    }

    [Test]
    public void Tiles_hold_every_row_once_and_the_longest_come_first([Range(1, 10)] int seed)
    {
        var random = new Random(seed);
        using var attention = new DeviceAttention(Gpu, random, s_small with { HeadDim = 16 }, random.Next(1, 400), random.Next(1, 400));
        var plan = new AttentionPlan();
        RandomPlan(plan, random, attention);
        var list = new AttentionTiles();
        list.Fill(plan, attention.Rows);
        long before = GC.GetAllocatedBytesForCurrentThread();
        list.Fill(plan, attention.Rows);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        int[] rows = [.. list.Tiles.ToArray().SelectMany(tile => Enumerable.Range(tile.Row, tile.Rows))];
        Assert.That(rows, Is.EquivalentTo(Enumerable.Range(0, attention.Rows)));
        plan.SetCausal(300, 0);
        list.Fill(plan, 310);
        Assert.That(list.Tiles.ToArray().Select(tile => tile.Row), Is.EqualTo((int[])[256, 192, 128, 64, 0, 300]));
    }

    [Test]
    public unsafe void Tiles_and_ranges_are_laid_out_as_the_kernel_reads_them()
    {
        Assert.That(sizeof(AttentionTile), Is.EqualTo(32));
        Assert.That(sizeof(KeyRange), Is.EqualTo(32));
        var range = new KeyRange(1, 2, KeyRule.Window, ValueRule.Sink, 3, 4, 5, 6);
        var tile = new AttentionTile(1, 2, 3, 4, 5);
        Assert.That(MemoryMarshal.Cast<KeyRange, int>(new ReadOnlySpan<KeyRange>(in range)).ToArray(), Is.EqualTo((int[])[1, 2, 2, 2, 3, 4, 5, 6]));
        Assert.That(MemoryMarshal.Cast<AttentionTile, int>(new ReadOnlySpan<AttentionTile>(in tile))[..5].ToArray(), Is.EqualTo((int[])[1, 2, 3, 4, 5]));
    }

    [Test]
    public void What_does_not_fit_is_refused()
    {
        using var attention = new DeviceAttention(Gpu, new Random(9), s_small, 3, 70);
        foreach (Action<AttentionPlan> wrong in (Action<AttentionPlan>[])
        [
            plan => plan.AddSegment(0, 4),
            plan => plan.AddRange(new KeyRange(0, 71, KeyRule.Full)),
            plan => plan.AddRange(new KeyRange(0, 5, KeyRule.Full, ValueRule.Sink, 70)),
            plan => plan.SetKeyMask([1, 1]),
            plan => plan.SetKeyBias(new float[69]),
            plan => plan.AddHeadMask([1, 1]),
        ])
        {
            var plan = new AttentionPlan();
            plan.SetCausal(3, 0);
            wrong(plan);
            Assert.Throws<ArgumentException>(() => attention.Run(plan));
        }
    }

    private static void PackPaths(AttentionPlan plan, int cached, int prefix, int first, int rows)
    {
        plan.Clear();
        plan.AddSegment(0, first);
        plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
        plan.AddRange(new KeyRange(cached, cached + first, KeyRule.Diagonal));
        plan.AddSegment(first, rows);
        plan.AddRange(new KeyRange(0, cached + prefix, KeyRule.Full));
        plan.AddRange(new KeyRange(cached + first, cached + rows, KeyRule.Diagonal));
    }

    // Segments with gaps between, in any order, each with ranges that do not overlap; masks of keys and heads, biases.
    private static void RandomPlan(AttentionPlan plan, Random random, DeviceAttention attention, bool bias = true)
    {
        int keys = attention.KeyCount;
        plan.Clear();
        if (random.Next(2) == 0)
            plan.SetKeyMask([.. Enumerable.Range(0, (keys + 31) / 32).Select(_ => random.Next(4) == 0 ? 0u : (uint)random.NextInt64())]);
        if (bias && random.Next(2) == 0)
            plan.SetKeyBias([.. Enumerable.Range(0, keys).Select(_ => MathF.Log(random.Next(1, 9)))]);
        int masks = random.Next(3);
        for (int i = 0; i < masks; i++)
            plan.AddHeadMask([(uint)random.Next()]);
        List<(int Start, int End)> segments = [];
        int row = random.Next(0, Math.Max(1, attention.Rows / 3));
        while (row < attention.Rows)
        {
            int end = Math.Min(attention.Rows, row + random.Next(1, attention.Rows + 1));
            segments.Add((row, end));
            row = end + random.Next(0, 5);
        }

        foreach ((int start, int end) in segments.OrderBy(_ => random.Next()))
        {
            plan.AddSegment(start, end);
            int key = random.Next(0, keys);
            while (key < keys)
            {
                int last = Math.Min(keys, key + random.Next(1, keys + 1));
                plan.AddRange(new KeyRange(
                    key, last, (KeyRule)random.Next(3), (ValueRule)random.Next(3), random.Next(keys), 2 * random.Next(3) + 1, random.Next(1, 12),
                    random.Next(-1, masks)));
                key = last + random.Next(0, 9);
            }
        }
    }

    // A page costs a warp's 16 rows something where one of them sees one of its keys: scores, and values where they count.
    internal static long ExpectedProducts(AttentionPlan plan, ReadOnlySpan<AttentionTile> tiles, AttentionShape shape)
    {
        long products = 0;
        foreach (AttentionTile tile in tiles)
        {
            for (int r = tile.FirstRange; r < tile.FirstRange + tile.RangeCount; r++)
            {
                KeyRange range = plan.Ranges[r];
                int heads = Enumerable.Range(0, shape.Heads).Count(head => !plan.Skips(range, head));
                for (int page = range.Start / 64; page <= (range.End - 1) / 64; page++)
                {
                    for (int row = 0; row < tile.Rows; row += 16)
                    {
                        bool any = false;
                        for (int query = tile.Place + row; query < tile.Place + Math.Min(row + 16, tile.Rows); query++)
                        {
                            for (int key = Math.Max(64 * page, range.Start); key < Math.Min(64 * page + 64, range.End); key++)
                                any |= plan.Sees(range, query, key);
                        }

                        products += any ? heads * shape.Padded / (range.Value == ValueRule.Own ? 1 : 2) : 0;
                    }
                }
            }
        }

        return products;
    }

    private static void Compare(DeviceAttention attention, AttentionPlan plan, string what)
    {
        AttentionShape shape = attention.Shape;
        int rows = attention.Rows;
        int columns = shape.Heads * shape.HeadDim;
        using KvStore store = attention.HostStore();
        using var q = new TestMatrix(TensorType.F32, rows, columns);
        using var truth = new TestMatrix(TensorType.F64, rows, columns);
        using var sums = new TestMatrix(TensorType.F64, rows, shape.Heads);
        using var device = new ReferenceDevice();
        device.Upload<float>(attention.Queries, q.Tensor);
        device.Upload<double>([.. Enumerable.Repeat(double.NegativeInfinity, rows * shape.Heads)], sums.Tensor);
        device.SegmentAttention(q.Tensor, store.Layer(0), plan, shape.Scale, truth.Tensor, sums.Tensor);
        (float[] naive, float[] naiveSums) = Naive(attention, plan);
        AttentionResult actual = attention.Run(plan);
        ErrorBudget.Check(what, truth.Doubles(), naive, actual.Output, shape.Type);
        ErrorBudget.Check(what + ", log-sum-exp", sums.Doubles(), naiveSums, actual.LogSumExp);
    }

    // The plain computation in the same precision (contract C5, D6): queries, probabilities and results rounded to the type, the rest float32.
    private static (float[] Output, float[] LogSumExp) Naive(DeviceAttention attention, AttentionPlan plan)
    {
        AttentionShape shape = attention.Shape;
        int size = shape.HeadDim;
        float[] output = new float[attention.Rows * shape.Heads * size];
        float[] sums = new float[attention.Rows * shape.Heads];
        Array.Fill(sums, float.NegativeInfinity);
        float[] queries = [.. attention.Queries.Select(x => DeviceAttention.Round(x, shape.Type))];
        foreach (QuerySegment segment in plan.Segments)
        {
            for (int i = segment.Start * shape.Heads; i < segment.End * shape.Heads; i++)
            {
                int kvHead = i % shape.Heads / (shape.Heads / shape.KvHeads);
                ReadOnlySpan<float> query = queries.AsSpan(i * size, size);
                List<(float Score, float[]? Value)> seen = [];
                foreach (KeyRange range in plan.RangesOf(segment))
                {
                    for (int key = range.Start; key < range.End; key++)
                    {
                        if (plan.Skips(range, i % shape.Heads) || !plan.Sees(range, i / shape.Heads - segment.Start, key))
                            continue;
                        float score = 0;
                        for (int d = 0; d < size; d++)
                            score += query[d] * attention.Keys[(key * shape.KvHeads + kvHead) * size + d];
                        int source = range.Value == ValueRule.Sink ? range.SinkRow : key;
                        seen.Add((
                            score * shape.Scale + (plan.KeyBias.IsEmpty ? 0 : plan.KeyBias[key]),
                            range.Value == ValueRule.None ? null : attention.KeyValues[((source * shape.KvHeads + kvHead) * size)..][..size]));
                    }
                }

                if (seen.Count == 0)
                    continue;
                float largest = seen.Max(one => one.Score);
                float sum = seen.Sum(one => MathF.Exp(one.Score - largest));
                sums[i] = largest + MathF.Log(sum);
                for (int d = 0; d < size; d++)
                {
                    float total = 0;
                    foreach ((float score, float[]? value) in seen)
                        total += value is null ? 0 : DeviceAttention.Round(MathF.Exp(score - largest) / sum, shape.Type) * value[d];
                    output[i * size + d] = DeviceAttention.Round(total, shape.Type);
                }
            }
        }

        return (output, sums);
    }
}

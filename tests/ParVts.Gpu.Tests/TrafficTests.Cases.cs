using ParVts.Cuda;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <content>The launches. Bytes that must move: every input and output once, each value in its own type.</content>
internal sealed partial class TrafficTests
{
    private readonly Random _random = new(1);

    public static IEnumerable<Case> Cases() => [.. Rows(), .. Elements(), .. Products(), .. Positions(), .. Attention(), .. Probes(), .. Measures(), .. Choices()];

    private static IEnumerable<Case> Rows()
    {
        const int n = 32, wide = 4096;
        yield return new Case("norm.cu", "rms_norm", "32 rows of 4096", test =>
        {
            test.Gpu.Device.RmsNorm(test.Input(F32, n, wide), test.Input(F32, 1, wide), 1e-5f, test.Empty(Bf16, n, wide));
            return 6L * n * wide + 4 * wide;
        });
        yield return new Case("norm.cu", "layer_norm", "32 rows of 1024", test =>
        {
            test.Gpu.Device.LayerNorm(test.Input(F32, n, 1024), test.Input(F32, 1, 1024), test.Input(F32, 1, 1024), 1e-5f, test.Empty(Bf16, n, 1024));
            return 6L * n * 1024 + 8 * 1024;
        });
        yield return new Case("rows.cu", "gather_rows", "32 rows of 4096", test =>
        {
            test.Gpu.Device.GatherRows(test.Input(F32, 2 * n, wide), test.Numbers(n, i => 2 * i), test.Empty(F32, n, wide));
            return 8L * n * wide + 4 * n;
        });
        yield return new Case("rows.cu", "scatter_rows", "32 rows of 4096", test =>
        {
            test.Gpu.Device.ScatterRows(test.Input(F32, n, wide), test.Numbers(n, i => 2 * i), test.Empty(F32, 2 * n, wide));
            return 8L * n * wide + 4 * n;
        });
        yield return new Case("rows.cu", "merge_rows", "64 rows of 1024 to 32", test =>
        {
            test.Gpu.Device.MergeRows(
                test.Input(F32, 2 * n, 1024), test.Numbers(n + 1, i => 2 * i), test.Numbers(2 * n, i => i), test.Input(F32, 1, 2 * n), test.Empty(F32, n, 1024));
            return 12L * n * 1024 + 4 * (n + 1) + 16 * n;
        });
        yield return new Case("rows.cu", "fill_rows", "32 rows of 4096", test =>
        {
            Tensor row = test.Input(F32, 1, wide), output = test.Empty(F32, n, wide);
            test.Gpu.Device.Launch(
                new KernelId("rows.cu", "fill_rows"), new LaunchShape(n, 1, 1, 256), new FillArguments(row.Address, output.Address, output.Stride, wide, 0));
            return 4L * n * wide + 4 * wide;
        });
        yield return new Case("paths.cu", "fuse_paths", "32 pairs of rows of 4096", test =>
        {
            test.Gpu.Device.FusePaths(test.Input(F32, 2 * n, wide), test.Numbers(n, i => i), test.Numbers(n, i => n + i), test.Input(F32, 1, n));
            return 12L * n * wide + 12 * n;
        });
        yield return new Case("paths.cu", "path_weights", "32 pairs of rows, 32 heads", test =>
        {
            test.Gpu.Device.PathWeights(test.Input(F32, 2 * n, 32), test.Numbers(n, i => i), test.Numbers(n, i => n + i), test.Empty(F32, 1, n));
            return 8L * n * 32 + 12 * n;
        });
    }

    private static IEnumerable<Case> Elements()
    {
        yield return new Case("activation.cu", "activate", "16 rows of 4096", test =>
        {
            test.Gpu.Device.Activate(test.Input(F32, 16, 4096), Activation.QuickGelu, test.Empty(Bf16, 16, 4096));
            return 6L * 16 * 4096;
        });
        yield return new Case("activation.cu", "gated_activate", "8 rows of 11008", test =>
        {
            test.Gpu.Device.GatedActivate(test.Input(F32, 8, 11008), test.Input(F32, 8, 11008), Activation.Silu, test.Empty(Bf16, 8, 11008));
            return 10L * 8 * 11008;
        });
        yield return new Case("embed.cu", "embed", "32 rows of 4096", test =>
        {
            test.Gpu.Device.Embed(test.Input(Bf16, 64, 4096), test.Numbers(32, i => 63 - 2 * i), test.Empty(F32, 32, 4096));
            return 6L * 32 * 4096 + 4 * 32;
        });
        yield return new Case("patch.cu", "patchify", "336 x 336, patches of 14", test =>
        {
            test.Gpu.Device.Patchify(test.Input(F32, 3 * 336, 336), 14, test.Empty(Bf16, 576, 588));
            return 6L * 3 * 336 * 336;
        });
    }

    private static IEnumerable<Case> Products()
    {
        foreach (int rows in (int[])[1, 7])
        {
            yield return new Case("gemv.cu", "gemv", rows == 1 ? "1 row, 512 x 4096" : "7 rows, 512 x 4096", test =>
            {
                test.Gpu.Device.MatMul(test.Input(Bf16, rows, 4096), test.Input(Bf16, 512, 4096), default, test.Empty(F32, rows, 512));
                return 2L * (512 + rows) * 4096 + 4 * 512 * rows;
            });
        }

        foreach ((string kernel, int tileRows, int tileColumns, int threads) in
            ((string, int, int, int)[])[("matmul_128x128", 128, 128, 128), ("matmul_64x64", 64, 64, 128), ("matmul_16x32", 16, 32, 64)])
        {
            yield return new Case("matmul.cu", kernel, "256 x 256 x 256", test =>
            {
                const int n = 256;
                Tensor x = test.Input(Bf16, n, n), w = test.Input(Bf16, n, n), output = test.Empty(F32, n, n);
                test.Gpu.Device.Launch(
                    new KernelId("matmul.cu", kernel, CudaDevice.Element(Bf16), new Macro("OUTPUT", 0)),
                    new LaunchShape(n / tileRows * (n / tileColumns), 1, 1, threads, SharedBytes: 48 * 1024),
                    new MatMulArguments(x.Address, x.Stride, w.Address, w.Stride, 0, output.Address, output.Stride, n, n, n, 0));
                return 8L * n * n;
            });
        }
    }

    private static IEnumerable<Case> Positions()
    {
        yield return new Case("rope_store.cu", "rotary_table", "640 rows, heads of 128", test =>
        {
            test.Gpu.Device.RotaryTable(
                test.Numbers(3 * 640, i => i) with { Rows = 640, Columns = 3, Stride = 3 }, test.Input(F32, 1, 64), test.Empty(F32, 640, 128));
            return 12L * 640 + 4 * 64 + 4 * 640 * 128;
        });
        foreach (int headDim in (int[])[128, 72])
        {
            yield return new Case("rope_store.cu", "rope_store", $"32 rows, 16 and 4 heads of {headDim}", test =>
            {
                const int rows = 32, heads = 16, kvHeads = 4;
                using var cache = new TestCache(test.Gpu, test._random, Bf16, rows, kvHeads, headDim);
                test.Gpu.Device.RopeStore(
                    test.Input(F32, rows, heads * headDim), test.Input(F32, rows, kvHeads * headDim), test.Input(F32, rows, kvHeads * headDim),
                    test.Input(F32, rows, headDim), cache.Store.Layer(0), 0);
                test.Wait();
                return 4L * rows * headDim * (2 * heads + 2 * kvHeads + 1) + 4 * rows * kvHeads * KvStore.Pad(headDim);
            });
        }

        yield return new Case("pages.cu", "keep_keys", "every 4th of 640 rows, 4 heads of 128", test =>
        {
            const int kept = 160, kvHeads = 4;
            using TestCache cache = TestCache.Random(test.Gpu, test._random, Bf16, 640, kvHeads, 128);
            test.Gpu.Device.KeepKeys(cache.Store.Layer(0), test.Numbers(kept, i => 4 * i + 3));
            test.Wait();
            return 2L * kept * 2 * kvHeads * 128 * 2 + 4 * kept;
        });
    }

    private static IEnumerable<Case> Attention()
    {
        foreach (int headDim in (int[])[64, 72, 80, 96, 128])
        {
            yield return new Case("segment_attention.cu", "segment_attention", $"192 rows, causal, 2 heads of {headDim}", test =>
            {
                const int rows = 192, heads = 2;
                using TestCache cache = TestCache.Random(test.Gpu, test._random, Bf16, rows, heads, headDim);
                var plan = new AttentionPlan();
                plan.SetCausal(rows, 0);
                test.Gpu.Device.SegmentAttention(
                    test.Input(F32, rows, heads * headDim), cache.Store.Layer(0), plan, 0.1f, test.Empty(Bf16, rows, heads * headDim));
                test.Wait();
                return (long)rows * heads * (6 * headDim + 4 * KvStore.Pad(headDim)) + 32 * 4 + 24;
            });
        }

        // The sums of the splits (on this GPU of few multiprocessors) come on top: little beside the keys and values of one head, not beside those of seven.
        foreach ((int headDim, int kvHeads, int group) in ((int, int, int)[])[(64, 4, 1), (72, 4, 1), (80, 4, 1), (96, 4, 1), (128, 4, 1), (128, 2, 4), (128, 2, 7)])
        {
            string shape = $"640 keys in {(group == 1 ? 5 : 10)} splits, {kvHeads} KV heads of {headDim}, groups of {group}";
            double most = group switch { 1 => Spare, 4 => 1.08, _ => 1.12 };
            yield return new Case("decode_attention.cu", "decode_attention", shape, test => test.Decode(headDim, kvHeads, group).Attention, most);
            if (group == 4)
                yield return new Case("decode_combine.cu", "decode_combine", "10 splits, 8 heads of 128", test => test.Decode(headDim, kvHeads, group).Combination);
        }
    }

    private static IEnumerable<Case> Probes()
    {
        const int keys = 640, heads = 8, kvHeads = 2, headDim = 128;
        const string shape = "1 row, 640 keys, 2 KV heads of 128, groups of 4";
        long bytes = 2L * keys * kvHeads * headDim + 4 * heads * headDim + 8 * (keys / 64);
        yield return new Case("probe.cu", "probe", shape, test =>
        {
            test.Probe(keys, heads, kvHeads, headDim, values: false);
            return bytes + 4 * heads + 4 * kvHeads * keys;
        });
        yield return new Case("probe.cu", "row_log_sum_exp", shape, test =>
        {
            test.Probe(keys, heads, kvHeads, headDim, values: false);
            return bytes + 4 * heads;
        });
        yield return new Case("probe.cu", "value_probe", shape, test =>
        {
            test.Probe(keys, heads, kvHeads, headDim, values: true);
            return bytes + 2L * keys * kvHeads * headDim + 4 * heads * headDim + 4 * heads + 8 * kvHeads * keys;
        });
        yield return new Case("probe.cu", "row_squares", "1 row of 1024", test =>
        {
            test.Probe(keys, heads, kvHeads, headDim, values: true);
            return 4 * heads * headDim + 4;
        });
        yield return new Case("probe.cu", "sum_parts", "2 parts of 2 x 640", test =>
        {
            test.Probe(keys, heads, kvHeads, headDim, values: true);
            return 8L * kvHeads * keys + 8 * keys;
        });
    }

    private static IEnumerable<Case> Measures()
    {
        yield return new Case("similarity.cu", "similarity", "128 x 128 rows of 256", test =>
        {
            const int n = 128, columns = 256;
            test.Gpu.Device.Similarity(test.Input(F32, n, columns), test.Input(F32, n, columns), cosine: true, test.Empty(F32, n, n));
            return 8L * n * columns + 4 * n * n;
        });
        yield return new Case("sums.cu", "mean_heads", "64 rows of 32 heads of 128", test =>
        {
            test.Gpu.Device.MeanHeads(test.Input(F32, 64, 32 * 128), test.Empty(F32, 64, 128));
            return 4L * 64 * 33 * 128;
        });
        yield return new Case("sums.cu", "absolute_sums", "32 rows of 4096", test =>
        {
            test.Gpu.Device.AbsoluteSums(test.Input(F32, 32, 4096), test.Empty(F32, 1, 32));
            return 4L * 32 * 4097;
        });
        foreach (int headDim in (int[])[128, 72])
        {
            yield return new Case("rope_store.cu", "read_keys", $"64 rows, 4 heads of {headDim}", test =>
            {
                const int rows = 64, kvHeads = 4;
                using TestCache cache = TestCache.Random(test.Gpu, test._random, Bf16, rows, kvHeads, headDim);
                test.Gpu.Device.ReadKeys(cache.Store.Layer(0), 0, test.Empty(F32, rows, kvHeads * headDim));
                test.Wait();
                return 6L * rows * kvHeads * headDim + 8;
            });
        }
    }

    private static IEnumerable<Case> Choices()
    {
        yield return new Case("select.cu", "select_top", "288 of 2880", test =>
        {
            test.Gpu.Device.SelectTop(test.Input(F32, 1, 2880), 0, test.Empty(TensorType.I32, 1, 288), test.Empty(TensorType.I32, 1, 2592));
            return 8 * 2880;
        }, FreeOfConflicts: false);
        yield return new Case("select.cu", "select_threshold", "2880", test =>
        {
            TestMatrix scores = test.Random(test._random, F32, 1, 2880);
            Tensor kept = test.Empty(TensorType.I32, 1, 2880), count = test.Empty(TensorType.I32, 1, 1);
            test.Gpu.Device.Launch(
                new KernelId("select.cu", "select_threshold"), new LaunchShape(1, 1, 1, 1024),
                new SelectThresholdArguments { Scores = (ulong)test.At(scores).Address, Count = 2880, Least = 0, Kept = (ulong)kept.Address, KeptCount = (ulong)count.Address });
            return 4 * 2880 + 4 * scores.Floats().Count(x => x >= 0) + 4;
        });
        yield return new Case("sample.cu", "sample_greedy", "32000 tokens", test => test.Sample(new SamplingRules(0, 0, 1, 0, 1)));
        yield return new Case("sample.cu", "sample", "32000 tokens, top-k and top-p", test => test.Sample(new SamplingRules(0.7f, 40, 0.9f, 0, 1)), FreeOfConflicts: false);
        yield return new Case("decisions.cu", "increment", "32 counters", test =>
        {
            test.Gpu.Device.Increment(test.Numbers(32, i => i));
            return 8 * 32;
        });
        yield return new Case("decisions.cu", "resolve_rows", "640 rows, 64 of them chosen", test =>
        {
            test.Gpu.Device.ResolveRows(
                test.Numbers(640, i => i < 64 ? -1 - i : i), test.Numbers(64, i => i), test.Numbers(64, i => 2 * i), test.Empty(TensorType.I32, 1, 640));
            return 8 * 640 + 8 * 64;
        });
        yield return new Case("decisions.cu", "score_share", "64 of 576", test =>
        {
            test.Gpu.Device.ScoreShare(test.Input(F32, 1, 576), test.Numbers(64, i => 9 * i), test.Empty(F32, 1, 16));
            return 4 * 576 + 4 * 64 + 4 * 16;
        });
    }

    // A decode step: bytes that both of its kernels must move.
    private (long Attention, long Combination) Decode(int headDim, int kvHeads, int group)
    {
        const int keys = 640, splits = keys / KvStore.PageRows;
        int heads = kvHeads * group;
        using TestCache cache = TestCache.Random(Gpu, _random, Bf16, keys, kvHeads, headDim);
        Gpu.Device.DecodeAttention(Input(F32, 1, heads * headDim), cache.Store.Layer(0), 0.1f, Empty(Bf16, 1, heads * headDim));
        Wait();
        return (
            4L * keys * kvHeads * KvStore.Pad(headDim) + 4 * heads * headDim + 8 * splits,
            4L * heads * splits * (headDim + 2) + 2 * heads * headDim);
    }

    // The last of 64 rows; with values, or from its own log-sum-exp.
    private void Probe(int keys, int heads, int kvHeads, int headDim, bool values)
    {
        using TestCache cache = TestCache.Random(Gpu, _random, Bf16, keys, kvHeads, headDim);
        var plan = new AttentionPlan();
        plan.SetCausal(64, keys - 64);
        Tensor q = Input(F32, 64, heads * headDim), rows = Numbers(1, _ => 63);
        if (values)
        {
            Gpu.Device.ValueProbe(
                q, Input(F32, 1, heads * headDim), cache.Store.Layer(0), plan, 0.1f, Input(F32, 64, heads), rows, Empty(F32, 2, keys), Empty(F32, 1, 1));
        }
        else
        {
            Gpu.Device.PreProbe(q, cache.Store.Layer(0), plan, 0.1f, rows, ProbeReduction.Heads, Empty(F32, 1, keys));
        }

        Wait();
    }

    private long Sample(in SamplingRules rules)
    {
        using DeviceSampler sampler = Gpu.Device.CreateSampler(32000);
        sampler.Begin(rules, 1, 8, [2], []);
        sampler.Choose(Input(F32, 1, 32000));
        _ = sampler.Read();
        return 4 * 32000;
    }

    private void Wait() => Gpu.Device.Download(At(Integers(0)), new int[1].AsSpan());

    private Tensor Input(TensorType type, int rows, int columns) => At(Random(_random, type, rows, columns));

    private Tensor Numbers(int count, Func<int, int> number) => At(Integers([.. Enumerable.Range(0, count).Select(number)]));

    private readonly record struct FillArguments(nint Row, nint Output, int OutputStride, int Columns, int Accumulate);

    private readonly record struct MatMulArguments(
        nint X, int XStride, nint Weight, int WeightStride, nint Bias, nint Output, int OutputStride, int Rows, int Columns, int Inner, int Accumulate);
}

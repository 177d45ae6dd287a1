using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Segment attention.</content>
public sealed unsafe partial class CudaDevice
{
    /// <summary>The largest head that segment_attention.cu holds in registers.</summary>
    public const int LargestHeadDim = 160;

    private const int AttentionThreads = 128;
    private const int PlanAlignment = 16;
    private const int PlannedLists = 32;

    private readonly AttentionTiles _tiles = new();
    private CudaBuffer? _planMemory;
    private PlanOnDevice _plan;

    /// <inheritdoc/>
    public override void SegmentAttention(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp = default)
    {
        Send(plan, q.Rows, q.Columns / layer.HeadDim);
        Attend(q, layer, plan, scale, output, logSumExp);
    }

    /// <summary>The same by a work list of the caller's: every row in one tile, of one segment.</summary>
    internal void SegmentAttention(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp, ReadOnlySpan<AttentionTile> tiles)
    {
        _plan = Send(plan, tiles, q.Rows, q.Columns / layer.HeadDim);
        Attend(q, layer, plan, scale, output, logSumExp);
        _plan = default;
    }

    private void Attend(in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp)
    {
        CheckSame(q, output);
        Check(
            layer.HeadDim % 8 == 0 && layer.HeadDim <= LargestHeadDim,
            $"SegmentAttention: heads of {layer.HeadDim} elements; they must be a multiple of 8 and at most {LargestHeadDim}");
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "SegmentAttention: heads are not a multiple of the KV heads");
        Check(output.Type == layer.Type && layer.Type is TensorType.BF16 or TensorType.F16, "SegmentAttention: the output must be of the keys' type, BF16 or F16");
        Check(q.Stride % 4 == 0 && output.Stride % 8 == 0, "SegmentAttention: rows of queries and of the output must begin at multiples of 16 bytes");
        Check(logSumExp.IsEmpty || (logSumExp.Rows == q.Rows && logSumExp.Columns == _plan.Heads), "SegmentAttention: the log-sum-exp does not match");
        Check(scale > 0, "SegmentAttention: the scale must be positive");
        plan.Check(q.Rows, layer.Length, _plan.Heads);
        if (_plan.TileCount == 0)
            return;
        Launch(
            new KernelId("segment_attention.cu", "segment_attention", Element(layer.Type), new Macro("HEAD_DIM", layer.HeadDim)),
            new LaunchShape(_plan.TileCount, _plan.Heads, 1, AttentionThreads, SharedBytes: 3 * KvStore.PageRows * layer.PaddedHeadDim * sizeof(ushort)),
            new SegmentAttentionArguments(
                q.Address, q.Stride, layer.Pages, _plan.Tiles, _plan.Ranges, _plan.KeyMask, _plan.KeyBias, _plan.HeadMasks, scale,
                output.Address, output.Stride, logSumExp.Address, logSumExp.Stride, _plan.Heads, layer.Heads));

        // Scores and values: two products of head_dim multiply-adds a visible pair.
        Counters.AttentionFlopsReference += 4L * layer.HeadDim * _plan.Pairs;
    }

    // The layers of a group, and the probes of their rows, share a plan: it is sent once.
    private void Send(AttentionPlan plan, int rows, int heads)
    {
        if (_plan.Plan == plan && _plan.Version == plan.Version && _plan.Rows == rows && _plan.Heads == heads)
            return;
        _tiles.Fill(plan, rows);
        _plan = Send(plan, _tiles.Tiles, rows, heads);
    }

    private PlanOnDevice Send(AttentionPlan plan, ReadOnlySpan<AttentionTile> tiles, int rows, int heads)
    {
        // Until all of it is sent, the kernel has no plan: neither this one nor, any longer, the last.
        _plan = default;
        long bytes = Room<AttentionTile>(tiles.Length) + Room<QuerySegment>(plan.Segments.Length) + Room<KeyRange>(plan.Ranges.Length) + Room<uint>(plan.KeyMask.Length)
            + Room<float>(plan.KeyBias.Length) + Room<uint>(plan.HeadMasks.Length);
        Grow(ref _planMemory, bytes);
        nint place = _planMemory?.DangerousGetHandle() ?? 0;
        return new PlanOnDevice
        {
            Plan = plan,
            Version = plan.Version,
            Rows = rows,
            Heads = heads,
            Pairs = plan.CountPairs(heads),
            TileCount = tiles.Length,
            Tiles = Send(tiles, ref place),
            Segments = Send(plan.Segments, ref place),
            SegmentCount = plan.Segments.Length,
            Ranges = Send(plan.Ranges, ref place),
            KeyMask = Send(plan.KeyMask, ref place),
            KeyBias = Send(plan.KeyBias, ref place),
            HeadMasks = Send(plan.HeadMasks, ref place),
        };
    }

    // Where it lies then; 0 for nothing.
    private nint Send<T>(ReadOnlySpan<T> list, ref nint place)
        where T : unmanaged
    {
        if (list.Length == 0)
            return 0;
        nint start = place;
        ReadOnlySpan<int> words = MemoryMarshal.Cast<T, int>(list);
        Upload(words, new Tensor(start, TensorType.I32, 1, words.Length));
        place += (nint)Room<T>(list.Length);
        return start;
    }

    // Plans of a few segments and ranges, with a mask and a bias for every key and a few sets of heads.
    private static long PlanBytes(in ScratchNeeds needs) =>
        Room<AttentionTile>(KvStore.PagesFor(needs.Rows) + PlannedLists) + Room<QuerySegment>(PlannedLists) + Room<KeyRange>(PlannedLists)
        + Room<uint>((needs.Keys + 31) / 32) + Room<float>(needs.Keys) + Room<uint>(PlannedLists * ((needs.Heads + 31) / 32));

    private static long Room<T>(int count)
        where T : unmanaged => ((long)count * sizeof(T) + PlanAlignment - 1) / PlanAlignment * PlanAlignment;

    // The plan that the kernel was given last.
    private struct PlanOnDevice
    {
        public AttentionPlan? Plan;
        public long Version;
        public int Rows;
        public int Heads;
        public long Pairs;
        public int TileCount;
        public nint Tiles;
        public nint Segments;
        public int SegmentCount;
        public nint Ranges;
        public nint KeyMask;
        public nint KeyBias;
        public nint HeadMasks;
    }

    private readonly record struct SegmentAttentionArguments(
        nint Q, int QStride, nint Pages, nint Tiles, nint Ranges, nint KeyMask, nint KeyBias, nint HeadMasks, float Scale,
        nint Output, int OutputStride, nint LogSumExp, int LogSumExpStride, int Heads, int KvHeads);
}

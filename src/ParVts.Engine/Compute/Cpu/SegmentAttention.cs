namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Segment attention on the CPU: flash attention over 48 query rows at a time. Scores are held transposed,
/// [64 keys][48 queries], so that the softmax runs down the keys of eight queries at once, keys are read as they lie in
/// their page, and the probabilities are already the left operand of the product with the values.
/// What a row becomes does not depend on the rows that share its tile: a page that it does not see leaves its running
/// maximum, sum and output as they are, bit for bit.
/// </summary>
internal static unsafe partial class SegmentAttention
{
    /// <summary>Query rows of a tile: two panels of 24, the width of the score kernel.</summary>
    public const int TileRows = 48;
    private const int Panel = 24;
    private const int ValueColumns = 16;
    private const int PageRows = KvStore.PageRows;

    /// <summary>Floats of scratch memory that one worker needs.</summary>
    public static long ScratchFloats(int headDim)
    {
        int padded = KvStore.Pad(headDim);
        return (long)TileRows * (padded + PageRows + padded + 3) + PageRows * ValueColumns;
    }

    /// <summary>Runs the plan; see <see cref="ComputeDevice.SegmentAttention"/>.</summary>
    public static void Run(
        WorkerPool pool, in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output,
        in Tensor logSumExp, float* scratch, ref long flops)
    {
        ClearUncovered(plan, output, logSumExp);
        int tiles = 0;
        foreach (ref readonly QuerySegment segment in plan.Segments)
            tiles += Tiles(segment);
        int heads = q.Columns / layer.HeadDim;
        fixed (QuerySegment* segments = plan.Segments)
        fixed (KeyRange* ranges = plan.Ranges)
        fixed (uint* keyMask = plan.KeyMask)
        fixed (float* keyBias = plan.KeyBias)
        fixed (uint* headMasks = plan.HeadMasks)
        {
            var work = new Work
            {
                KeyMask = keyMask,
                KeyBias = keyBias,
                HeadMasks = headMasks,
                HeadMaskWords = plan.HeadMaskWords,
                Q = q,
                Layer = layer,
                Output = output,
                LogSumExp = logSumExp,
                Segments = segments,
                SegmentCount = plan.Segments.Length,
                Ranges = ranges,
                Tiles = tiles,
                Heads = heads,
                Scale = scale,
                Scratch = scratch,
                ScratchFloats = ScratchFloats(layer.HeadDim),
            };
            pool.Run(tiles * heads, &RunTask, &work);

            // Scores and values: two products of head_dim multiply-adds a visible pair.
            flops += 4L * layer.HeadDim * work.VisiblePairs;
        }
    }

    private static int Tiles(in QuerySegment segment) => (segment.End - segment.Start + TileRows - 1) / TileRows;

    private static void ClearUncovered(AttentionPlan plan, in Tensor output, in Tensor logSumExp)
    {
        int next = 0;
        foreach (ref readonly QuerySegment segment in plan.Segments)
        {
            // Segments usually lie in order; where they do not, everything is cleared beforehand.
            if (segment.Start < next)
            {
                Clear(output, 0, output.Rows);
                Clear(logSumExp, 0, logSumExp.Rows);
                return;
            }

            Clear(output, next, segment.Start);
            Clear(logSumExp, next, segment.Start);
            next = segment.End;
        }

        Clear(output, next, output.Rows);
        Clear(logSumExp, next, logSumExp.Rows);
    }

    private static void Clear(in Tensor tensor, int from, int to)
    {
        if (tensor.IsEmpty)
            return;
        for (int row = from; row < to; row++)
            new Span<float>(tensor.Floats + (long)row * tensor.Stride, tensor.Columns).Clear();
    }

    private static void RunTask(void* state, int task, int worker)
    {
        Work* work = (Work*)state;

        // The last tiles of a causal segment see the most keys; the pool runs the last tasks first.
        int tile = task / work->Heads;
        int head = task % work->Heads;
        int index = 0;
        while (tile >= Tiles(work->Segments[index]))
            tile -= Tiles(work->Segments[index++]);
        QuerySegment segment = work->Segments[index];
        var tileState = new TileState(work, segment, head, tile * TileRows, worker);
        tileState.Begin();
        long visible = 0;
        for (int i = 0; i < segment.RangeCount; i++)
        {
            KeyRange range = work->Ranges[segment.FirstRange + i];
            if (range.Heads < 0 || (work->HeadMasks[range.Heads * work->HeadMaskWords + head / 32] >> head & 1) == 0)
                visible += tileState.Attend(range);
        }

        tileState.Finish();
        Interlocked.Add(ref work->VisiblePairs, visible);
    }

    private struct Work
    {
        public Tensor Q;
        public KvLayer Layer;
        public Tensor Output;
        public Tensor LogSumExp;
        public QuerySegment* Segments;
        public int SegmentCount;
        public KeyRange* Ranges;
        public int Tiles;
        public int Heads;
        public uint* KeyMask;
        public float* KeyBias;
        public uint* HeadMasks;
        public int HeadMaskWords;
        public float Scale;
        public float* Scratch;
        public long ScratchFloats;
        public long VisiblePairs;
    }
}

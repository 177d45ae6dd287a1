using System.Numerics.Tensors;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Probabilities of a few query rows, from queries, keys and log-sum-exp (<see cref="ComputeDevice.Probe"/>). A task is one
/// page of keys: tasks write to columns of their own.
/// </summary>
internal static unsafe class AttentionProbe
{
    public static void Run(
        WorkerPool pool, in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp,
        in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        int pages = (layer.Length + KvStore.PageRows - 1) / KvStore.PageRows;
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
                LogSumExp = logSumExp,
                Rows = rows,
                Output = output,
                Segments = segments,
                SegmentCount = plan.Segments.Length,
                Ranges = ranges,
                Scale = scale,
                Reduction = reduction,
            };
            pool.Run(pages, &RunPage, &work);
        }
    }

    private static void RunPage(void* state, int page, int worker)
    {
        Work* work = (Work*)state;
        int from = page * KvStore.PageRows;
        int to = Math.Min(from + KvStore.PageRows, work->Layer.Length);
        for (int line = 0; line < work->Output.Rows; line++)
            new Span<float>(work->Output.Floats + (long)line * work->Output.Stride + from, to - from).Clear();
        for (int i = 0; i < work->Rows.Columns; i++)
        {
            int row = work->Rows.Integers[i];
            for (int s = 0; s < work->SegmentCount; s++)
            {
                QuerySegment segment = work->Segments[s];
                if (row < segment.Start || row >= segment.End)
                    continue;
                for (int r = 0; r < segment.RangeCount; r++)
                    AddRange(work, i, row, row - segment.Start, work->Ranges[segment.FirstRange + r], from, to);
            }
        }
    }

    private static void AddRange(Work* work, int index, int row, int query, in KeyRange range, int from, int to)
    {
        KvLayer layer = work->Layer;
        int heads = work->Q.Columns / layer.HeadDim;
        int group = heads / layer.Heads;
        float share = Share(work, heads);
        for (int key = Math.Max(from, range.Start); key < Math.Min(to, range.End); key++)
        {
            if (!range.Sees(query, key) || (work->KeyMask != null && (work->KeyMask[key / 32] >> key & 1) == 0))
                continue;
            float bias = work->KeyBias == null ? 0f : work->KeyBias[key];
            for (int head = 0; head < heads; head++)
            {
                if (range.Heads >= 0 && (work->HeadMasks[range.Heads * work->HeadMaskWords + head / 32] >> head & 1) != 0)
                    continue;
                float* stored = layer.Keys(key / KvStore.PageRows, head / group) + key % KvStore.PageRows * layer.PaddedHeadDim;
                float score = TensorPrimitives.Dot(
                    new ReadOnlySpan<float>(work->Q.Floats + (long)row * work->Q.Stride + head * layer.HeadDim, layer.HeadDim),
                    new ReadOnlySpan<float>(stored, layer.HeadDim));
                float logSumExp = work->LogSumExp.Floats[(long)row * work->LogSumExp.Stride + head];
                int line = work->Reduction switch
                {
                    ProbeReduction.Heads => index,
                    ProbeReduction.Rows => head,
                    _ => 0,
                };
                work->Output.Floats[(long)line * work->Output.Stride + key] +=
                    MathF.Exp(work->Scale * score + bias - logSumExp) * share;
            }
        }
    }

    private static float Share(Work* work, int heads) => 1f / work->Reduction switch
    {
        ProbeReduction.Heads => heads,
        ProbeReduction.Rows => work->Rows.Columns,
        _ => heads * work->Rows.Columns,
    };

    private struct Work
    {
        public Tensor Q;
        public KvLayer Layer;
        public Tensor LogSumExp;
        public Tensor Rows;
        public Tensor Output;
        public QuerySegment* Segments;
        public int SegmentCount;
        public KeyRange* Ranges;
        public uint* KeyMask;
        public float* KeyBias;
        public uint* HeadMasks;
        public int HeadMaskWords;
        public float Scale;
        public ProbeReduction Reduction;
    }
}

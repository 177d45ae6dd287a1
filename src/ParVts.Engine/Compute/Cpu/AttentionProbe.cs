using System.Numerics.Tensors;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// Probabilities of a few query rows, from queries, keys and log-sum-exp (<see cref="ComputeDevice.Probe"/>), and what is made of
/// them. A task is one page of keys: tasks write to columns of their own.
/// </summary>
internal static unsafe class AttentionProbe
{
    public static void Run(
        WorkerPool pool, in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp,
        in Tensor rows, ProbeReduction reduction, in Tensor output)
    {
        var work = new Work { LogSumExp = logSumExp, Rows = rows, Output = output, Reduction = reduction };
        Run(pool, KvStore.PagesFor(layer.Length), &RunPage, q, layer, plan, scale, ref work);
    }

    /// <summary>The log-sum-exp of each named row and head, by one online pass over the row's keys; a task is one of them.</summary>
    public static void LogSumExp(
        WorkerPool pool, in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows)
    {
        var work = new Work { LogSumExp = logSumExp, Rows = rows };
        Run(pool, rows.Columns * (q.Columns / layer.HeadDim), &SumRow, q, layer, plan, scale, ref work);
    }

    /// <summary>VisiPruner's sums (<see cref="ComputeDevice.ValueProbe"/>): a line of A and a line of B for each named row.</summary>
    public static void RunValues(
        WorkerPool pool, in Tensor q, in Tensor attended, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp,
        in Tensor rows, in Tensor sums)
    {
        var work = new Work { Attended = attended, LogSumExp = logSumExp, Rows = rows, Output = sums };
        Run(pool, KvStore.PagesFor(layer.Length), &RunPage, q, layer, plan, scale, ref work);
    }

    private static void Run(
        WorkerPool pool, int tasks, delegate*<void*, int, int, void> task, in Tensor q, in KvLayer layer, AttentionPlan plan, float scale,
        ref Work work)
    {
        fixed (QuerySegment* segments = plan.Segments)
        fixed (KeyRange* ranges = plan.Ranges)
        fixed (uint* keyMask = plan.KeyMask)
        fixed (float* keyBias = plan.KeyBias)
        fixed (uint* headMasks = plan.HeadMasks)
        fixed (Work* pinned = &work)
        {
            work.KeyMask = keyMask;
            work.KeyBias = keyBias;
            work.HeadMasks = headMasks;
            work.HeadMaskWords = plan.HeadMaskWords;
            work.Q = q;
            work.Layer = layer;
            work.Segments = segments;
            work.SegmentCount = plan.Segments.Length;
            work.Ranges = ranges;
            work.Scale = scale;
            pool.Run(tasks, task, pinned);
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
        int heads = work->Q.Columns / work->Layer.HeadDim;
        float share = work->Attended.IsEmpty ? Share(work, heads) : 0f;
        for (int key = Math.Max(from, range.Start); key < Math.Min(to, range.End); key++)
        {
            if (!Sees(work, range, query, key))
                continue;
            for (int head = 0; head < heads; head++)
            {
                if (Skips(work, range, head))
                    continue;
                float probability = MathF.Exp(Score(work, row, head, key) - work->LogSumExp.Floats[(long)row * work->LogSumExp.Stride + head]);
                if (work->Attended.IsEmpty)
                    Add(work, Line(work, index, head), key, probability * share);
                else
                    AddValue(work, index, head, key, probability);
            }
        }
    }

    private static void AddValue(Work* work, int index, int head, int key, float probability)
    {
        KvLayer layer = work->Layer;
        int group = work->Q.Columns / layer.HeadDim / layer.Heads;
        var value = new ReadOnlySpan<float>(
            layer.Values(key / KvStore.PageRows, head / group) + key % KvStore.PageRows * layer.PaddedHeadDim, layer.HeadDim);
        var attended = new ReadOnlySpan<float>(work->Attended.Floats + (long)index * work->Attended.Stride + head * layer.HeadDim, layer.HeadDim);
        Add(work, 2 * index, key, probability * TensorPrimitives.Dot(attended, value));
        Add(work, 2 * index + 1, key, probability * probability * TensorPrimitives.SumOfSquares(value));
    }

    private static void Add(Work* work, int line, int key, float value) => work->Output.Floats[(long)line * work->Output.Stride + key] += value;

    private static int Line(Work* work, int index, int head) => work->Reduction switch
    {
        ProbeReduction.Heads => index,
        ProbeReduction.Rows => head,
        _ => 0,
    };

    private static void SumRow(void* state, int task, int worker)
    {
        Work* work = (Work*)state;
        int heads = work->Q.Columns / work->Layer.HeadDim;
        int row = work->Rows.Integers[task / heads];
        int head = task % heads;
        float largest = float.NegativeInfinity;
        float sum = 0f;
        for (int s = 0; s < work->SegmentCount; s++)
        {
            QuerySegment segment = work->Segments[s];
            if (row < segment.Start || row >= segment.End)
                continue;
            for (int r = 0; r < segment.RangeCount; r++)
            {
                KeyRange range = work->Ranges[segment.FirstRange + r];
                if (Skips(work, range, head))
                    continue;
                for (int key = range.Start; key < range.End; key++)
                {
                    if (!Sees(work, range, row - segment.Start, key))
                        continue;
                    float score = Score(work, row, head, key);
                    if (score > largest)
                    {
                        sum = sum * MathF.Exp(largest - score) + 1f;
                        largest = score;
                    }
                    else if (score > float.NegativeInfinity)
                    {
                        sum += MathF.Exp(score - largest);
                    }
                }
            }
        }

        work->LogSumExp.Floats[(long)row * work->LogSumExp.Stride + head] = sum == 0f ? float.NegativeInfinity : largest + MathF.Log(sum);
    }

    private static bool Sees(Work* work, in KeyRange range, int query, int key) =>
        range.Sees(query, key) && (work->KeyMask == null || (work->KeyMask[key / 32] >> key & 1) != 0);

    private static bool Skips(Work* work, in KeyRange range, int head) =>
        range.Heads >= 0 && (work->HeadMasks[range.Heads * work->HeadMaskWords + head / 32] >> head & 1) != 0;

    private static float Score(Work* work, int row, int head, int key)
    {
        KvLayer layer = work->Layer;
        int group = work->Q.Columns / layer.HeadDim / layer.Heads;
        float* stored = layer.Keys(key / KvStore.PageRows, head / group) + key % KvStore.PageRows * layer.PaddedHeadDim;
        float product = TensorPrimitives.Dot(
            new ReadOnlySpan<float>(work->Q.Floats + (long)row * work->Q.Stride + head * layer.HeadDim, layer.HeadDim),
            new ReadOnlySpan<float>(stored, layer.HeadDim));
        return work->Scale * product + (work->KeyBias == null ? 0f : work->KeyBias[key]);
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
        public Tensor Attended;
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

using ParVts.Engine.Compute;

namespace ParVts.Engine.Tests.Compute;

/// <content>What policies need: probes, rows that move, merge and fuse, thinned caches.</content>
internal abstract unsafe partial class PlainDevice<T>
{
    public override void Probe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        ProbeReduction reduction, in Tensor output)
    {
        int heads = q.Columns / layer.HeadDim;
        for (int key = 0; key < layer.Length; key++)
        {
            var sums = new T[output.Rows];
            for (int i = 0; i < rows.Columns; i++)
            {
                int row = ((int*)rows.Address)[i];
                for (int head = 0; head < heads; head++)
                {
                    int line = reduction == ProbeReduction.Heads ? i : reduction == ProbeReduction.Rows ? head : 0;
                    if (!Sees(plan, row, head, key))
                        continue;
                    sums[line] += Probability(q, layer, plan, scale, logSumExp, row, head, key);
                }
            }

            int averaged = reduction switch
            {
                ProbeReduction.Heads => heads,
                ProbeReduction.Rows => rows.Columns,
                _ => heads * rows.Columns,
            };
            for (int line = 0; line < output.Rows; line++)
                Set(output, line, key, sums[line] / T.CreateChecked(averaged));
        }
    }

    public override void GatherRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
                Set(output, row, i, Get(x, ((int*)rows.Address)[row], i));
        }
    }

    public override void ScatterRows(in Tensor x, in Tensor rows, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            for (int i = 0; i < x.Columns; i++)
                Set(output, ((int*)rows.Address)[row], i, Get(x, row, i));
        }
    }

    public override void MergeRows(in Tensor x, in Tensor offsets, in Tensor sources, in Tensor weights, in Tensor output)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                T sum = T.Zero;
                for (int entry = ((int*)offsets.Address)[row]; entry < ((int*)offsets.Address)[row + 1]; entry++)
                    sum += Get(weights, 0, entry) * Get(x, ((int*)sources.Address)[entry], i);
                Set(output, row, i, sum);
            }
        }
    }

    public override void FusePaths(in Tensor x, in Tensor first, in Tensor second, in Tensor weights)
    {
        for (int row = 0; row < first.Columns; row++)
        {
            int a = ((int*)first.Address)[row];
            int b = ((int*)second.Address)[row];
            T weight = Get(weights, 0, row);
            for (int i = 0; i < x.Columns; i++)
                Set(x, a, i, weight * Get(x, a, i) + (T.One - weight) * Get(x, b, i));
        }
    }

    public override void SelectTop(in Tensor scores, int offset, in Tensor kept, in Tensor rest)
    {
        var keys = new double[scores.Columns];
        for (int i = 0; i < keys.Length; i++)
        {
            double score = double.CreateChecked(Get(scores, 0, i));
            keys[i] = double.IsNaN(score) ? double.NegativeInfinity : score;
        }

        int[] order = [.. Enumerable.Range(0, keys.Length).OrderByDescending(i => keys[i]).ThenBy(i => i)];
        SetIntegers(kept, order.Take(kept.Columns).Order().Select(i => offset + i));
        if (!rest.IsEmpty)
            SetIntegers(rest, order.Skip(kept.Columns).Order().Select(i => offset + i));
    }

    public override void ResolveRows(in Tensor template, in Tensor places, in Tensor rows, in Tensor output)
    {
        for (int i = 0; i < template.Columns; i++)
        {
            int row = ((int*)template.Address)[i];
            ((int*)output.Address)[i] = row >= 0 ? row : ((int*)rows.Address)[((int*)places.Address)[-1 - row]];
        }
    }

    public override void ScoreShare(in Tensor scores, in Tensor places, in Tensor output)
    {
        T held = T.Zero;
        T all = T.Zero;
        for (int i = 0; i < places.Columns; i++)
            held += Get(scores, 0, ((int*)places.Address)[i]);
        for (int i = 0; i < scores.Columns; i++)
            all += Get(scores, 0, i);
        for (int i = 0; i < output.Columns; i++)
            Set(output, 0, i, held / all);
    }

    private static void SetIntegers(in Tensor tensor, IEnumerable<int> values)
    {
        int place = 0;
        foreach (int value in values)
            ((int*)tensor.Address)[place++] = value;
    }

    public override void PathWeights(in Tensor logSumExp, in Tensor first, in Tensor second, in Tensor output)
    {
        for (int row = 0; row < output.Columns; row++)
        {
            T sum = T.Zero;
            for (int head = 0; head < logSumExp.Columns; head++)
            {
                T a = Get(logSumExp, ((int*)first.Address)[row], head);
                T b = Get(logSumExp, ((int*)second.Address)[row], head);
                sum += T.IsNegativeInfinity(a) && T.IsNegativeInfinity(b) ? T.CreateChecked(0.5) : T.One / (T.One + T.Exp(b - a));
            }

            Set(output, 0, row, sum / T.CreateChecked(logSumExp.Columns));
        }
    }

    public override void KeepKeys(in KvLayer layer, in Tensor rows, int first = 0)
    {
        for (int row = first; row < first + rows.Columns; row++)
        {
            int source = ((int*)rows.Address)[row - first];
            for (int head = 0; head < layer.Heads; head++)
            {
                for (int i = 0; i < layer.PaddedHeadDim; i++)
                {
                    layer.Keys(row / 64, head)[row % 64 * layer.PaddedHeadDim + i] =
                        layer.Keys(source / 64, head)[source % 64 * layer.PaddedHeadDim + i];
                    layer.Values(row / 64, head)[row % 64 * layer.PaddedHeadDim + i] =
                        layer.Values(source / 64, head)[source % 64 * layer.PaddedHeadDim + i];
                }
            }
        }
    }

    private static T Bias(AttentionPlan plan, int key) => plan.KeyBias.IsEmpty ? T.Zero : T.CreateChecked(plan.KeyBias[key]);

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
}

using System.Numerics;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Tests.Compute;

/// <summary>The truth (contract C4): every operation in plain float64 loops.</summary>
internal sealed class ReferenceDevice : PlainDevice<double>
{
    public override string Name => "reference";
}

/// <summary>The yardstick (contract C5): the same plain loops in float32.</summary>
internal sealed class NaiveDevice : PlainDevice<float>
{
    public override string Name => "naive";
}

/// <summary>
/// Every operation as its documentation says, without any thought of speed, in arithmetic of type <typeparamref name="T"/>.
/// Operands may be of any type; results are stored in the type of the output.
/// </summary>
internal abstract unsafe partial class PlainDevice<T> : ComputeDevice
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public override string Description => typeof(T).Name;

    public override ComputeDevice Share() => this;

    public override DeviceBuffer Allocate(long bytes) => new CpuBuffer(bytes);

    public override TensorType InputType(TensorType weights) => TensorType.F32;

    public override Tensor Import(StoredTensor tensor, int rows, int columns, TensorType type, out DeviceBuffer? owned)
    {
        owned = null;
        return new(tensor.Address, tensor.Type, rows, columns);
    }

    public override void Upload<TElement>(ReadOnlySpan<TElement> source, in Tensor destination) =>
        MemoryMarshal.AsBytes(source).CopyTo(new Span<byte>((void*)destination.Address, source.Length * sizeof(TElement)));

    public override void Download<TElement>(in Tensor source, Span<TElement> destination) =>
        new ReadOnlySpan<byte>((void*)source.Address, destination.Length * sizeof(TElement)).CopyTo(MemoryMarshal.AsBytes(destination));

    public override long ScratchBytes(in ScratchNeeds needs) => 0;

    public override long ReservedScratchBytes => 0;

    public override void ReserveScratch(in ScratchNeeds needs)
    {
    }

    public override void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate = false)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                T before = accumulate ? Get(output, row, i) : T.Zero;
                Set(output, row, i, before + Get(table, ((int*)ids.Address)[row], i));
            }
        }
    }

    public override void RmsNorm(in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            T squares = T.Zero;
            for (int i = 0; i < x.Columns; i++)
                squares += Get(x, row, i) * Get(x, row, i);
            T scale = T.One / T.Sqrt(squares / T.CreateChecked(x.Columns) + T.CreateChecked(epsilon));
            for (int i = 0; i < x.Columns; i++)
                Set(output, row, i, Get(x, row, i) * scale * Get(weight, 0, i));
        }
    }

    public override void LayerNorm(in Tensor x, in Tensor weight, in Tensor bias, float epsilon, in Tensor output)
    {
        T count = T.CreateChecked(x.Columns);
        for (int row = 0; row < x.Rows; row++)
        {
            T mean = T.Zero;
            for (int i = 0; i < x.Columns; i++)
                mean += Get(x, row, i);
            mean /= count;
            T variance = T.Zero;
            for (int i = 0; i < x.Columns; i++)
                variance += (Get(x, row, i) - mean) * (Get(x, row, i) - mean);
            T scale = T.One / T.Sqrt(variance / count + T.CreateChecked(epsilon));
            for (int i = 0; i < x.Columns; i++)
                Set(output, row, i, (Get(x, row, i) - mean) * scale * Get(weight, 0, i) + Get(bias, 0, i));
        }
    }

    public override void MatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate = false)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            for (int column = 0; column < weight.Rows; column++)
            {
                T sum = T.Zero;
                for (int i = 0; i < x.Columns; i++)
                    sum += Get(x, row, i) * Get(weight, column, i);
                if (!bias.IsEmpty)
                    sum += Get(bias, 0, column);
                Set(output, row, column, accumulate ? Get(output, row, column) + sum : sum);
            }
        }
    }

    // The angle is float32 by definition (the published models compute it so); only its functions are in T.
    public override void RotaryTable(in Tensor positions, in Tensor frequencies, in Tensor output)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < frequencies.Columns; i++)
            {
                float angle = ((int*)positions.Address)[row * positions.Stride] * ((float*)frequencies.Address)[i];
                Set(output, row, i, T.Cos(T.CreateChecked(angle)));
                Set(output, row, frequencies.Columns + i, T.Sin(T.CreateChecked(angle)));
            }
        }
    }

    public override void RopeStore(in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow)
    {
        for (int row = 0; row < Math.Max(q.Rows, k.Rows); row++)
        {
            for (int head = 0; head < q.Columns / layer.HeadDim; head++)
            {
                T[] rotated = Rotate(q, table, row, head * layer.HeadDim, layer.HeadDim);
                for (int i = 0; i < layer.HeadDim; i++)
                    Set(q, row, head * layer.HeadDim + i, rotated[i]);
            }

            if (k.IsEmpty)
                continue;
            int page = (firstRow + row) / KvStore.PageRows;
            int place = (firstRow + row) % KvStore.PageRows * layer.PaddedHeadDim;
            for (int head = 0; head < layer.Heads; head++)
            {
                T[] rotated = Rotate(k, table, row, head * layer.HeadDim, layer.HeadDim);
                for (int i = 0; i < layer.PaddedHeadDim; i++)
                {
                    bool inside = i < layer.HeadDim;
                    layer.Keys(page, head)[place + i] = inside ? float.CreateChecked(rotated[i]) : 0f;
                    layer.Values(page, head)[place + i] = inside ? float.CreateChecked(Get(v, row, head * layer.HeadDim + i)) : 0f;
                }
            }
        }
    }

    public override void SegmentAttention(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp = default)
    {
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
                Set(output, row, i, T.Zero);
        }

        foreach (QuerySegment segment in plan.Segments)
        {
            for (int row = segment.Start; row < segment.End; row++)
            {
                for (int head = 0; head < q.Columns / layer.HeadDim; head++)
                    Attend(q, layer, plan, segment, row, head, scale, output, logSumExp);
            }
        }
    }

    public override void DecodeAttention(in Tensor q, in KvLayer layer, float scale, in Tensor output)
    {
        var plan = new AttentionPlan();
        plan.AddSegment(0, 1);
        plan.AddRange(new KeyRange(0, layer.Length, KeyRule.Full));
        SegmentAttention(q, layer, plan, scale, output);
    }

    public override void Increment(in Tensor counts)
    {
        for (int i = 0; i < counts.Columns; i++)
            ((int*)counts.Address)[i]++;
    }

    public override int RowTile => 1;

    public override void Activate(in Tensor x, Activation function, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            for (int i = 0; i < x.Columns; i++)
                Set(output, row, i, Apply(function, Get(x, row, i)));
        }
    }

    public override void GatedActivate(in Tensor gate, in Tensor up, Activation function, in Tensor output)
    {
        for (int row = 0; row < gate.Rows; row++)
        {
            for (int i = 0; i < gate.Columns; i++)
                Set(output, row, i, Apply(function, Get(gate, row, i)) * Get(up, row, i));
        }
    }

    public override void Convert(in Tensor x, in Tensor output)
    {
        for (int row = 0; row < x.Rows; row++)
        {
            for (int i = 0; i < x.Columns; i++)
                Set(output, row, i, Get(x, row, i));
        }
    }

    public override void Patchify(in Tensor pixels, int patchSize, in Tensor output)
    {
        int height = pixels.Rows / 3;
        int across = pixels.Columns / patchSize;
        for (int row = 0; row < output.Rows; row++)
        {
            for (int i = 0; i < output.Columns; i++)
            {
                int channel = i / (patchSize * patchSize);
                int y = row / across * patchSize + i / patchSize % patchSize;
                Set(output, row, i, Get(pixels, channel * height + y, row % across * patchSize + i % patchSize));
            }
        }
    }

    protected override void Dispose(bool disposing)
    {
    }

    private static void Attend(
        in Tensor q, in KvLayer layer, AttentionPlan plan, QuerySegment segment, int row, int head, float scale,
        in Tensor output, in Tensor logSumExp)
    {
        int size = layer.HeadDim;
        int kvHead = head / (q.Columns / size / layer.Heads);
        var seen = new List<(KeyRange Range, int Key, T Score)>();
        foreach (KeyRange range in plan.RangesOf(segment))
        {
            for (int key = range.Start; key < range.End; key++)
            {
                if (plan.Skips(range, head) || !plan.Sees(range, row - segment.Start, key))
                    continue;
                T score = T.Zero;
                for (int i = 0; i < size; i++)
                    score += Get(q, row, head * size + i) * T.CreateChecked(layer.Keys(key / 64, kvHead)[key % 64 * layer.PaddedHeadDim + i]);
                seen.Add((range, key, score * T.CreateChecked(scale) + Bias(plan, key)));
            }
        }

        if (seen.Count == 0)
        {
            if (!logSumExp.IsEmpty)
                Set(logSumExp, row, head, T.NegativeInfinity);
            return;
        }

        T largest = seen.Max(entry => entry.Score);
        T denominator = T.Zero;
        foreach ((_, _, T score) in seen)
            denominator += T.Exp(score - largest);
        if (!logSumExp.IsEmpty)
            Set(logSumExp, row, head, largest + T.Log(denominator));
        for (int i = 0; i < size; i++)
        {
            T sum = T.Zero;
            foreach ((KeyRange range, int key, T score) in seen)
            {
                if (range.Value == ValueRule.None)
                    continue;
                int source = range.Value == ValueRule.Sink ? range.SinkRow : key;
                sum += T.Exp(score - largest) / denominator
                    * T.CreateChecked(layer.Values(source / 64, kvHead)[source % 64 * layer.PaddedHeadDim + i]);
            }

            Set(output, row, head * size + i, sum);
        }
    }

    private static T[] Rotate(in Tensor x, in Tensor table, int row, int first, int size)
    {
        T[] result = new T[size];
        for (int i = 0; i < size; i++)
            result[i] = Get(x, row, first + i);
        if (table.IsEmpty)
            return result;
        for (int i = 0; i < size / 2; i++)
        {
            T a = Get(x, row, first + i);
            T b = Get(x, row, first + size / 2 + i);
            T cosine = Get(table, row, i);
            T sine = Get(table, row, size / 2 + i);
            result[i] = a * cosine - b * sine;
            result[size / 2 + i] = b * cosine + a * sine;
        }

        return result;
    }

    private static T Apply(Activation function, T x)
    {
        T half = T.CreateChecked(0.5);
        switch (function)
        {
            case Activation.Silu:
                return x / (T.One + T.Exp(-x));
            case Activation.QuickGelu:
                return x / (T.One + T.Exp(-(T.CreateChecked(1.702) * x)));
            case Activation.Gelu:
                return half * x * (T.One + Erf(x * T.CreateChecked(0.70710678118654752)));
            case Activation.GeluTanh:
                T inner = T.CreateChecked(0.79788456080286536) * (x + T.CreateChecked(0.044715) * x * x * x);
                return half * x * (T.One + T.Tanh(inner));
            default:
                return T.IsNaN(x) ? x : T.Max(x, T.Zero);
        }
    }

    // The series of Abramowitz and Stegun 7.1.6, whose terms are all positive; the result is rounded to T.
    private static T Erf(T value)
    {
        double x = double.CreateChecked(value);
        if (Math.Abs(x) > 6)
            return T.CreateChecked(Math.Sign(x));
        double term = x;
        double sum = x;
        for (int n = 1; Math.Abs(term) > 1e-20 * Math.Abs(sum) && n < 500; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }

        return T.CreateChecked(2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum);
    }

    private static T Get(in Tensor tensor, int row, int column)
    {
        long place = (long)row * tensor.Stride + column;
        return tensor.Type switch
        {
            TensorType.F64 => T.CreateChecked(((double*)tensor.Address)[place]),
            TensorType.F32 => T.CreateChecked(((float*)tensor.Address)[place]),
            TensorType.F16 => T.CreateChecked(((Half*)tensor.Address)[place]),
            TensorType.BF16 => T.CreateChecked(BitConverter.Int32BitsToSingle(((ushort*)tensor.Address)[place] << 16)),
            _ => throw new NotSupportedException(tensor.Type.ToString()),
        };
    }

    private static ushort Narrow(float value, TensorType type)
    {
        ushort narrow = 0;
        var row = new Tensor((nint)(&value), TensorType.F32, 1, 1);
        ParVts.Engine.Compute.Cuda.Narrowing.Row(row, type, new Span<ushort>(ref narrow));
        return narrow;
    }

    private static void Set(in Tensor tensor, int row, int column, T value)
    {
        long place = (long)row * tensor.Stride + column;
        if (tensor.Type == TensorType.F64)
            ((double*)tensor.Address)[place] = double.CreateChecked(value);
        else if (tensor.Type == TensorType.F32)
            ((float*)tensor.Address)[place] = float.CreateChecked(value);
        else
            ((ushort*)tensor.Address)[place] = Narrow(float.CreateChecked(value), tensor.Type);
    }
}

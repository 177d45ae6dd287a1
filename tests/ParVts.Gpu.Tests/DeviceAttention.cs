using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;
using ParVts.GpuSim;

namespace ParVts.Gpu.Tests;

/// <summary>Heads and types of an attention.</summary>
/// <param name="HeadDim">Elements of a head.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">KV heads.</param>
/// <param name="Type">BF16 or F16.</param>
internal sealed record AttentionShape(int HeadDim, int Heads, int KvHeads, TensorType Type)
{
    public int Padded => KvStore.Pad(HeadDim);

    public float Scale => 1f / MathF.Sqrt(HeadDim);
}

/// <summary>What a launch left behind.</summary>
internal sealed record AttentionResult(float[] Output, float[] LogSumExp, LaunchCounts? Counts)
{
    /// <summary>Matrix instructions, of a whole warp each; only the simulated GPU counts them.</summary>
    public long Products => Required.MatrixOperations;

    /// <summary>Pieces of 16 bytes of keys and values that were fetched.</summary>
    public long Copies => Required.ByText.Where(pair => pair.Key.StartsWith("cp.async.cg", StringComparison.Ordinal)).Sum(pair => pair.Value);

    private LaunchCounts Required
    {
        get
        {
            if (Counts is null)
                Assert.Ignore("a real GPU does not count what it executes");
            return Counts!;
        }
    }
}

/// <summary>
/// Queries, keys and values on a device. Pages lie in a shuffled order; what lies behind the last key, behind a row's columns and
/// in the results is memory that nobody wrote.
/// </summary>
internal sealed unsafe class DeviceAttention : IDisposable
{
    private const int Room = 16;

    private readonly TestGpu _gpu;
    private readonly List<DeviceBuffer> _buffers = [];
    private readonly nint[] _pages;
    private readonly Tensor _queries;
    private readonly KvLayer _layer;

    public DeviceAttention(TestGpu gpu, Random random, AttentionShape shape, int rows, int keys, double peak = 1)
    {
        _gpu = gpu;
        Shape = shape;
        Rows = rows;
        Queries = Values(random, rows * shape.Heads * shape.HeadDim, peak);
        Keys = [.. Values(random, keys * shape.KvHeads * shape.HeadDim, 1).Select(x => Round(x, shape.Type))];
        KeyValues = [.. Values(random, keys * shape.KvHeads * shape.HeadDim, 1).Select(x => Round(x, shape.Type))];
        _pages = new nint[KvStore.PagesFor(keys)];
        foreach (int page in Enumerable.Range(0, _pages.Length).OrderBy(_ => random.Next()))
            _pages[page] = Empty(TensorType.BF16, 2 * shape.KvHeads * KvStore.PageRows, shape.Padded).Address;
        Tensor table = Empty(TensorType.I64, 1, _pages.Length);
        gpu.Device.Upload<nint>(_pages, table);
        _layer = new KvLayer(table.Address, keys, shape.KvHeads, shape.HeadDim, shape.Type);
        _queries = Empty(TensorType.F32, rows, shape.Heads * shape.HeadDim + Room) with { Columns = shape.Heads * shape.HeadDim };
        Store(0, keys);
    }

    public AttentionShape Shape { get; }

    public int Rows { get; }

    /// <summary>[rows, heads·head_dim].</summary>
    public float[] Queries { get; }

    /// <summary>[keys, kv_heads·head_dim], exact in the type.</summary>
    public float[] Keys { get; }

    /// <inheritdoc cref="Keys"/>
    public float[] KeyValues { get; }

    public int KeyCount => Keys.Length / Shape.KvHeads / Shape.HeadDim;

    public static float Round(float x, TensorType type) => type == TensorType.F16
        ? (float)(Half)x
        : BitConverter.UInt32BitsToSingle((uint)Narrowing.ToBFloat16(x) << 16);

    /// <summary>Writes keys and values of rows [<paramref name="from"/>, <paramref name="to"/>) to their pages.</summary>
    public void Store(int from, int to)
    {
        ushort[] row = new ushort[Shape.Padded];
        for (int key = from; key < to; key++)
        {
            for (int head = 0; head < 2 * Shape.KvHeads; head++)
            {
                float[] source = head < Shape.KvHeads ? Keys : KeyValues;
                for (int d = 0; d < Shape.HeadDim; d++)
                    row[d] = Bits(source[(key * Shape.KvHeads + head % Shape.KvHeads) * Shape.HeadDim + d]);
                nint place = _pages[key / KvStore.PageRows] + (head * KvStore.PageRows + key % KvStore.PageRows) * Shape.Padded * sizeof(ushort);
                _gpu.Device.Upload<ushort>(row, new Tensor(place, Shape.Type, 1, Shape.Padded));
            }
        }
    }

    /// <summary>Attends by the plan, in its own tiles or in <paramref name="tiles"/>; with the log-sum-exp or without.</summary>
    public AttentionResult Run(AttentionPlan plan, AttentionTile[]? tiles = null, bool sums = true)
    {
        _gpu.Device.Upload<float>(Queries, _queries);
        Tensor output = Empty(Shape.Type, Rows, _queries.Columns + Room) with { Columns = _queries.Columns };
        Tensor logs = sums ? Empty(TensorType.F32, Rows, Shape.Heads + 1) with { Columns = Shape.Heads } : default;
        long flops = _gpu.Device.Counters.AttentionFlops;
        if (tiles is null)
            _gpu.Device.SegmentAttention(_queries, _layer, plan, Shape.Scale, output, logs);
        else
            _gpu.Device.SegmentAttention(_queries, _layer, plan, Shape.Scale, output, logs, tiles);
        Assert.That(_gpu.Device.Counters.AttentionFlops - flops, Is.EqualTo(4 * Shape.HeadDim * plan.CountPairs(Shape.Heads)));
        ushort[] bits = new ushort[Rows * output.Columns];
        float[] logSumExp = new float[logs.Rows * logs.Columns];
        _gpu.Device.Download(output, bits.AsSpan());
        if (sums)
            _gpu.Device.Download(logs, logSumExp.AsSpan());
        return new AttentionResult([.. bits.Select(Value)], logSumExp, _gpu.Sim?.Counters.Kernels["segment_attention"].Last);
    }

    /// <summary>The same keys and values in float32 pages of the CPU.</summary>
    public KvStore HostStore()
    {
        using var device = new CpuDevice(1);
        var store = new KvStore(device, 1, Shape.KvHeads, Shape.HeadDim);
        store.Reserve(KvNeeds.Uniform(1, KeyCount));
        store.Extend(0, KeyCount);
        fixed (float* keys = Keys, values = KeyValues)
        {
            int columns = Shape.KvHeads * Shape.HeadDim;
            var k = new Tensor((nint)keys, TensorType.F32, KeyCount, columns);
            using var q = new TestMatrix(TensorType.F32, KeyCount, columns);
            device.RopeStore(q.Tensor, k, k with { Address = (nint)values }, default, store.Layer(0), 0);
        }

        return store;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers)
            buffer.Dispose();
    }

    private static float[] Values(Random random, int count, double scale) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2 * scale))];

    private ushort Bits(float x) => Shape.Type == TensorType.F16 ? BitConverter.HalfToUInt16Bits((Half)x) : Narrowing.ToBFloat16(x);

    private float Value(ushort bits) =>
        Shape.Type == TensorType.F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);

    // Memory that nobody has written; on a real GPU it holds NaN.
    private Tensor Empty(TensorType type, int rows, int columns)
    {
        var shape = new Tensor(0, type, rows, columns);
        DeviceBuffer buffer = _gpu.Device.Allocate((long)rows * columns * shape.ElementBytes);
        _buffers.Add(buffer);
        Tensor view = buffer.View(type, rows, columns);
        if (TestGpu.IsReal)
            _gpu.Device.Upload<byte>(Enumerable.Repeat((byte)0xFF, rows * columns * shape.ElementBytes).ToArray(), view);
        return view;
    }
}

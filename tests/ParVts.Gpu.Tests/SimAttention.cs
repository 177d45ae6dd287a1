using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;
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
internal sealed record AttentionResult(float[] Output, float[] LogSumExp, LaunchCounts Counts)
{
    /// <summary>Matrix instructions, of a whole warp each.</summary>
    public long Products => Counts.ByText.Where(pair => pair.Key.StartsWith("mma", StringComparison.Ordinal)).Sum(pair => pair.Value) / 32;

    /// <summary>Pieces of 16 bytes of keys and values that were fetched.</summary>
    public long Copies => Counts.ByText.Where(pair => pair.Key.StartsWith("cp.async.cg", StringComparison.Ordinal)).Sum(pair => pair.Value);
}

/// <summary>
/// Queries, keys and values, and segment_attention.cu on a simulated GPU over them. Pages lie in a shuffled order with gaps; what lies
/// behind the last key, behind a result's columns and in the results themselves is memory that nobody wrote.
/// </summary>
internal sealed unsafe class SimAttention : IDisposable
{
    private const int Gap = 8;
    private static readonly ConcurrentDictionary<(int, TensorType), string> s_compiled = new();

    private readonly SimGpu _gpu = new();
    private readonly SimKernel _kernel;
    private readonly Dictionary<int, ulong> _pages = [];
    private readonly ulong _table;

    public SimAttention(Random random, AttentionShape shape, int rows, int keys, double peak = 1)
    {
        Shape = shape;
        Rows = rows;
        _kernel = _gpu.LoadModule(Ptx(shape))["segment_attention"];
        Queries = Values(random, rows * shape.Heads * shape.HeadDim, peak);
        Keys = [.. Values(random, keys * shape.KvHeads * shape.HeadDim, 1).Select(x => Round(x, shape.Type))];
        KeyValues = [.. Values(random, keys * shape.KvHeads * shape.HeadDim, 1).Select(x => Round(x, shape.Type))];
        int pages = KvStore.PagesFor(keys);
        foreach (int page in Enumerable.Range(0, pages).OrderBy(_ => random.Next()))
            _pages[page] = _gpu.Memory.Allocate(2L * shape.KvHeads * KvStore.PageRows * shape.Padded * sizeof(ushort), $"page {page}");
        _table = Upload<ulong>([.. Enumerable.Range(0, pages).Select(page => _pages[page])]);
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
                _gpu.Memory.Write(
                    _pages[key / KvStore.PageRows] + (ulong)((head * KvStore.PageRows + key % KvStore.PageRows) * Shape.Padded * sizeof(ushort)),
                    MemoryMarshal.AsBytes<ushort>(row));
            }
        }
    }

    /// <summary>Attends by the plan, in its own tiles or in <paramref name="tiles"/>.</summary>
    public AttentionResult Run(AttentionPlan plan, AttentionTile[]? tiles = null)
    {
        if (tiles is null)
        {
            var list = new AttentionTiles();
            list.Fill(plan, Rows);
            tiles = list.Tiles.ToArray();
        }

        int columns = Shape.Heads * Shape.HeadDim;
        int queryStride = columns + 4;
        float[] padded = new float[Rows * queryStride];
        Array.Fill(padded, float.NaN);
        for (int row = 0; row < Rows; row++)
            Queries.AsSpan(row * columns, columns).CopyTo(padded.AsSpan(row * queryStride));
        int stride = columns + Gap;
        int sumStride = Shape.Heads + 1;
        ulong output = _gpu.Memory.Allocate((long)Rows * stride * sizeof(ushort), "out");
        ulong sums = _gpu.Memory.Allocate((long)Rows * sumStride * sizeof(float), "lse");
        var arguments = new Arguments
        {
            Q = Upload<float>(padded),
            QStride = queryStride,
            Pages = _table,
            Tiles = Upload<AttentionTile>(tiles),
            Ranges = Upload(plan.Ranges),
            KeyMask = Upload(plan.KeyMask),
            KeyBias = Upload(plan.KeyBias),
            HeadMasks = Upload(plan.HeadMasks),
            Scale = Shape.Scale,
            Output = output,
            OutputStride = stride,
            LogSumExp = sums,
            LogSumExpStride = sumStride,
            Heads = Shape.Heads,
            KvHeads = Shape.KvHeads,
        };
        LaunchCounts counts = _gpu.Launch(
            _kernel, new Dim3(tiles.Length, Shape.Heads), new Dim3(128), 3 * KvStore.PageRows * Shape.Padded * sizeof(ushort),
            MemoryMarshal.AsBytes(new ReadOnlySpan<Arguments>(in arguments))[.._kernel.ParameterBytes]);
        return new AttentionResult(
            [.. Read<ushort>(output, columns, stride).Select(Value)], Read<float>(sums, Shape.Heads, sumStride), counts);
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

    public void Dispose() => _gpu.Dispose();

    private static string Ptx(AttentionShape shape) => s_compiled.GetOrAdd((shape.HeadDim, shape.Type), key =>
    {
        var macros = new Dictionary<string, string>
        {
            ["HEAD_DIM"] = key.Item1.ToString(CultureInfo.InvariantCulture),
            ["ELEMENT"] = key.Item2 == TensorType.F16 ? "2" : "1",
        };
        return TestCompiler.Require().Compile(KernelSources.Get("segment_attention.cu"), new KernelTarget(80, macros, LineInfo: true)).Ptx;
    });

    private static float[] Values(Random random, int count, double scale) =>
        [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2 * scale))];

    private ushort Bits(float x) => Shape.Type == TensorType.F16 ? BitConverter.HalfToUInt16Bits((Half)x) : Narrowing.ToBFloat16(x);

    private float Value(ushort bits) =>
        Shape.Type == TensorType.F16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BitConverter.UInt32BitsToSingle((uint)bits << 16);

    private ulong Upload<T>(ReadOnlySpan<T> data)
        where T : unmanaged
    {
        if (data.Length == 0)
            return 0;
        ulong address = _gpu.Memory.Allocate(data.Length * sizeof(T), typeof(T).Name);
        _gpu.Memory.Write(address, MemoryMarshal.AsBytes(data));
        return address;
    }

    private T[] Read<T>(ulong address, int columns, int stride)
        where T : unmanaged
    {
        T[] values = new T[Rows * columns];
        for (int row = 0; row < Rows; row++)
        {
            _gpu.Memory.Read(address + (ulong)(row * stride * sizeof(T)), MemoryMarshal.AsBytes(values.AsSpan(row * columns, columns)));

            // What is behind a row's columns is nobody's: still as it was allocated.
            byte[] behind = new byte[(stride - columns) * sizeof(T)];
            _gpu.Memory.Read(address + (ulong)((row * stride + columns) * sizeof(T)), behind, allowUnwritten: true);
            Assert.That(behind, Is.All.EqualTo(0xFF), "an operation wrote behind its columns");
        }

        return values;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Arguments
    {
        public ulong Q;
        public int QStride;
        public ulong Pages;
        public ulong Tiles;
        public ulong Ranges;
        public ulong KeyMask;
        public ulong KeyBias;
        public ulong HeadMasks;
        public float Scale;
        public ulong Output;
        public int OutputStride;
        public ulong LogSumExp;
        public int LogSumExpStride;
        public int Heads;
        public int KvHeads;
    }
}

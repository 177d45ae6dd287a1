using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Tests.Compute;

namespace ParVts.Gpu.Tests;

/// <summary>
/// One layer of keys and values on every device: float32 in host memory, exact in the GPU's type; on the GPU in pages of a
/// shuffled order. Rows that are not stored are memory that nobody wrote.
/// </summary>
internal sealed unsafe class TestCache : IDisposable
{
    private readonly TestGpu _gpu;
    private readonly ReferenceDevice _host = new();
    private readonly KvStore _hostStore;
    private readonly KvStore _store;

    /// <summary>An empty layer of so many rows, which an operation is to store.</summary>
    public TestCache(TestGpu gpu, Random random, TensorType type, int rows, int kvHeads, int headDim, int capacity = 0)
    {
        _gpu = gpu;
        (Type, KvHeads, HeadDim) = (type, kvHeads, headDim);
        int most = Math.Max(rows, capacity);
        _hostStore = new KvStore(_host, 1, kvHeads, headDim);
        _hostStore.Reserve(KvNeeds.Uniform(1, most));
        _hostStore.Extend(0, rows);
        _store = new KvStore(gpu.Device, 2, kvHeads, headDim, type);
        _store.Reserve(KvNeeds.Uniform(2, Math.Max(most, 1)));

        // Pages of the other layer lie between this one's, and some that it gave back come first.
        _store.Extend(1, most);
        _store.Truncate(1, random.Next(most + 1));
        for (int row = 1; row <= rows; row += random.Next(1, 100))
        {
            _store.Extend(0, row);
            _store.Truncate(1, random.Next(_store.Length(1) + 1));
        }

        _store.Extend(0, rows);
    }

    /// <summary>A layer with random keys and values.</summary>
    public static TestCache Random(TestGpu gpu, Random random, TensorType type, int rows, int kvHeads, int headDim, int capacity = 0)
    {
        var cache = new TestCache(gpu, random, type, rows, kvHeads, headDim, capacity);
        int padded = KvStore.Pad(headDim);
        for (int start = 0; start < rows; start += KvStore.PageRows)
        {
            int count = Math.Min(KvStore.PageRows, rows - start);
            for (int head = 0; head < 2 * kvHeads; head++)
            {
                using TestMatrix values = TestMatrix.Random(random, type, count, padded);
                for (int row = 0; row < count; row++)
                    new Span<ushort>((ushort*)values.Tensor.Address + row * padded + headDim, padded - headDim).Clear();
                gpu.Device.Upload(
                    new ReadOnlySpan<ushort>((void*)values.Tensor.Address, count * padded), cache.Place(start / KvStore.PageRows, head, 0, count));
                values.Floats().CopyTo(new Span<float>(cache.Host.Keys(start / KvStore.PageRows, head), count * padded));
            }
        }

        return cache;
    }

    public TensorType Type { get; }

    public int KvHeads { get; }

    public int HeadDim { get; }

    /// <summary>The layer in host memory, float32.</summary>
    public KvLayer Host => _hostStore.Layer(0);

    /// <summary>The store on the device under test; the layer is number 0.</summary>
    public KvStore Store => _store;

    /// <summary>The layer where a device's operations run.</summary>
    public KvLayer On(ComputeDevice device) => device is CudaDevice ? _store.Layer(0) : Host;

    /// <summary>[count, 2·kv_heads·padded head size]: rows from <paramref name="first"/> on that the device under test holds, keys, then values.</summary>
    public float[] Read(int first, int count)
    {
        int padded = KvStore.Pad(HeadDim);
        float[] all = new float[count * 2 * KvHeads * padded];
        using var row = new TestMatrix(Type, 1, padded);
        for (int i = 0; i < count * 2 * KvHeads; i++)
        {
            int number = first + i / (2 * KvHeads);
            _gpu.Device.Download(
                Place(number / KvStore.PageRows, i % (2 * KvHeads), number % KvStore.PageRows, 1), new Span<ushort>((void*)row.Tensor.Address, padded));
            row.Floats().CopyTo(all, i * padded);
        }

        return all;
    }

    /// <summary>The same of the layer in host memory.</summary>
    public float[] ReadHost(int first, int count)
    {
        int padded = KvStore.Pad(HeadDim);
        float[] all = new float[count * 2 * KvHeads * padded];
        for (int i = 0; i < count * 2 * KvHeads; i++)
        {
            int number = first + i / (2 * KvHeads);
            new Span<float>(Host.Keys(number / KvStore.PageRows, i % (2 * KvHeads)) + number % KvStore.PageRows * padded, padded)
                .CopyTo(all.AsSpan(i * padded));
        }

        return all;
    }

    public void Dispose()
    {
        _hostStore.Dispose();
        _store.Dispose();
        _host.Dispose();
    }

    // So many rows of a head's keys (or, from KvHeads on, values) in a page of the device.
    private Tensor Place(int page, int head, int row, int count)
    {
        int padded = KvStore.Pad(HeadDim);
        nint[] address = new nint[1];
        _gpu.Device.Download(new Tensor(_store.Layer(0).Pages + page * sizeof(long), TensorType.I64, 1, 1), address.AsSpan());
        return new Tensor(address[0] + (nint)((long)(head * KvStore.PageRows + row) * padded * sizeof(ushort)), Type, count, padded);
    }
}

using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute;

/// <summary>
/// One layer's keys and values as an operation sees them: pages of 64 rows, <c>[K|V, kv_head, 64, head_dim padded]</c>.
/// </summary>
/// <param name="Pages">The block table in device memory: the address of each page.</param>
/// <param name="Length">Rows stored.</param>
/// <param name="Heads">KV heads.</param>
/// <param name="HeadDim">Elements of a head.</param>
/// <param name="Type">The element type.</param>
/// <param name="LengthAt">
/// For a decode step (<see cref="KvStore.StepLayer"/>): where in device memory the length stands before the step's row, so that a
/// recorded step serves every length. 0: <paramref name="Length"/> holds.
/// </param>
/// <param name="Capacity">Rows that the block table has room for.</param>
public readonly record struct KvLayer(
    nint Pages, int Length, int Heads, int HeadDim, TensorType Type = TensorType.F32, nint LengthAt = 0, int Capacity = 0)
{
    /// <summary>In place of a row number: behind the rows that <see cref="LengthAt"/> tells of.</summary>
    public const int AtLength = -1;

    /// <summary>Head size as it is stored: the next multiple of 16; what is beyond <see cref="HeadDim"/> is zero.</summary>
    public int PaddedHeadDim => KvStore.Pad(HeadDim);

    internal unsafe float* Keys(int page, int head) =>
        ((float**)Pages)[page] + (long)head * KvStore.PageRows * PaddedHeadDim;

    internal unsafe float* Values(int page, int head) =>
        ((float**)Pages)[page] + (long)(Heads + head) * KvStore.PageRows * PaddedHeadDim;
}

/// <summary>What a store must have room for.</summary>
/// <param name="Pages">Pages of all layers together, at any one time.</param>
/// <param name="Rows">Rows of the longest layer.</param>
public readonly record struct KvNeeds(long Pages, int Rows)
{
    /// <summary>So many rows in every layer.</summary>
    public static KvNeeds Uniform(int layers, int rows) => new((long)layers * KvStore.PagesFor(rows), rows);
}

/// <summary>
/// The paged, ragged KV store (contract D5): each layer has its own length and its own pages; freed pages return at
/// once and serve other layers. One caller at a time. Growing the store allocates; writing rows does not.
/// </summary>
public sealed class KvStore : IDisposable
{
    /// <summary>Rows of a page.</summary>
    public const int PageRows = 64;

    private readonly ComputeDevice _device;
    private readonly int _heads;
    private readonly int _headDim;
    private readonly TensorType _type;
    private readonly int[] _lengths;
    private readonly int[] _pageCounts;
    private readonly bool[] _tableIsStale;
    private readonly List<DeviceBuffer> _slabs = [];
    private readonly Stack<nint> _free = new();
    private nint[] _tables = [];
    private DeviceBuffer? _deviceTables;
    private DeviceBuffer? _deviceLengths;
    private int _tableWidth;
    private bool _lengthsDiffer = true;

    /// <summary>An empty store: reserve rows before writing any.</summary>
    /// <param name="device">Where its memory is.</param>
    /// <param name="layers">Layers.</param>
    /// <param name="heads">KV heads.</param>
    /// <param name="headDim">Elements of a head.</param>
    /// <param name="type">What <see cref="ComputeDevice.InputType"/> says for the model's weights.</param>
    public KvStore(ComputeDevice device, int layers, int heads, int headDim, TensorType type = TensorType.F32)
    {
        _device = device;
        _type = type;
        _heads = heads;
        _headDim = headDim;
        _lengths = new int[layers];
        _pageCounts = new int[layers];
        _tableIsStale = new bool[layers];
    }

    /// <summary>Layers.</summary>
    public int Layers => _lengths.Length;

    /// <summary>Bytes of one page: keys and values of 64 rows.</summary>
    public long PageBytes => BytesOfPage(_heads, _headDim, _type);

    /// <summary>Bytes of device memory held, in use or free.</summary>
    public long ReservedBytes => _slabs.Sum(slab => slab.Bytes) + (_deviceTables?.Bytes ?? 0) + (_deviceLengths?.Bytes ?? 0);

    /// <summary>Changes whenever tables or lengths lie somewhere else in device memory: what was recorded before is of no use then.</summary>
    public int Layout { get; private set; }

    /// <summary>Bytes of pages that hold rows now.</summary>
    public long UsedBytes => _pageCounts.Sum(count => (long)count) * PageBytes;

    /// <summary>The next multiple of 16, to which heads are padded.</summary>
    public static int Pad(int headDim) => (headDim + 15) & ~15;

    /// <summary>Pages that so many rows take.</summary>
    public static int PagesFor(int rows) => (rows + PageRows - 1) / PageRows;

    /// <summary>Bytes that <see cref="Reserve"/> needs.</summary>
    /// <param name="layers">Layers.</param>
    /// <param name="heads">KV heads.</param>
    /// <param name="headDim">Elements of a head.</param>
    /// <param name="needs">Pages and rows.</param>
    /// <param name="type">The element type.</param>
    public static long BytesFor(int layers, int heads, int headDim, in KvNeeds needs, TensorType type = TensorType.F32) =>
        needs.Pages * BytesOfPage(heads, headDim, type) + (long)layers * (PagesFor(needs.Rows) * sizeof(long) + sizeof(int));

    /// <summary>Rows that a layer holds.</summary>
    public int Length(int layer) => _lengths[layer];

    /// <summary>The layer as operations take it.</summary>
    public KvLayer Layer(int layer)
    {
        Tensor tables = _deviceTables!.View(TensorType.I64, Layers, _tableWidth);
        return new KvLayer(
            tables.Slice(layer, 1).Address, _lengths[layer], _heads, _headDim, _type, Capacity: _tableWidth * PageRows);
    }

    /// <summary>The layer as the operations of a decode step take it, between <see cref="PrepareStep"/> and <see cref="CommitStep"/>.</summary>
    public KvLayer StepLayer(int layer) =>
        Layer(layer) with { LengthAt = _deviceLengths!.View(TensorType.I32, 1, Layers).Address + layer * sizeof(int) };

    /// <summary>A page of a layer, [2 · KV heads · 64, head_dim padded]: for copying it as a whole.</summary>
    internal Tensor Page(int layer, int page) =>
        new(_tables[layer * _tableWidth + page], _type, 2 * _heads * PageRows, Pad(_headDim));

    /// <summary>[1, layers] I32: each layer's length in device memory, for a decode step.</summary>
    public Tensor DeviceLengths => _deviceLengths!.View(TensorType.I32, 1, Layers);

    /// <summary>Makes room for one more row in every layer, and the lengths in device memory right.</summary>
    public void PrepareStep()
    {
        for (int layer = 0; layer < Layers; layer++)
            ReservePages(layer, _lengths[layer] + 1);
        if (_lengthsDiffer)
            _device.Upload<int>(_lengths, DeviceLengths);

        // Whether a step that is left in the middle has counted them up, nobody knows.
        _lengthsDiffer = true;
    }

    /// <summary>Every layer holds one more row; the step has counted <see cref="DeviceLengths"/> up itself.</summary>
    public void CommitStep()
    {
        for (int layer = 0; layer < Layers; layer++)
            _lengths[layer]++;
        _lengthsDiffer = false;
    }

    /// <summary>Makes room; what is there already counts.</summary>
    /// <param name="needs">Pages of all layers together at any one time, and rows of the longest layer.</param>
    public void Reserve(in KvNeeds needs)
    {
        int width = PagesFor(needs.Rows);
        if (width > _tableWidth)
            GrowTables(width);
        long missing = needs.Pages - (_free.Count + _pageCounts.Sum());
        if (missing <= 0)
            return;
        DeviceBuffer slab = _device.Allocate(missing * PageBytes);
        _slabs.Add(slab);
        _free.EnsureCapacity(_free.Count + (int)missing + _pageCounts.Sum());
        for (long page = missing - 1; page >= 0; page--)
            _free.Push(slab.DangerousGetHandle() + (nint)(page * PageBytes));
    }

    /// <summary>Lengthens a layer to <paramref name="rows"/> rows; the new ones are to be written by the caller.</summary>
    public void Extend(int layer, int rows)
    {
        ReservePages(layer, rows);
        _lengthsDiffer |= rows > _lengths[layer];
        _lengths[layer] = Math.Max(_lengths[layer], rows);
    }

    /// <summary>Shortens a layer to <paramref name="rows"/> rows; its empty pages are free at once.</summary>
    public void Truncate(int layer, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        if (rows >= _lengths[layer])
            return;
        int pages = PagesFor(rows);
        while (_pageCounts[layer] > pages)
            _free.Push(_tables[layer * _tableWidth + --_pageCounts[layer]]);
        _lengths[layer] = rows;
        _lengthsDiffer = true;
    }

    /// <summary>Empties every layer; the memory is kept.</summary>
    public void Clear()
    {
        for (int layer = 0; layer < Layers; layer++)
            Truncate(layer, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (DeviceBuffer slab in _slabs)
            slab.Dispose();
        _deviceTables?.Dispose();
        _deviceLengths?.Dispose();
    }

    private static long BytesOfPage(int heads, int headDim, TensorType type) =>
        2L * heads * PageRows * Pad(headDim) * new Tensor(0, type, 0, 0).ElementBytes;

    private void ReservePages(int layer, int rows)
    {
        int pages = PagesFor(rows);
        if (pages > _pageCounts[layer])
        {
            if (pages > _tableWidth || pages - _pageCounts[layer] > _free.Count)
                throw new InvalidOperationException($"layer {layer}: {rows} rows were not reserved");
            _tableIsStale[layer] = true;
            while (_pageCounts[layer] < pages)
                _tables[layer * _tableWidth + _pageCounts[layer]++] = _free.Pop();
        }

        if (_tableIsStale[layer])
            UploadTable(layer);
    }

    private void GrowTables(int width)
    {
        nint[] tables = new nint[Layers * width];
        for (int layer = 0; layer < Layers; layer++)
            _tables.AsSpan(layer * _tableWidth, _pageCounts[layer]).CopyTo(tables.AsSpan(layer * width));
        _deviceLengths ??= _device.Allocate((long)Layers * sizeof(int));
        DeviceBuffer grown = _device.Allocate((long)tables.Length * sizeof(long));
        _deviceTables?.Dispose();
        _deviceTables = grown;
        Layout++;
        _tableIsStale.AsSpan().Fill(true);
        _tables = tables;
        _tableWidth = width;
        for (int layer = 0; layer < Layers; layer++)
            UploadTable(layer);
    }

    private void UploadTable(int layer)
    {
        Tensor row = _deviceTables!.View(TensorType.I64, Layers, _tableWidth).Slice(layer, 1);
        _device.Upload<nint>(_tables.AsSpan(layer * _tableWidth, _tableWidth), row);
        _tableIsStale[layer] = false;
    }
}

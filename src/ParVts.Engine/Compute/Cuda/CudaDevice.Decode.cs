using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Rotary positions, rows into the KV pages, and attention of a decode step.</content>
public sealed unsafe partial class CudaDevice
{
    private const int RopeThreads = 256;
    private const int TileThreads = 128;
    private const int MostSplits = 64;
    private const int MostGroup = 16;
    private const int KeepThreads = 256;

    // Partial sums of decode steps. A recorded step points to them: what was outgrown stays as long as the device.
    private readonly List<DeviceBuffer> _partials = [];

    /// <inheritdoc/>
    public override void RotaryTable(in Tensor positions, in Tensor frequencies, in Tensor output)
    {
        Check(
            positions.Rows == output.Rows && positions.Type == TensorType.I32 && output.Columns == 2 * frequencies.Columns,
            "RotaryTable: shapes do not match");
        Launch(
            new KernelId("rope_store.cu", "rotary_table"),
            new LaunchShape(output.Rows, 1, 1, RopeThreads),
            new RotaryArguments(
                positions.Address, positions.Stride, frequencies.Address, 0, frequencies.Columns, output.Address, output.Stride));
    }

    /// <inheritdoc/>
    public override void RopeStore(in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow)
    {
        int width = layer.Heads * layer.HeadDim;
        int rows = q.IsEmpty ? k.Rows : q.Rows;
        bool step = firstRow == KvLayer.AtLength && layer.LengthAt != 0;
        Check(k.IsEmpty == v.IsEmpty && (!q.IsEmpty || !k.IsEmpty), "RopeStore: queries, or keys and values, or all three");
        Check(q.IsEmpty || q.Columns % layer.HeadDim == 0, "RopeStore: heads do not match");
        Check(k.IsEmpty || (k.Columns == width && v.Columns == width), "RopeStore: KV heads do not match");
        Check(k.IsEmpty || (k.Rows == rows && v.Rows == rows), "RopeStore: rows do not match");
        Check(table.IsEmpty || (table.Rows == rows && table.Columns == layer.HeadDim), "RopeStore: the rotary table does not match");
        Check(k.IsEmpty || step || (firstRow >= 0 && firstRow + rows <= layer.Length), "RopeStore: the layer does not hold these rows");
        Check(layer.HeadDim % 8 == 0, "RopeStore: the GPU takes head sizes that are multiples of 8");
        Check(
            IsVector(q) && IsVector(k) && IsVector(v) && IsVector(table),
            "RopeStore: queries, keys, values and table begin, row by row, at multiples of 16 bytes");

        // A row's pieces are shared out to as many blocks as keep the GPU busy.
        int pieces = Math.Max(q.Columns / 8, layer.Heads * layer.PaddedHeadDim / 4);
        int blocks = Math.Clamp(Blocks(2 * Multiprocessors, rows), 1, Blocks(pieces, RopeThreads));
        Launch(
            new KernelId("rope_store.cu", "rope_store", Element(layer.Type), HeadDim(layer)),
            new LaunchShape(rows, blocks, 1, RopeThreads),
            new RopeArguments(
                q.Address, q.Stride, q.Columns / layer.HeadDim, k.Address, k.Stride, v.Address, v.Stride, layer.Heads, table.Address, table.Stride,
                layer.Pages, step ? layer.LengthAt : 0, step ? 0 : firstRow));
    }

    /// <inheritdoc/>
    public override void DecodeAttention(in Tensor q, in KvLayer layer, float scale, in Tensor output)
    {
        CheckSame(q, output);
        Check(q.Rows == 1, "DecodeAttention takes one row");
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "DecodeAttention: heads are not a multiple of the KV heads");
        int heads = q.Columns / layer.HeadDim;
        int group = heads / layer.Heads;
        int together = HeadsTogether(group);

        // Splits follow from what is reserved, not from the length: a recorded step serves every length.
        int own = layer.LengthAt == 0 ? 0 : 1;
        int pages = KvStore.PagesFor(Math.Max(layer.Capacity, layer.Length + own));
        int splits = Math.Clamp(Blocks(2 * Multiprocessors, heads / together), 1, Math.Clamp(pages, 1, MostSplits));
        nint partials = Partials(PartialBytes(heads, splits, layer.HeadDim));
        Counters.AttentionFlopsReference += 4L * q.Columns * (layer.Length + own);
        int sharedBytes = 4 * HeadBytes(layer) + together * (layer.PaddedHeadDim + KvStore.PageRows + 5) * sizeof(float);
        Launch(
            new KernelId("decode_attention.cu", "decode_attention", Element(layer.Type), HeadDim(layer), new Macro("GROUP", together)),
            new LaunchShape(heads / together, splits, 1, TileThreads, SharedBytes: sharedBytes),
            new DecodeArguments(
                q.Address, layer.Pages, layer.LengthAt, own == 0 ? layer.Length : 1, scale, partials, layer.Heads, group / together));
        Launch(
            new KernelId("decode_combine.cu", "decode_combine", Element(output.Type)),
            new LaunchShape(heads, 1, 1, TileThreads),
            new CombineArguments(partials, splits, layer.HeadDim, output.Address));
    }

    /// <inheritdoc/>
    public override void KeepKeys(in KvLayer layer, in Tensor rows, int first = 0)
    {
        CheckIndices(rows);
        Check(first >= 0 && first + rows.Columns <= layer.Length, "KeepKeys: the layer does not hold these rows");
        Check(layer.Type is TensorType.BF16 or TensorType.F16, "KeepKeys: the GPU keeps keys and values in 16 bits");
        Launch(
            new KernelId("pages.cu", "keep_keys"),
            new LaunchShape(2 * layer.Heads, layer.PaddedHeadDim / 16, 1, KeepThreads),
            new KeepArguments(layer.Pages, rows.Address, rows.Columns, first));
    }

    private int Multiprocessors => _shared.Context.Device.Multiprocessors;

    /// <summary>Query heads of one KV head that a block of decode_attention.cu takes at once.</summary>
    internal static int HeadsTogether(int group)
    {
        int together = Math.Min(group, MostGroup);
        while (group % together != 0)
            together--;
        return together;
    }

    private static Macro HeadDim(in KvLayer layer) => new("HEAD_DIM", layer.HeadDim);

    // One head's keys, or values, of a page.
    private static int HeadBytes(in KvLayer layer) => KvStore.PageRows * layer.PaddedHeadDim * sizeof(ushort);

    private static bool IsVector(in Tensor x) => x.Address % 16 == 0 && (x.Rows == 1 || x.Stride % 4 == 0);

    private static long PartialBytes(in ScratchNeeds needs) =>
        PartialBytes(needs.Heads, Math.Clamp(KvStore.PagesFor(needs.Keys), 1, MostSplits), needs.HeadDim);

    // An output, a maximum and a sum for each head and split.
    private static long PartialBytes(int heads, int splits, int headDim) => (long)heads * splits * (headDim + 2) * sizeof(float);

    private nint Partials(long bytes)
    {
        if (_partials.Count == 0 || _partials[^1].Bytes < bytes)
            _partials.Add(Allocate(bytes));
        return _partials[^1].DangerousGetHandle();
    }

    private readonly record struct RotaryArguments(
        nint Positions, int PositionsStride, nint Frequencies, nint Component, int Half, nint Output, int OutputStride);

    private readonly record struct RopeArguments(
        nint Q, int QStride, int Heads, nint K, int KStride, nint V, int VStride, int KvHeads, nint Table, int TableStride, nint Pages, nint RowAt,
        int FirstRow);

    private readonly record struct DecodeArguments(
        nint Q, nint Pages, nint LengthAt, int Length, float Scale, nint Partials, int KvHeads, int Parts);

    private readonly record struct CombineArguments(nint Partials, int Splits, int HeadDim, nint Output);

    private readonly record struct KeepArguments(nint Pages, nint Rows, int Count, int First);
}

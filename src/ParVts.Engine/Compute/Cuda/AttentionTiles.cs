using System.Runtime.InteropServices;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>At most 64 query rows of one segment, laid out as segment_attention.cu takes it; without ranges its rows become zeros.</summary>
/// <param name="Row">The first row.</param>
/// <param name="Rows">How many.</param>
/// <param name="Place">The first row's place in its segment.</param>
/// <param name="FirstRange">The segment's first range in the plan.</param>
/// <param name="RangeCount">How many it has.</param>
[StructLayout(LayoutKind.Sequential, Size = Bytes)]
internal readonly record struct AttentionTile(int Row, int Rows, int Place, int FirstRange, int RangeCount)
{
    /// <summary>Bytes of a tile in device memory.</summary>
    public const int Bytes = 32;
}

/// <summary>
/// The work list of an attention plan: every query row in exactly one tile, those with the most keys first, so that the last
/// blocks of a launch are short ones. Ranges need no list of their own: <see cref="KeyRange"/> is what the kernel reads.
/// One caller at a time; allocates only while it grows.
/// </summary>
internal sealed class AttentionTiles
{
    private AttentionTile[] _tiles = new AttentionTile[16];
    private long[] _order = new long[16];
    private (int Start, int End)[] _covered = new (int, int)[8];
    private int _count;

    /// <summary>The tiles.</summary>
    public ReadOnlySpan<AttentionTile> Tiles => _tiles.AsSpan(0, _count);

    /// <summary>Lists the tiles of a plan over so many query rows.</summary>
    public void Fill(AttentionPlan plan, int rows)
    {
        _count = 0;
        if (_covered.Length < plan.Segments.Length)
            _covered = new (int, int)[2 * plan.Segments.Length];
        int segments = 0;
        foreach (ref readonly QuerySegment segment in plan.Segments)
        {
            AddRows(plan, segment);
            _covered[segments++] = (segment.Start, segment.End);
        }

        // Rows of no segment.
        _covered.AsSpan(0, segments).Sort(static (a, b) => a.Start.CompareTo(b.Start));
        int next = 0;
        foreach ((int start, int end) in _covered.AsSpan(0, segments))
        {
            AddRows(plan, new QuerySegment(next, start, 0, 0));
            next = Math.Max(next, end);
        }

        AddRows(plan, new QuerySegment(next, rows, 0, 0));
        Array.Sort(_order, _tiles, 0, _count);
    }

    private void AddRows(AttentionPlan plan, in QuerySegment segment)
    {
        for (int row = segment.Start; row < segment.End; row += KvStore.PageRows)
        {
            if (_count == _tiles.Length)
            {
                Array.Resize(ref _tiles, 2 * _count);
                Array.Resize(ref _order, 2 * _count);
            }

            var tile = new AttentionTile(
                row, Math.Min(KvStore.PageRows, segment.End - row), row - segment.Start, segment.FirstRange, segment.RangeCount);
            long pages = 0;
            foreach (ref readonly KeyRange range in plan.RangesOf(segment))
                pages += Pages(range, tile);

            // Most pages first; tiles of as many stay in order.
            _order[_count] = (-pages << 32) + _count;
            _tiles[_count++] = tile;
        }
    }

    // Pages of a range that a tile reads, but for masks: as the kernel counts them.
    private static int Pages(in KeyRange range, in AttentionTile tile)
    {
        long start = range.Start;
        long end = range.End;
        long last = tile.Place + tile.Rows - 1;
        if (range.Rule == KeyRule.Diagonal)
            end = Math.Min(end, start + last + 1);
        if (range.Rule == KeyRule.Window)
        {
            long reach = range.Window / 2;
            start += Math.Max(0, tile.Place / range.GridWidth - reach) * range.GridWidth;
            end = Math.Min(end, range.Start + (last / range.GridWidth + reach + 1) * range.GridWidth);
        }

        return start < end ? (int)((end - 1) / KvStore.PageRows - start / KvStore.PageRows) + 1 : 0;
    }
}

using System.IO.Compression;
using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.Engine.Imaging.Png;

/// <summary>Inflates the rows of a PNG, one after another, and undoes their filters. Memory: two rows and a block.</summary>
internal sealed class PngRows : IDisposable
{
    // Thin pictures have millions of tiny rows: the inflater is asked for blocks, not for rows.
    private const int BlockBytes = 1 << 15;

    private readonly PngHeader _header;
    private readonly MemoryStream _source;
    private readonly ZLibStream _inflater;
    private readonly byte[] _block = new byte[BlockBytes];
    private int _blockAt;
    private int _blockEnd;
    private byte[] _current;
    private byte[] _previous;
    private int _rowBytes;

    public PngRows(PngHeader header, byte[] compressed)
    {
        _header = header;
        _source = new MemoryStream(compressed, writable: false);
        _inflater = new ZLibStream(_source, CompressionMode.Decompress);
        int longest = checked((int)header.RowBytes(header.Width));
        _current = new byte[longest];
        _previous = new byte[longest];
    }

    public void Dispose()
    {
        _inflater.Dispose();
        _source.Dispose();
    }

    /// <summary>Begins a pass: the row before its first one counts as zeros.</summary>
    public void BeginPass(int width)
    {
        _rowBytes = (int)_header.RowBytes(width);
        Array.Clear(_current);
    }

    /// <summary>The next row, good until the next call.</summary>
    public ReadOnlySpan<byte> Next()
    {
        (_current, _previous) = (_previous, _current);
        Span<byte> filter = stackalloc byte[1];
        Span<byte> row = _current.AsSpan(0, _rowBytes);
        Fill(filter);
        Fill(row);
        Unfilter(filter[0], row, _previous.AsSpan(0, _rowBytes), _header.FilterDistance);
        return row;
    }

    /// <summary>Reads on to the end of the compressed data, where its checksum stands, unless more pixels follow than belong to the picture.</summary>
    public void Finish()
    {
        if (_blockAt == _blockEnd)
            ReadBlock();
    }

    private void Fill(Span<byte> target)
    {
        while (!target.IsEmpty)
        {
            if (_blockAt == _blockEnd && ReadBlock() == 0)
                throw PngReader.Error("the compressed data ends before the last row: the file is cut short or damaged.");
            int count = Math.Min(target.Length, _blockEnd - _blockAt);
            _block.AsSpan(_blockAt, count).CopyTo(target);
            _blockAt += count;
            target = target[count..];
        }
    }

    private int ReadBlock()
    {
        try
        {
            _blockAt = 0;
            _blockEnd = _inflater.Read(_block);
            return _blockEnd;
        }
        catch (InvalidDataException e)
        {
            throw PngReader.Error("the compressed data is damaged or cut short.", e);
        }
    }

    private static void Unfilter(int filter, Span<byte> row, ReadOnlySpan<byte> above, int distance)
    {
        switch (filter)
        {
            case 0:
                break;
            case 1:
                for (int i = distance; i < row.Length; i++)
                    row[i] += row[i - distance];
                break;
            case 2:
                Up(row, above);
                break;
            case 3:
                Average(row, above, distance);
                break;
            case 4:
                Paeth(row, above, distance);
                break;
            default:
                throw PngReader.Error($"row filter {filter} does not exist: the file is damaged.");
        }
    }

    private static void Up(Span<byte> row, ReadOnlySpan<byte> above)
    {
        Span<Vector<byte>> wide = MemoryMarshal.Cast<byte, Vector<byte>>(row);
        ReadOnlySpan<Vector<byte>> wideAbove = MemoryMarshal.Cast<byte, Vector<byte>>(above);
        for (int i = 0; i < wide.Length; i++)
            wide[i] += wideAbove[i];
        for (int i = wide.Length * Vector<byte>.Count; i < row.Length; i++)
            row[i] += above[i];
    }

    private static void Average(Span<byte> row, ReadOnlySpan<byte> above, int distance)
    {
        int first = Math.Min(distance, row.Length);
        for (int i = 0; i < first; i++)
            row[i] += (byte)(above[i] >> 1);
        for (int i = first; i < row.Length; i++)
            row[i] += (byte)((row[i - distance] + above[i]) >> 1);
    }

    private static void Paeth(Span<byte> row, ReadOnlySpan<byte> above, int distance)
    {
        int first = Math.Min(distance, row.Length);
        for (int i = 0; i < first; i++)
            row[i] += above[i];
        above = above[..row.Length];
        for (int i = first; i < row.Length; i++)
        {
            int left = row[i - distance], up = above[i], corner = above[i - distance];
            int toLeft = Math.Abs(up - corner), toUp = Math.Abs(left - corner), toCorner = Math.Abs(left + up - 2 * corner);
            int nearest = toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
            row[i] += (byte)nearest;
        }
    }
}

using System.Text;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>A cell's place in a file.</summary>
/// <param name="Start">Its first byte.</param>
/// <param name="Length">Bytes, without the tab or line end behind it.</param>
internal readonly record struct CellPlace(long Start, int Length);

/// <summary>
/// Reads a table with tabs between its cells, row by row; cells may be quoted, and then hold tabs and line ends. What is in a cell
/// is read when it is asked for, so that a table full of pictures does not have to be in memory. One thread.
/// </summary>
internal sealed class TsvReader(Stream stream, string file)
{
    /// <summary>A cell has at most so many bytes: a picture of 24 MB, in base64.</summary>
    public const int MaxCellBytes = 32 << 20;

    private const int MaxCells = 256;

    private readonly byte[] _buffer = new byte[1 << 16];
    private long _bufferStart;
    private int _count;
    private int _next;

    /// <summary>The line at which the last row begins, from 1.</summary>
    public int Line { get; private set; }

    private int _lines;

    /// <summary>The places of the next row's cells; null at the end. Empty lines are passed over.</summary>
    /// <exception cref="InputFileException">A cell is too long, there are too many, or a quoted one does not end.</exception>
    public List<CellPlace>? Next()
    {
        while (true)
        {
            List<CellPlace>? cells = ReadRow();
            if (cells is null || cells.Count > 1 || cells[0].Length > 0)
                return cells;
        }
    }

    /// <summary>The text of a cell.</summary>
    public static string Text(Stream stream, CellPlace place)
    {
        byte[] bytes = new byte[place.Length];
        stream.Position = place.Start;
        stream.ReadExactly(bytes);
        string text = Encoding.UTF8.GetString(bytes);
        return text.Length >= 2 && text[0] == '"' && text[^1] == '"' ? text[1..^1].Replace("\"\"", "\"", StringComparison.Ordinal) : text;
    }

    private List<CellPlace>? ReadRow()
    {
        Line = _lines + 1;
        var cells = new List<CellPlace>();
        long start = _bufferStart + _next;
        bool quoted = false;
        bool opened = false;
        int last = 0;
        while (true)
        {
            int value = ReadByte();
            long end = _bufferStart + _next - (value < 0 ? 0 : 1);
            if (end - start > MaxCellBytes)
                throw new InputFileException(file, Line, $"a cell has more than {MaxCellBytes} bytes");
            if (value == '\n')
                _lines++;

            // Only a quote at a cell's beginning opens; within, a doubled one closes and opens again.
            if (value == '"')
            {
                opened |= end == start;
                quoted = opened && !quoted;
            }

            if (value < 0 && quoted)
                throw new InputFileException(file, Line, "a quoted cell does not end");
            bool ends = value < 0 || (!quoted && value is '\t' or '\n');
            if (ends)
            {
                if (value < 0 && cells.Count == 0 && end == start)
                    return null;
                if (cells.Count == MaxCells)
                    throw new InputFileException(file, Line, $"has more than {MaxCells} cells");
                cells.Add(new CellPlace(start, (int)(end - start) - (value == '\n' && last == '\r' ? 1 : 0)));
                if (value != '\t')
                    return cells;
                start = end + 1;
                opened = false;
            }

            last = ends ? 0 : value;
        }
    }

    private int ReadByte()
    {
        if (_next == _count)
        {
            _bufferStart += _count;
            _next = 0;
            stream.Position = _bufferStart;
            _count = stream.Read(_buffer);
            if (_count == 0)
                return -1;
        }

        return _buffer[_next++];
    }
}

using System.Runtime.InteropServices;

namespace ParVts.Engine.Scheduling;

/// <summary>What a row is, in the words of SCHEDULES.md: <c>s</c> prefix rows, <c>N</c> visual rows, <c>m</c> text rows.</summary>
public enum RowRole : byte
{
    /// <summary>Text before the first image of the prefill.</summary>
    Prefix,

    /// <summary>A visual token.</summary>
    Visual,

    /// <summary>Text after the first image; all text where there is none.</summary>
    Text,
}

/// <summary>Which of ParVTS' parallel paths a row belongs to (arXiv 2511.18875).</summary>
public enum RowPath : byte
{
    /// <summary>All of them: every row of an ordinary prefill.</summary>
    Shared,

    /// <summary>Path A: the subject's visual tokens and their copy of the question.</summary>
    Subject,

    /// <summary>Path B: the other visual tokens and their copy of the question.</summary>
    Rest,
}

/// <summary>One row of a prefill.</summary>
/// <param name="Role">What it is.</param>
/// <param name="Token">Its index in the whole prompt, for the trace.</param>
/// <param name="Visual">Its index among the prefill's visual tokens (raster order, picture by picture), or −1.</param>
/// <param name="Image">The prefill's picture that it comes from, or −1.</param>
/// <param name="Temporal">Rotary position: temporal.</param>
/// <param name="Height">Rotary position: height.</param>
/// <param name="Width">Rotary position: width.</param>
public readonly record struct Row(
    RowRole Role, int Token, int Visual, int Image, int Temporal, int Height, int Width)
{
    /// <summary>A row of text; its three positions are its index in the prompt.</summary>
    public static Row OfText(RowRole role, int token) => new(role, token, -1, -1, token, token, token);

    /// <summary>A visual token; its three positions are its index in the prompt.</summary>
    public static Row OfVisual(int token, int visual, int image) =>
        new(RowRole.Visual, token, visual, image, token, token, token);
}

/// <summary>
/// The rows of a prefill (contract D3): packed, with parallel arrays. Row order is causal order inside a path. Filled
/// and read by one thread at a time; refilling it up to the capacity it once had allocates nothing.
/// </summary>
public sealed class RowBatch
{
    private Row[] _rows = [];
    private Row[] _spare = [];
    private RowPath[] _paths = [];
    private RowPath[] _sparePaths = [];
    private int[] _rope = [];
    private bool _renumbered;

    /// <summary>Rows.</summary>
    public int Count { get; private set; }

    /// <summary>The rows, in packed order. Waits for a device that chose by rank which visual tokens they are.</summary>
    public ReadOnlySpan<Row> Rows
    {
        get
        {
            ReadBack?.Invoke();
            return _rows.AsSpan(0, Count);
        }
    }

    /// <summary>Each row's path.</summary>
    public ReadOnlySpan<RowPath> Paths => _paths.AsSpan(0, Count);

    /// <summary>Two paths run side by side.</summary>
    internal bool HasTwoPaths => FirstOf(RowPath.Rest) >= 0;

    /// <summary>The first row of a path, or −1.</summary>
    internal int FirstOf(RowPath path) => MemoryMarshal.Cast<RowPath, byte>(Paths).IndexOf((byte)path);

    /// <summary>Rotary positions [R, 3]: temporal, height, width.</summary>
    public ReadOnlySpan<int> Rope
    {
        get
        {
            for (int row = 0; row < Count; row++)
            {
                _rope[3 * row] = _rows[row].Temporal;
                _rope[3 * row + 1] = _rows[row].Height;
                _rope[3 * row + 2] = _rows[row].Width;
            }

            return _rope.AsSpan(0, 3 * Count);
        }
    }

    /// <summary>Has the rows renamed where their tokens are not known here yet; null where they are.</summary>
    internal Action? ReadBack { get; set; }

    /// <summary>What a row is: known also while its token is not.</summary>
    internal RowRole RoleOf(int row) => _rows[row].Role;

    /// <summary>A row's picture: known also while its token is not.</summary>
    internal int ImageOf(int row) => _rows[row].Image;

    /// <summary>A row's visual token, or the one that stands for it.</summary>
    internal int TokenOf(int row) => _rows[row].Visual;

    /// <summary>Forgets all rows and makes room for <paramref name="capacity"/>.</summary>
    internal void Clear(int capacity)
    {
        Count = 0;
        ReadBack = null;
        _renumbered = false;
        Grow(capacity);
    }

    /// <summary>Appends a row of the shared path; <see cref="Clear"/> has made room for it.</summary>
    internal void Add(in Row row)
    {
        _paths[Count] = RowPath.Shared;
        _rows[Count++] = row;
    }

    /// <summary>Rows of a role, in every path.</summary>
    public int CountOf(RowRole role)
    {
        int count = 0;
        foreach (ref readonly Row row in _rows.AsSpan(0, Count))
            count += row.Role == role ? 1 : 0;
        return count;
    }

    /// <summary>Makes the batch the rows <paramref name="sources"/> of itself, in that order, in paths as given.</summary>
    internal void Rearrange(ReadOnlySpan<int> sources, ReadOnlySpan<RowPath> paths)
    {
        Grow(sources.Length);
        for (int row = 0; row < sources.Length; row++)
        {
            _spare[row] = _rows[sources[row]];
            _sparePaths[row] = paths[row];
        }

        (_rows, _spare) = (_spare, _rows);
        (_paths, _sparePaths) = (_sparePaths, _paths);
        Count = sources.Length;
    }

    /// <summary>Gives the rows the positions <paramref name="first"/>, first + 1 …; true where that changed one.</summary>
    internal bool Renumber(int first)
    {
        _renumbered = true;
        bool changed = false;
        for (int row = 0; row < Count; row++)
        {
            int position = first + row;
            Row before = _rows[row];
            changed |= before.Temporal != position || before.Height != position || before.Width != position;
            _rows[row] = before with { Temporal = position, Height = position, Width = position };
        }

        return changed;
    }

    /// <summary>Gives the visual rows the numbers <paramref name="first"/>, first + 1 …</summary>
    internal void Relabel(int first)
    {
        for (int row = 0; row < Count; row++)
        {
            if (_rows[row].Role == RowRole.Visual)
                _rows[row] = _rows[row] with { Visual = first++ };
        }
    }

    /// <summary>Visual rows that stood for others become these.</summary>
    /// <param name="real">For each visual token, the one that it stood for.</param>
    /// <param name="visual">The visual tokens as they came.</param>
    internal void Rename(ReadOnlySpan<int> real, ReadOnlySpan<Row> visual)
    {
        for (int row = 0; row < Count; row++)
        {
            Row stand = _rows[row];
            if (stand.Role != RowRole.Visual)
                continue;
            Row renamed = visual[real[stand.Visual]];
            _rows[row] = _renumbered
                ? renamed with { Temporal = stand.Temporal, Height = stand.Height, Width = stand.Width }
                : renamed;
        }
    }

    private void Grow(int capacity)
    {
        if (_rows.Length >= capacity)
            return;
        Array.Resize(ref _rows, capacity);
        Array.Resize(ref _paths, capacity);
        _spare = new Row[capacity];
        _sparePaths = new RowPath[capacity];
        _rope = new int[3 * capacity];
    }
}

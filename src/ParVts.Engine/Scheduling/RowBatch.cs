namespace ParVts.Engine.Scheduling;

/// <summary>What a row is, in the words of SCHEDULES.md: <c>s</c> prefix rows, <c>N</c> visual rows, <c>m</c> text rows.</summary>
public enum RowRole : byte
{
    /// <summary>Text before the first image.</summary>
    Prefix,

    /// <summary>A visual token.</summary>
    Visual,

    /// <summary>Text after the first image; all text where there is none.</summary>
    Text,
}

/// <summary>
/// The rows of a prefill (contract D3): packed, with parallel arrays. Row order is causal order. Filled and read by one
/// thread at a time; refilling it up to the capacity it once had allocates nothing.
/// </summary>
public sealed class RowBatch
{
    private int[] _rope = [];
    private int[] _token = [];
    private RowRole[] _role = [];

    /// <summary>Rows.</summary>
    public int Count { get; private set; }

    /// <summary>Rotary positions [R, 3]: temporal, height, width.</summary>
    public ReadOnlySpan<int> Rope => _rope.AsSpan(0, 3 * Count);

    /// <summary>What each row is.</summary>
    public ReadOnlySpan<RowRole> Role => _role.AsSpan(0, Count);

    /// <summary>Each row's index in the whole prompt, for the trace.</summary>
    public ReadOnlySpan<int> Token => _token.AsSpan(0, Count);

    /// <summary>Forgets all rows and makes room for <paramref name="capacity"/>.</summary>
    public void Clear(int capacity)
    {
        Count = 0;
        if (_token.Length >= capacity)
            return;
        _rope = new int[3 * capacity];
        _token = new int[capacity];
        _role = new RowRole[capacity];
    }

    /// <summary>Appends a row.</summary>
    public void Add(RowRole role, int token, int temporal, int height, int width)
    {
        _rope[3 * Count] = temporal;
        _rope[3 * Count + 1] = height;
        _rope[3 * Count + 2] = width;
        _role[Count] = role;
        _token[Count++] = token;
    }

    /// <summary>Rows of a role.</summary>
    public int CountOf(RowRole role) => Role.Count(role);
}

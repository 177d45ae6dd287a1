namespace ParVts.Engine.Scheduling;

/// <summary>What a policy sees after a decode step, and may do to the cache. Belongs to one run at a time.</summary>
public sealed class DecodeState
{
    private readonly Action<int, ReadOnlyMemory<int>> _keep;
    private readonly Func<int, int> _length;

    internal DecodeState(int layers, Func<int, int> length, Action<int, ReadOnlyMemory<int>> keep)
    {
        Layers = layers;
        _length = length;
        _keep = keep;
    }

    /// <summary>Decode steps done since the prefill; 0 right after it.</summary>
    public int Step { get; internal set; }

    /// <summary>Decoder layers.</summary>
    public int Layers { get; }

    /// <summary>Rows that a layer's store holds.</summary>
    public int KvRows(int layer) => _length(layer);

    /// <summary>Thins a layer's store to these of its rows; freed pages return at once.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="rows">Rows of the store that stay, ascending.</param>
    public void Keep(int layer, ReadOnlyMemory<int> rows) => _keep(layer, rows);
}

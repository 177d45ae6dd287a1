using System.Runtime.InteropServices;

namespace ParVts.Engine.Scheduling;

/// <summary>What a policy sees after a decode step, and may do to the cache. Belongs to one run at a time.</summary>
public sealed class DecodeState
{
    private readonly Action<int, ReadOnlyMemory<int>> _keep;
    private readonly Func<int, int> _length;
    private readonly List<int>[] _visual;
    private readonly float[][] _attention;
    private readonly int[] _seen;

    internal DecodeState(int layers, Func<int, int> length, Action<int, ReadOnlyMemory<int>> keep)
    {
        Layers = layers;
        _length = length;
        _keep = keep;
        _visual = [.. Enumerable.Range(0, layers).Select(_ => new List<int>())];
        _attention = [.. Enumerable.Range(0, layers).Select(_ => Array.Empty<float>())];
        _seen = new int[layers];
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
    public void Keep(int layer, ReadOnlyMemory<int> rows)
    {
        _keep(layer, rows);

        // The visual rows that stay, at their new places.
        List<int> visual = _visual[layer];
        int left = 0;
        int next = 0;
        for (int place = 0; place < rows.Length && next < visual.Count; place++)
        {
            while (next < visual.Count && visual[next] < rows.Span[place])
                next++;
            if (next < visual.Count && visual[next] == rows.Span[place])
                visual[left++] = place;
        }

        visual.RemoveRange(left, visual.Count - left);
    }

    /// <summary>Rows of a layer's store that are visual tokens of the last prefill, ascending; earlier turns' count as text.</summary>
    public ReadOnlySpan<int> VisualRows(int layer) => CollectionsMarshal.AsSpan(_visual[layer]);

    /// <summary>
    /// What the row of the step just done saw in a layer: for each of the <see cref="KvRows"/> rows, its own the last, the probability,
    /// mean over heads. Empty where <see cref="VisualTokenPolicy.ProbesStep"/> did not ask for it.
    /// </summary>
    public ReadOnlySpan<float> Attention(int layer) => _attention[layer].AsSpan(0, _seen[layer]);

    internal void SetVisual(int layer, int first, ReadOnlySpan<int> rows)
    {
        _visual[layer].Clear();
        foreach (int row in rows)
            _visual[layer].Add(first + row);
    }

    /// <summary>Where the engine writes what <see cref="Attention"/> then is. Once warm this allocates nothing.</summary>
    internal Span<float> BeginAttention(int layer, int rows)
    {
        if (_attention[layer].Length < rows)
            _attention[layer] = new float[Math.Max(rows, 2 * _attention[layer].Length)];
        _seen[layer] = rows;
        return _attention[layer].AsSpan(0, rows);
    }
}

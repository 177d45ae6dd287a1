namespace ParVts.Engine.Scheduling;

/// <summary>
/// Rows made of rows: output row i is the sum of weight · source over its entries. Entries of row i are
/// <c>Offsets[i] … Offsets[i + 1] − 1</c>.
/// </summary>
/// <param name="Offsets">[rows + 1], from 0.</param>
/// <param name="Sources">Source rows, one an entry.</param>
/// <param name="Weights">Their weights, one an entry.</param>
public sealed record RowMap(int[] Offsets, int[] Sources, float[] Weights)
{
    /// <summary>Rows that come out.</summary>
    public int Rows => Offsets.Length - 1;

    /// <summary>Every row of so many as it is.</summary>
    public static RowMap Identity(int rows) =>
        new([.. Enumerable.Range(0, rows + 1)], [.. Enumerable.Range(0, rows)], [.. Enumerable.Repeat(1f, rows)]);

    /// <summary>Refuses a map that is not whole, or names rows that are not there.</summary>
    /// <exception cref="PolicyException">The message says what is wrong.</exception>
    internal void Check(int rows)
    {
        if (Offsets.Length == 0 || Offsets[0] != 0 || Offsets[^1] != Sources.Length || Weights.Length != Sources.Length)
            throw new PolicyException("a policy's map of rows is not whole: offsets, sources and weights do not match");
        for (int row = 0; row < Rows; row++)
        {
            if (Offsets[row + 1] <= Offsets[row])
                throw new PolicyException("a policy's map of rows has a row of nothing, or offsets that descend");
        }

        foreach (int source in Sources)
        {
            if ((uint)source >= (uint)rows)
                throw new PolicyException($"a policy merges row {source} of {rows}");
        }
    }
}

/// <summary>Puts a map together row by row.</summary>
internal sealed class RowMapBuilder
{
    private readonly List<int> _offsets = [0];
    private readonly List<int> _sources = [];
    private readonly List<float> _weights = [];

    /// <summary>Adds a row.</summary>
    public void Add(IEnumerable<(int Source, float Weight)> entries)
    {
        foreach ((int source, float weight) in entries)
        {
            _sources.Add(source);
            _weights.Add(weight);
        }

        _offsets.Add(_sources.Count);
    }

    public RowMap Build() => new([.. _offsets], [.. _sources], [.. _weights]);
}

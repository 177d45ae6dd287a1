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
}

/// <summary>What a policy sees inside the vision tower, and may do there. Belongs to one run at a time.</summary>
public sealed class VisionState
{
    /// <summary>A map has at most so many entries for each row that there was in the beginning.</summary>
    public const int EntriesPerRow = 64;

    /// <summary>The block whose attention is done, 0-based; <see cref="Blocks"/> after the last.</summary>
    public int Block { get; internal set; }

    /// <summary>Blocks that run: the last one's output feeds the projector.</summary>
    public int Blocks { get; internal set; }

    /// <summary>The picture, counted from 0 within the prefill.</summary>
    public int Image { get; internal set; }

    /// <summary>Rows of the picture now, a class token included.</summary>
    public int Rows { get; internal set; }

    /// <summary>1 where row 0 is the class token, else 0.</summary>
    public int ClassRows { get; internal set; }

    internal RowMap? Map { get; set; }

    /// <summary>Rows were merged after the last block: what is left are visual tokens alone.</summary>
    internal bool IsFinal { get; set; }

    /// <summary>
    /// Replaces the rows. Between blocks the class token stays row 0 where there is one; after the last block what comes out are
    /// the visual tokens alone.
    /// </summary>
    /// <exception cref="PolicyException">The map names rows that are not there.</exception>
    public void Merge(RowMap map)
    {
        if (Map is not null)
            throw new PolicyException($"two policies merge rows at block {Block} of the vision tower");
        if (map.Offsets.Length == 0 || map.Offsets[0] != 0 || map.Offsets[^1] != map.Sources.Length || map.Weights.Length != map.Sources.Length)
            throw new PolicyException("a policy's map of rows is not whole: offsets, sources and weights do not match");
        for (int row = 0; row < map.Rows; row++)
        {
            if (map.Offsets[row + 1] < map.Offsets[row])
                throw new PolicyException("a policy's map of rows has offsets that descend");
        }

        foreach (int source in map.Sources)
        {
            if ((uint)source >= (uint)Rows)
                throw new PolicyException($"a policy merges row {source} of a picture that has {Rows}");
        }

        if (map.Sources.Length > EntriesPerRow * Rows)
            throw new PolicyException($"a policy merges with {map.Sources.Length} entries; {EntriesPerRow} a row are allowed");
        if (map.Rows > Rows)
            throw new PolicyException($"a policy makes {map.Rows} rows of a picture that has {Rows}");
        Map = map;
        IsFinal = Block == Blocks;
    }
}

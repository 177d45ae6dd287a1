namespace ParVts.Engine.Scheduling;

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

    /// <summary>Attention heads.</summary>
    public int Heads { get; internal set; }

    /// <summary>Elements of a row.</summary>
    public int Width { get; internal set; }

    /// <summary>1 where row 0 is the class token, else 0.</summary>
    public int ClassRows { get; internal set; }

    /// <summary>
    /// In the last block: the class token's attention to every row, itself included (softmax, mean over heads); without a class token
    /// the mean attention that the row receives. Needs <see cref="PolicyNeeds.ClassAttention"/>; waits for the device.
    /// </summary>
    /// <exception cref="PolicyException">It is not the last block.</exception>
    public float[] ClassAttention()
    {
        if (Block < Blocks - 1)
            throw new PolicyException($"a policy asks for the class token's attention in block {Block}; it is measured in the last of {Blocks}");
        return ReadClassAttention!(Rows);
    }

    /// <summary>
    /// The cosines of rows' keys in this block, mean over heads. Needs <see cref="PolicyNeeds.VisionKeys"/>; waits for the device.
    /// </summary>
    /// <param name="rows">Row numbers.</param>
    /// <param name="others">Row numbers that each of them is compared with.</param>
    /// <param name="map">Compare not the rows that are there but what this map makes of them (their keys, mean over heads).</param>
    /// <returns>[rows, others], row by row.</returns>
    public float[] KeySimilarity(ReadOnlySpan<int> rows, ReadOnlySpan<int> others, RowMap? map = null)
    {
        map?.Check(Rows);
        RequireRows(rows, map?.Rows ?? Rows);
        RequireRows(others, map?.Rows ?? Rows);
        return rows.IsEmpty || others.IsEmpty ? [] : Measures!.KeySimilarity(rows.ToArray(), others.ToArray(), map);
    }

    /// <summary>
    /// After the last block: the class token's query in the block that would come next, under that block's first norm, times every row's
    /// key there (all channels as one head, unscaled), and the cosines of these keys (PruMerge, arXiv 2403.15388). Needs
    /// <see cref="PolicyNeeds.VisionKeys"/>; waits for the device.
    /// </summary>
    /// <returns>[Rows] products, and [Rows, Rows] cosines.</returns>
    /// <exception cref="PolicyException">The tower has no class token, or no block behind the last one that runs.</exception>
    public (float[] Products, float[] Cosines) NextBlockKeys()
    {
        if (Block != Blocks || ClassRows == 0)
            throw new PolicyException("a policy asks for the keys of a further block before the last one is done, or of a tower without a class token");
        return Measures!.NextBlockKeys();
    }

    /// <summary>From the next block on every row's key has this added to its scaled scores; null for nothing (ToMe, arXiv 2210.09461).</summary>
    /// <remarks>One for each row as the next block finds them; forgotten with the picture.</remarks>
    public float[]? KeyBias { get; set; }

    /// <summary>Who the visual rows of this picture are that leave the tower; null where they are its patches in order.</summary>
    /// <remarks>
    /// Set by a policy that merges: for each row, the class token's left out where it does not go on, a patch in raster order,
    /// <see cref="ScheduleState.ClassLabel"/> or <see cref="ScheduleState.MergedLabel"/>.
    /// </remarks>
    public int[]? Labels { get; set; }

    /// <summary>Says in the trace what was done: <see cref="ScheduleState.Record"/>, before the decoder.</summary>
    public void Record(
        ScheduleEventKind kind, string score, ReadOnlySpan<int> ranked, ReadOnlySpan<float> scores, ReadOnlySpan<int> chosen,
        double? margin = null) => Events.Add(new ScheduleEvent
        {
            Layer = 0,
            Kind = kind,
            Kept = [],
            Score = score,
            Margin = margin,
            Ranked = ranked.ToArray(),
            Scores = scores.ToArray(),
            Chosen = chosen.ToArray(),
            Note = $"picture {Image + 1}",
        });

    /// <summary>What was recorded for the pictures of this prefill.</summary>
    internal List<ScheduleEvent> Events { get; } = [];

    internal Func<int, float[]>? ReadClassAttention { get; set; }

    internal VisionMeasures? Measures { get; set; }

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
        map.Check(Rows);
        if (Block < Blocks && ClassRows > 0 && (map.Offsets[1] != 1 || map.Sources[0] != 0))
            throw new PolicyException("a policy merges the class token between blocks of the vision tower");
        if (map.Sources.Length > EntriesPerRow * Rows)
            throw new PolicyException($"a policy merges with {map.Sources.Length} entries; {EntriesPerRow} a row are allowed");
        IsFinal = Block == Blocks;
        int most = IsFinal ? Rows - ClassRows : Rows;
        if (map.Rows > most)
            throw new PolicyException($"a policy makes {map.Rows} rows of a picture that has {most}");
        Map = map;
    }

    private static void RequireRows(ReadOnlySpan<int> rows, int count)
    {
        foreach (int row in rows)
        {
            if ((uint)row >= (uint)count)
                throw new PolicyException($"a policy compares row {row} of a picture that has {count}");
        }
    }
}

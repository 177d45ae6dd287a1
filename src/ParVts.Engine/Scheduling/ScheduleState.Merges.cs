namespace ParVts.Engine.Scheduling;

/// <content>Visual rows that become fewer by merging, and who each of them is for people.</content>
public sealed partial class ScheduleState
{
    /// <summary>The label of a row that was merged of several.</summary>
    public const int MergedLabel = -2;

    /// <summary>The label of a class token that became a visual row.</summary>
    public const int ClassLabel = -1;

    /// <summary>Of a merge: the rows before it that make each new row, with their weights.</summary>
    internal RowMap? Merged { get; private set; }

    /// <summary>
    /// Replaces the visual rows: new row i is a weighted sum of visual rows that are there. New rows take the places of the old ones,
    /// picture by picture, the rows of a picture in the order of the map.
    /// </summary>
    /// <param name="map">Sources count the visual rows that are there, in row order. All sources of a new row are of one picture; pictures ascend.</param>
    /// <param name="labels">For each new row, the visual token that it is, or <see cref="MergedLabel"/>.</param>
    /// <exception cref="PolicyException">The map does not fit, or two paths are running.</exception>
    public void MergeVisual(RowMap map, ReadOnlySpan<int> labels)
    {
        ReadBack?.Invoke();
        int visual = Rows.CountOf(RowRole.Visual);
        map.Check(visual);
        if (map.Sources.Length > visual)
            throw new PolicyException($"a policy merges {visual} visual rows with {map.Sources.Length} entries; each row may be used once");
        if (labels.Length != map.Rows || Rows.HasTwoPaths)
            throw new PolicyException($"a policy merges {visual} visual rows into {map.Rows} with {labels.Length} labels, or while two paths are running");
        var places = new List<int>(visual);
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) == RowRole.Visual)
                places.Add(row);
        }

        BeginChange(RowChange.Merge);
        var offsets = new List<int> { 0 };
        var sources = new List<int>();
        var weights = new List<float>();
        int next = 0;
        for (int row = 0; row < Rows.Count; row++)
        {
            bool isVisual = Rows.RoleOf(row) == RowRole.Visual;
            if (!isVisual)
                AddCopy(row);
            bool lastOfPicture = isVisual
                && (row + 1 == Rows.Count || Rows.RoleOf(row + 1) != RowRole.Visual || Rows.ImageOf(row + 1) != Rows.ImageOf(row));
            while (lastOfPicture && next < map.Rows && Rows.ImageOf(places[map.Sources[map.Offsets[next]]]) == Rows.ImageOf(row))
                AddMerged(next++);
        }

        if (next != map.Rows)
            throw new PolicyException("a policy's merge puts rows of a later picture before those of an earlier one");
        Merged = new RowMap([.. offsets], [.. sources], [.. weights]);
        Rearrange();
        Rows.Relabel(AddLabels(labels));
        foreach (ref readonly Row row in Rows.Rows)
        {
            if (row.Role == RowRole.Visual)
                _visualRows.Add(row);
        }

        if (Layer >= 0)
            SetCausalPlan();
        _trace.Add(new ScheduleEvent { Layer = Math.Max(0, Layer), Kind = ScheduleEventKind.Merge, Kept = StandIns() });

        void AddCopy(int row)
        {
            _sources.Add(row);
            _paths.Add(Rows.Paths[row]);
            sources.Add(row);
            weights.Add(1f);
            offsets.Add(sources.Count);
        }

        void AddMerged(int made)
        {
            _sources.Add(places[map.Sources[map.Offsets[made]]]);
            _paths.Add(RowPath.Shared);
            for (int entry = map.Offsets[made]; entry < map.Offsets[made + 1]; entry++)
            {
                sources.Add(places[map.Sources[entry]]);
                weights.Add(map.Weights[entry]);
            }

            offsets.Add(sources.Count);
        }
    }

    /// <summary>Says in the trace what was done, where a policy's own step has no event of its own: a measurement, a merge.</summary>
    /// <param name="kind">What it was.</param>
    /// <param name="score">What was ranked or compared, in words.</param>
    /// <param name="ranked">What the scores are of: the labels of visual tokens, or the numbers that <paramref name="score"/> names.</param>
    /// <param name="scores">The scores.</param>
    /// <param name="chosen">Those of <paramref name="ranked"/> that were chosen.</param>
    /// <param name="margin">How clear the choice was.</param>
    /// <param name="layer">The layer that it is about; this one where it is not given.</param>
    /// <param name="note">What else there is to say.</param>
    public void Record(
        ScheduleEventKind kind, string score, ReadOnlySpan<int> ranked, ReadOnlySpan<float> scores, ReadOnlySpan<int> chosen,
        double? margin = null, int? layer = null, string? note = null) => _trace.Add(new ScheduleEvent
        {
            Layer = Math.Max(0, layer ?? Layer),
            Kind = kind,
            Kept = AliveVisual(),
            Score = score,
            Margin = margin,
            Ranked = ranked.ToArray(),
            Scores = scores.ToArray(),
            Chosen = chosen.ToArray(),
            Note = note,
        });

    /// <summary>The label of each visual row that is there, in row order: its visual token, or what <see cref="MergeVisual"/> called it.</summary>
    public int[] VisualLabels() => [.. AliveVisual().Select(visual => _trace.LabelOf(visual))];

    // Numbers that nobody had before, so that what the trace said of earlier ones stays true.
    private int AddLabels(ReadOnlySpan<int> labels)
    {
        int first = _trace.Labels.Count;
        foreach (int label in labels)
            _trace.Labels.Add(label);
        return first;
    }
}

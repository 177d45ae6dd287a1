namespace ParVts.Engine.Scheduling;

/// <summary>
/// Tokens that are not kept, gathered round a few targets (VisionZip, arXiv 2412.04467): targets at even strides, each other token joins
/// the target that it is most like, and a target becomes itself plus the mean of those that joined.
/// </summary>
/// <param name="Targets">Places of the targets, ascending.</param>
/// <param name="Others">Places of the others, ascending.</param>
/// <param name="Joined">For each of them, which target it joined.</param>
/// <param name="Cosines">How like it the target is.</param>
/// <param name="Lead">The smallest lead of a best target over the next best; null where there was no choice.</param>
internal sealed record ContextualMerge(int[] Targets, int[] Others, int[] Joined, float[] Cosines, double? Lead)
{
    /// <summary>Chooses targets among the tokens and lets the others join.</summary>
    /// <param name="rest">Places of the tokens, ascending.</param>
    /// <param name="count">Targets, at most as many as tokens.</param>
    /// <param name="similarity">Gives [others, targets] cosines.</param>
    public static ContextualMerge Make(int[] rest, int count, Func<int[], int[], float[]> similarity)
    {
        count = Math.Min(count, rest.Length);
        int stride = count == 0 ? 1 : Math.Max(1, rest.Length / count);
        int[] targets = [.. Enumerable.Range(0, count).Select(i => rest[i * stride])];
        int[] others = [.. rest.Except(targets)];
        int[] joined = new int[others.Length];
        float[] cosines = new float[others.Length];
        double? lead = null;
        float[] all = others.Length > 0 && count > 0 ? similarity(others, targets) : [];
        for (int i = 0; i < others.Length && count > 0; i++)
        {
            ReadOnlySpan<float> line = all.AsSpan(i * count, count);
            for (int target = 1; target < count; target++)
            {
                if (line[target] > line[joined[i]])
                    joined[i] = target;
            }

            cosines[i] = line[joined[i]];
            for (int target = 0; target < count; target++)
            {
                if (target != joined[i])
                    lead = Math.Min(lead ?? double.PositiveInfinity, cosines[i] - line[target]);
            }
        }

        return new ContextualMerge(targets, others, joined, cosines, lead);
    }

    /// <summary>A row for each kept token, in order, then one for each target: target plus mean of those that joined.</summary>
    /// <param name="kept">Places of the tokens that stay as they are.</param>
    public RowMap Map(IEnumerable<int> kept)
    {
        var builder = new RowMapBuilder();
        foreach (int place in kept)
            builder.Add([(place, 1f)]);
        for (int target = 0; target < Targets.Length; target++)
        {
            int[] members = [.. Enumerable.Range(0, Others.Length).Where(i => Joined[i] == target).Select(i => Others[i])];
            builder.Add([(Targets[target], 1f), .. members.Select(place => (place, 1f / members.Length))]);
        }

        return builder.Build();
    }
}

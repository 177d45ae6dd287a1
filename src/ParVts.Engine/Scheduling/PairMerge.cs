namespace ParVts.Engine.Scheduling;

/// <summary>
/// ToMe's matching (arXiv 2210.09461): rows of even places are each compared with all of odd places; the pairs that score highest merge.
/// The order afterwards: even rows that are left, then all odd rows.
/// </summary>
/// <param name="Even">Rows of even places.</param>
/// <param name="Scores">For each of them, how high its best pair scores; −∞ for a class token, which never merges.</param>
/// <param name="Merged">Even rows that merge, best first.</param>
/// <param name="Partners">The odd row that each of them merges into.</param>
/// <param name="Margin">
/// How clear it was: the lowest score that merged less the highest that did not, or the smallest lead of a partner over the next best;
/// null where there was no choice.
/// </param>
internal sealed record PairMerge(int[] Even, float[] Scores, int[] Merged, int[] Partners, double? Margin)
{
    /// <summary>Matches.</summary>
    /// <param name="rows">Rows, the class token first where there is one.</param>
    /// <param name="classRows">1 where row 0 is the class token.</param>
    /// <param name="count">Pairs to merge; at most half of the rows that may.</param>
    /// <param name="similarity">Gives [even, odd] cosines.</param>
    /// <param name="penalty">What is taken off an even row's score; null for nothing.</param>
    public static PairMerge Match(int rows, int classRows, int count, Func<int[], int[], float[]> similarity, Func<int, float>? penalty = null)
    {
        int[] even = [.. Enumerable.Range(0, rows).Where(row => row % 2 == 0)];
        int[] odd = [.. Enumerable.Range(0, rows).Where(row => row % 2 == 1)];
        float[] all = odd.Length == 0 ? [] : similarity(even, odd);
        float[] scores = new float[even.Length];
        int[] best = new int[even.Length];
        for (int i = 0; i < even.Length; i++)
        {
            if (even[i] < classRows || odd.Length == 0)
            {
                scores[i] = float.NegativeInfinity;
                continue;
            }

            ReadOnlySpan<float> line = all.AsSpan(i * odd.Length, odd.Length);
            for (int j = 1; j < line.Length; j++)
            {
                if (line[j] > line[best[i]])
                    best[i] = j;
            }

            scores[i] = line[best[i]] - (penalty?.Invoke(even[i]) ?? 0);
        }

        int able = scores.Count(score => !float.IsNegativeInfinity(score));
        int[] order = [.. Enumerable.Range(0, even.Length).OrderByDescending(i => scores[i]).ThenBy(i => i)];
        int[] chosen = order[..Math.Min(count, able)];
        int[] merged = [.. chosen.Select(i => even[i])];
        double? margin = chosen.Length == 0 || chosen.Length == able ? null : scores[chosen[^1]] - scores[order[chosen.Length]];
        foreach (int i in chosen)
        {
            for (int j = 0; j < odd.Length; j++)
            {
                if (j != best[i])
                    margin = Math.Min(margin ?? double.PositiveInfinity, all[i * odd.Length + best[i]] - all[i * odd.Length + j]);
            }
        }

        return new PairMerge(even, scores, merged, [.. chosen.Select(i => odd[best[i]])], margin);
    }

    /// <summary>For each row after the merge, the rows before it that it is made of, itself first.</summary>
    public int[][] Groups(int rows)
    {
        var groups = new List<int[]>();
        foreach (int row in Even.Except(Merged))
            groups.Add([row]);
        for (int row = 1; row < rows; row += 2)
            groups.Add([row, .. Enumerable.Range(0, Merged.Length).Where(i => Partners[i] == row).Select(i => Merged[i])]);
        return [.. groups];
    }
}

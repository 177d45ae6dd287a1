using ParVts.Engine.Compute;

namespace ParVts.Engine.Scheduling;

/// <summary>Neighbouring rows of one role, and of one picture where they are visual.</summary>
/// <param name="Start">The first row.</param>
/// <param name="End">One past the last.</param>
/// <param name="Role">What they are.</param>
/// <param name="Image">Their picture, or −1.</param>
public readonly record struct RowRun(int Start, int End, RowRole Role, int Image);

/// <summary>Adds to a plan what the rows of one run see of another's.</summary>
/// <param name="plan">The plan, whose last segment is the querying run.</param>
/// <param name="queries">The rows that look.</param>
/// <param name="keys">The rows that are looked at: the same run, or one before it.</param>
/// <param name="causal">What an ordinary prefill would show: all of a run before, the run itself causally.</param>
public delegate void AddKeyRanges(AttentionPlan plan, RowRun queries, RowRun keys, KeyRange causal);

/// <content>Who sees whom, run by run.</content>
public sealed partial class ScheduleState
{
    private readonly List<RowRun> _runs = [];
    private AddKeyRanges? _ranges;

    /// <summary>The rows as runs of one role and picture, in order.</summary>
    public IReadOnlyList<RowRun> Runs()
    {
        _runs.Clear();
        for (int row = 0; row < Rows.Count;)
        {
            int end = row + 1;
            while (end < Rows.Count && Rows.RoleOf(end) == Rows.RoleOf(row) && Rows.ImageOf(end) == Rows.ImageOf(row))
                end++;
            _runs.Add(new RowRun(row, end, Rows.RoleOf(row), Rows.ImageOf(row)));
            row = end;
        }

        return _runs;
    }

    /// <summary>The visual rows that are there: their row numbers, ascending.</summary>
    public int[] VisualRowNumbers() => RowNumbers(RowRole.Visual);

    /// <summary>The rows after the first picture that are not visual: their row numbers, ascending.</summary>
    public int[] TextRowNumbers() => RowNumbers(RowRole.Text);

    private int[] RowNumbers(RowRole role) => [.. Enumerable.Range(0, Rows.Count).Where(row => Rows.RoleOf(row) == role)];

    /// <summary>
    /// Replaces this layer's plan by one segment a run, whose ranges a policy gives; rows of earlier turns are a run of the prefix,
    /// which ends at row 0. It is asked for them when every policy has spoken, with the rows that are left then.
    /// </summary>
    /// <exception cref="PolicyException">Two paths are running, or another policy has replaced the plan.</exception>
    public void SetRanges(AddKeyRanges add)
    {
        if (Rows.HasTwoPaths)
            throw new PolicyException($"a policy changes who sees whom in layer {Layer}, where two paths are running");
        if (_ranges is not null)
            throw new PolicyException($"two policies change who sees whom in layer {Layer}");
        _ranges = add;
    }

    private void SetRangesPlan(AddKeyRanges add)
    {
        IReadOnlyList<RowRun> runs = Runs();
        Plan.Clear();
        int cached = CachedRows;
        for (int queries = 0; queries < runs.Count; queries++)
        {
            Plan.AddSegment(runs[queries].Start, runs[queries].End);
            if (cached > 0)
                add(Plan, runs[queries], new RowRun(-cached, 0, RowRole.Prefix, -1), new KeyRange(0, cached, KeyRule.Full));
            for (int keys = 0; keys <= queries; keys++)
            {
                KeyRule rule = keys == queries ? KeyRule.Diagonal : KeyRule.Full;
                add(Plan, runs[queries], runs[keys], new KeyRange(cached + runs[keys].Start, cached + runs[keys].End, rule));
            }
        }
    }

    private void SetCausalPlan()
    {
        int cached = CachedRows;
        int rest = Rows.FirstOf(RowPath.Rest);
        if (rest < 0)
        {
            Plan.SetCausal(Rows.Count, cached);
            return;
        }

        // Path A is contiguous with the prefix before it; path B sees the prefix and itself.
        int prefix = Rows.FirstOf(RowPath.Subject);
        prefix = prefix < 0 ? rest : prefix;
        Plan.Clear();
        Plan.AddSegment(0, rest);
        Plan.AddRange(new KeyRange(0, cached, KeyRule.Full));
        Plan.AddRange(new KeyRange(cached, cached + rest, KeyRule.Diagonal));
        Plan.AddSegment(rest, Rows.Count);
        Plan.AddRange(new KeyRange(0, cached + prefix, KeyRule.Full));
        Plan.AddRange(new KeyRange(cached + rest, cached + Rows.Count, KeyRule.Diagonal));
    }
}

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// ToMe (arXiv 2210.09461): in every block of the vision tower, between attention and MLP, the most similar pairs of rows merge by averages
/// weighted by size; attention counts a row as often as it stands for patches. Positions in the decoder are renumbered.
/// </summary>
internal sealed class ToMePolicy : VisualTokenPolicy
{
    private readonly int _merge;
    private int[][] _members = [];

    private ToMePolicy(PolicyParameters parameters) => _merge = parameters.Integer("merge", 0);

    public static PolicyInfo Info { get; } = new(
        "tome",
        "merges similar patches in every block of the vision tower",
        "ToMe, arXiv 2210.09461",
        [new("merge", "16", "a whole number", "pairs that merge in each block, at most half of the patches that are left")],
        parameters => new ToMePolicy(parameters))
    {
        Budget = budget => $"merge={Math.Round((1 - budget.Share) * budget.VisualTokens / 2)}",
        Page = new()
        {
            Title = "ToMe (token merging)",
            Acts = "every used block of the vision tower, between attention and MLP",
            CompactPositions = true,
            Cache = "prefix, the merged tokens and text in every layer",
            Idea = """
                Similar patches are merged a few at a time, in every block, so that the tower gets faster as well.
                """,
            Rule = """
                - Up to the block whose output feeds the projector, rows are split into even and odd places (the class token is row
                  0 and never merges). Each even row has a best odd partner, by cosine of head-mean keys; the `merge` best pairs
                  become one row each.
                - A merged row is the average weighted by the patches that each stands for; in attention, the logarithm of that size
                  is added to a key's logit.
                - Order after a merge: even rows that are left, then all odd rows.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: a non-commercial licence, and nothing is taken from it",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"tome:merge={_merge}";

    public override PolicyNeeds Needs => PolicyNeeds.VisionKeys;

    public override bool SizesAreKnown => false;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Merge)];

    public override void InVisionLayer(VisionState state)
    {
        if (state.Block == 0)
            _members = [.. Enumerable.Range(0, state.Rows).Select(row => new[] { row })];
        if (state.Block == state.Blocks || _merge == 0)
            return;
        var match = PairMerge.Match(state.Rows, state.ClassRows, _merge, (even, odd) => state.KeySimilarity(even, odd));
        int[][] groups = match.Groups(state.Rows);
        var builder = new RowMapBuilder();
        foreach (int[] group in groups)
        {
            float size = group.Sum(row => _members[row].Length);
            builder.Add(group.Select(row => (row, _members[row].Length / size)));
        }

        state.Record(
            ScheduleEventKind.Merge, $"vision block {state.Block}: even rows, best cosine", match.Even, match.Scores,
            [.. match.Even.Except(match.Merged)], match.Margin);
        _members = [.. groups.Select(group => group.SelectMany(row => _members[row]).ToArray())];
        state.Merge(builder.Build());
        state.KeyBias = [.. _members.Select(members => MathF.Log(members.Length))];
        state.Labels = [.. _members.Skip(state.ClassRows).Select(members => members.Min() - state.ClassRows)];
    }
}

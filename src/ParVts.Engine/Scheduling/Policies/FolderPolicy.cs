namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// FOLDER (arXiv 2501.02430): in the block whose output is used, between attention and MLP, pairs of similar rows merge fold by fold until
/// the quota is reached; rows that the class token looks at are spared. Positions in the decoder are renumbered.
/// </summary>
internal sealed class FolderPolicy : VisualTokenPolicy
{
    // What attention weighs in the score beside the cosine, and the rows below which nothing is folded.
    private const float AttentionScale = 100;
    private const int LeastRows = 40;

    private readonly TokenBudget _keep;
    private readonly double _alpha;
    private readonly string _alphaText;
    private int _rowTile = 1;

    private FolderPolicy(PolicyParameters parameters)
    {
        _keep = parameters.Budget("keep");
        _alpha = parameters.Number("alpha", 0, 1e6);
        _alphaText = parameters.Text("alpha");
    }

    public static PolicyInfo Info { get; } = new(
        "folder",
        "folds similar patches together in the last block of the vision tower, sparing those that its class token looks at",
        "FOLDER, arXiv 2501.02430",
        [
            new("keep", "192", TokenBudget.Allowed, "visual tokens that are left of each picture"),
            new("alpha", "5", "a number of at least 0", "how much the class token's attention weighs against similarity"),
        ],
        parameters => new FolderPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "FOLDER",
            Acts = "last block of the vision tower that is used, between attention and MLP",
            CompactPositions = true,
            Cache = "prefix, the merged tokens and text in every layer",
            Idea = """
                Merging late in the vision tower loses least; tokens that the class token looks at should not be merged away.
                """,
            Rule = """
                - In the block whose output feeds the projector, ToMe's matching with another score: cosine of head-mean keys, less
                  `100·alpha·a` of the even row, `a` being the class token's attention on it, mean over heads.
                - At most half of the rows merge in a fold; folds follow each other until `keep` tokens are left, or fewer than 40
                  rows.
                - Rows and keys are averages over all patches that they stand for; `a` is a plain average. Attention is not told of
                  sizes.
                - Published: merging 16 a layer of 24 leaves 192 of 576, 18 leaves 144.
                """,
            Ours = """
                `keep` in place of the published number of merges a layer. Without a class token (SigLIP) `a` is the mean attention
                that a patch receives.
                """,
            Licence = "the authors' code: no licence is given, and nothing is taken from it",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"folder:keep={_keep},alpha={_alphaText}";

    public override PolicyNeeds Needs => PolicyNeeds.ClassAttention | PolicyNeeds.VisionKeys;

    public override bool SizesAreKnown => false;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Merge)];

    public override void Bind(PolicyModel model) => _rowTile = model.RowTile;

    public override void InVisionLayer(VisionState state)
    {
        if (state.Block != state.Blocks - 1)
            return;
        int rows = state.Rows;
        int patches = rows - state.ClassRows;
        int quota = patches - _keep.Count(patches, 0, _rowTile);
        float[] attention = state.ClassAttention();
        int[][] members = [.. Enumerable.Range(0, rows).Select(row => new[] { row })];
        while (quota > 0 && members.Length >= LeastRows)
        {
            RowMap keys = Averages(members);
            float[] spared = attention;
            var match = PairMerge.Match(
                members.Length, state.ClassRows, Math.Min(quota, members.Length / 2), (even, odd) => state.KeySimilarity(even, odd, keys),
                row => (float)_alpha * AttentionScale * spared[row]);
            if (match.Merged.Length == 0)
                break;
            state.Record(
                ScheduleEventKind.Merge, "fold: even rows, best score", match.Even, match.Scores, [.. match.Even.Except(match.Merged)], match.Margin);
            int[][] groups = match.Groups(members.Length);
            attention = [.. groups.Select(group => group.Average(row => spared[row]))];
            int[][] before = members;
            members = [.. groups.Select(group => group.SelectMany(row => before[row]).ToArray())];
            quota -= match.Merged.Length;
        }

        if (members.Length == rows)
            return;
        state.Merge(Averages(members));
        state.Labels = [.. members.Skip(state.ClassRows).Select(group => group.Min() - state.ClassRows)];
    }

    private static RowMap Averages(int[][] members)
    {
        var builder = new RowMapBuilder();
        foreach (int[] group in members)
            builder.Add(group.Select(row => (row, 1f / group.Length)));
        return builder.Build();
    }
}

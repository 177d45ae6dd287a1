namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// VisionZip (arXiv 2412.04467): before the decoder the class token itself and the patches it looks at most stay (dominant), and the others
/// are merged round a few targets by their keys (contextual). Positions are renumbered.
/// </summary>
internal sealed class VisionZipPolicy : VisualTokenPolicy
{
    private readonly int _dominant;
    private readonly int _contextual;

    private VisionZipPolicy(PolicyParameters parameters)
    {
        _dominant = parameters.Integer("dominant", 1);
        _contextual = parameters.Integer("contextual", 0);
    }

    public static PolicyInfo Info { get; } = new(
        "visionzip",
        "keeps the patches that the vision tower's class token looks at most, and merges the others into a few",
        "VisionZip, arXiv 2412.04467",
        [
            new("dominant", "54", "a whole number of at least 1", "tokens that stay of each picture, the class token counted"),
            new("contextual", "10", "a whole number", "tokens that the others become"),
        ],
        parameters => new VisionZipPolicy(parameters))
    {
        Budget = WriteCounts,
        Page = new()
        {
            Title = "VisionZip",
            Acts = "before the decoder",
            CompactPositions = true,
            Cache = "prefix, the tokens that are left and text in every layer",
            Idea = """
                The vision tower itself gathers what a picture says in a few tokens: keep those, and merge the others by likeness.
                """,
            Rule = """
                - Dominant: the class token itself, first, and the `dominant`−1 patches that it looks at most (sum over heads, in
                  the block whose output feeds the projector), in raster order.
                - Contextual: among the others, `contextual` targets at stride max(1, others÷`contextual`); each other one joins the
                  target of highest cosine (that block's head-mean keys). A contextual token is its target plus the mean of those
                  that joined; it comes after the dominant ones.
                - Published: 54+10, 108+20, 162+30.
                - Needs a vision tower with a class token (CLIP); a model with another tower is refused.
                """,
            Ours = "Nothing.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"visionzip:dominant={_dominant},contextual={_contextual}";

    public override PolicyNeeds Needs => PolicyNeeds.ClassAttention | PolicyNeeds.VisionKeys;

    public override bool SizesAreKnown => false;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Merge)];

    public override void Bind(PolicyModel model) => RequireClassToken("visionzip", model);

    public override void InVisionLayer(VisionState state)
    {
        if (state.Block == state.Blocks - 1)
            _merge = Choose(state, _dominant, _contextual);
        else if (state.Block == state.Blocks)
            state.Merge(_merge!);
    }

    private RowMap? _merge;

    /// <summary>Refuses a model whose tower has no class token.</summary>
    internal static void RequireClassToken(string policy, PolicyModel model)
    {
        if (!model.HasClassToken)
            throw new PolicyException($"policy '{policy}' needs the vision tower's class token, which this model's tower has not");
    }

    /// <summary>
    /// The choice, by the last block's attention and keys; what comes out of it are the visual tokens: never more than there are
    /// patches, the class token's counted.
    /// </summary>
    internal static RowMap Choose(VisionState state, int dominant, int contextual)
    {
        float[] attention = state.ClassAttention();
        int patches = state.Rows - 1;
        float[] scores = [.. attention[1..].Select(score => score * state.Heads)];
        int[] ids = [.. Enumerable.Range(0, patches)];
        int[] top = Selection.Top(scores, Math.Min(dominant, patches) - 1);
        state.Record(ScheduleEventKind.Measure, "class token's attention, sum over heads", ids, scores, top, Selection.Margin(ids, scores, top));
        int[] rest = [.. ids.Except(top).Select(patch => patch + 1)];
        var merge = ContextualMerge.Make(rest, Math.Min(contextual, patches - 1 - top.Length), (rows, others) => state.KeySimilarity(rows, others));
        state.Record(
            ScheduleEventKind.Merge, "contextual: cosine to the target joined", [.. merge.Others.Select(row => row - 1)], merge.Cosines,
            [.. merge.Targets.Select(row => row - 1)], merge.Lead);
        state.Labels = [ScheduleState.ClassLabel, .. top, .. Enumerable.Repeat(ScheduleState.MergedLabel, merge.Targets.Length)];
        return merge.Map([0, .. top.Select(patch => patch + 1)]);
    }

    // The budget: the published 54 and 10, in proportion.
    private static string WriteCounts(PolicyBudget budget)
    {
        int dominant = Math.Max(1, (int)Math.Round(budget.Count * 54 / 64.0));
        return $"dominant={dominant},contextual={budget.Count - dominant}";
    }
}

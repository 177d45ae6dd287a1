namespace ParVts.Engine.Scheduling.Policies;

/// <summary>
/// LLaVA-PruMerge (arXiv 2403.15388): after the vision tower, patches stay whose attention by the class token is an outlier; each takes in
/// its nearest neighbours, and one more token is made of the rest. How many stay depends on the picture. Positions are renumbered.
/// </summary>
internal sealed class PruMergePolicy : VisualTokenPolicy
{
    private readonly bool _plus;
    private readonly int _neighbours;

    private PruMergePolicy(PolicyParameters parameters)
    {
        _plus = parameters.Flag("plus");
        _neighbours = parameters.Integer("neighbours", 1);
        if (_neighbours >= VisionState.EntriesPerRow)
            throw parameters.Refuse("neighbours");
    }

    public static PolicyInfo Info { get; } = new(
        "prumerge",
        "keeps patches that the vision tower's class token looks at unusually much, and merges the others into them",
        "LLaVA-PruMerge, arXiv 2403.15388",
        [
            new("plus", "false", "true or false", "patches at even distances stay as well (PruMerge+)"),
            new("neighbours", "32", $"a whole number from 1 to {VisionState.EntriesPerRow - 1}", "nearest patches that each kept one takes in"),
        ],
        parameters => new PruMergePolicy(parameters))
    {
        Page = new()
        {
            Title = "LLaVA-PruMerge",
            Acts = "before the decoder",
            CompactPositions = true,
            Cache = "prefix, the tokens that are left (their number differs by picture) and text in every layer",
            Idea = """
                The class token's attention is sparse: its outliers stay, and take in what is near to them. A simple picture needs
                fewer.
                """,
            Rule = """
                - Queries and keys are those of the block *after* the one whose output feeds the projector, of that output under
                  that block's first norm. `a_j`: the class row on patch j, one head over all channels, softmax over all rows.
                - Patches with `a_j` above Q3 + 1.5·IQR stay, by descending score. Each becomes itself plus the sum of `a_j·x_j`
                  over the `neighbours` patches nearest to it (cosine of keys; kept or not, weights as they are).
                - `plus=true` adds patches at stride ⌊⌊1÷share⌋÷3⌋, `share` being that of the outliers, from the first patch to the
                  last but one.
                - One more token: the sum of `a_j·x_j` over all patches that did not stay.
                - Needs a vision tower with a class token (CLIP); a model with another tower is refused.
                """,
            Ours = "Where no patch is an outlier, the highest one stays; a stride is at least 1.",
            Licence = "the authors' code: Apache-2.0",
            Checked = "the authors' code: same choices, rows and logits",
        },
    };

    public override string Name => $"prumerge:plus={(_plus ? "true" : "false")},neighbours={_neighbours}";

    public override PolicyNeeds Needs => PolicyNeeds.VisionKeys;

    public override bool SizesAreKnown => false;

    public override bool CompactPositions => true;

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Merge)];

    public override void Bind(PolicyModel model) => VisionZipPolicy.RequireClassToken("prumerge", model);

    public override void InVisionLayer(VisionState state)
    {
        if (state.Block != state.Blocks)
            return;
        (float[] products, float[] cosines) = state.NextBlockKeys();
        int rows = state.Rows;
        int patches = rows - 1;
        float[] attention = Softmax(products, state.Width);
        float[] scores = attention[1..];
        int[] ids = [.. Enumerable.Range(0, patches)];
        float fence = Fence(scores);
        int[] outliers = [.. ids.Where(patch => scores[patch] > fence).OrderByDescending(patch => scores[patch]).ThenBy(patch => patch)];
        if (outliers.Length == 0)
            outliers = [Array.IndexOf(scores, scores.Max())];
        int[] chosen = [.. outliers, .. Extras(patches, outliers)];
        state.Record(
            ScheduleEventKind.Measure, "class row: above Q3 + 1.5 IQR", ids, scores, outliers, scores.Min(score => Math.Abs(score - fence)));
        var builder = new RowMapBuilder();
        double? margin = null;
        foreach (int patch in chosen)
        {
            int[] order = [.. ids.Where(other => other != patch).OrderByDescending(other => Cosine(patch, other)).ThenBy(other => other)];
            int[] nearest = order[..Math.Min(_neighbours, order.Length)];
            if (nearest.Length < order.Length)
                margin = Math.Min(margin ?? double.PositiveInfinity, Cosine(patch, order[nearest.Length - 1]) - Cosine(patch, order[nearest.Length]));
            builder.Add([(patch + 1, 1f), .. nearest.Select(other => (other + 1, scores[other]))]);
        }

        int[] rest = [.. ids.Except(chosen)];
        if (rest.Length > 0)
            builder.Add(rest.Select(other => (other + 1, scores[other])));
        state.Record(
            ScheduleEventKind.Merge, "neighbours: nearest by key cosine", chosen, [.. chosen.Select(patch => scores[patch])], chosen, margin);
        state.Labels = rest.Length > 0 ? [.. chosen, ScheduleState.MergedLabel] : chosen;
        state.Merge(builder.Build());

        float Cosine(int patch, int other) => cosines[(patch + 1) * rows + other + 1];
    }

    // Extras at a stride that gives about as many as there are outliers three times over.
    private int[] Extras(int patches, int[] outliers)
    {
        if (!_plus)
            return [];
        double share = (double)outliers.Length / patches;
        int stride = Math.Max(1, (int)Math.Floor(Math.Floor(1 / share) / 3));
        var extras = new List<int>();
        for (int patch = 0; patch < patches - 1; patch += stride)
        {
            if (!outliers.Contains(patch))
                extras.Add(patch);
        }

        return [.. extras];
    }

    private static float[] Softmax(float[] products, int width)
    {
        double scale = 1 / Math.Sqrt(width);
        double largest = products.Max() * scale;
        double[] powers = [.. products.Select(product => Math.Exp(product * scale - largest))];
        double sum = powers.Sum();
        return [.. powers.Select(power => (float)(power / sum))];
    }

    // Above this a score is an outlier: the third quartile and one and a half times the distance to the first (linear between ranks).
    private static float Fence(float[] scores)
    {
        float[] sorted = [.. scores.Order()];
        double first = Quartile(sorted, 0.25);
        double third = Quartile(sorted, 0.75);
        return (float)(third + 1.5 * (third - first));
    }

    private static double Quartile(float[] sorted, double share)
    {
        double place = share * (sorted.Length - 1);
        int below = (int)place;
        int above = Math.Min(below + 1, sorted.Length - 1);
        return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
    }
}

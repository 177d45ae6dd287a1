namespace ParVts.Engine.Scheduling;

/// <summary>Chooses <paramref name="keep"/> of the visual tokens first … first + count − 1; ascending.</summary>
internal delegate int[] ChooseTokens(int first, int count, int keep);

/// <summary>
/// The budget of a policy that chooses before the decoder, and how it is dealt out to several pictures: to each its own
/// (the default, ours), or to all together.
/// </summary>
internal sealed class VisualChoice
{
    private const string PerImage = "per-image";

    private readonly TokenBudget _keep;
    private readonly bool _total;
    private int _rowTile = 1;

    public VisualChoice(PolicyParameters parameters)
    {
        _keep = parameters.Budget("keep");
        _total = parameters.Choice("budget", PerImage, "total") == "total";
    }

    /// <summary>The parameters that it reads.</summary>
    public static PolicyParameter[] Parameters { get; } =
    [
        new("keep", "64", TokenBudget.Allowed, "visual tokens that stay; auto: about a ninth, so that the rows fill the device's last tile"),
        new("budget", PerImage, "per-image or total", "with several pictures: keep so many of each, or of all together"),
    ];

    /// <summary>How it is written: the budget, and what differs from the default.</summary>
    public string Suffix => _total ? ",budget=total" : "";

    /// <summary>The budget as it was written.</summary>
    public string Keep => _keep.ToString();

    public void Bind(PolicyModel model) => _rowTile = model.RowTile;

    /// <summary>Who is chosen from whom, and how many of them.</summary>
    public RankGroup[] Groups(ScheduleState state)
    {
        int visual = state.Rows.CountOf(RowRole.Visual);
        int others = state.Rows.Count - visual;
        if (_total || state.Images <= 1)
            return [new RankGroup(0, visual, _keep.Count(visual, others, _rowTile))];

        var groups = new RankGroup[state.Images];
        int first = 0;
        for (int image = 0; image < groups.Length; image++)
        {
            int count = CountOf(state, image);
            groups[image] = new RankGroup(first, count, KeepOf(count, visual, others, image, state.Images));
            first += count;
        }

        return groups;
    }

    /// <summary>The visual tokens that stay, ascending.</summary>
    public int[] Choose(ScheduleState state, ChooseTokens choose) =>
        [.. Groups(state).SelectMany(group => choose(group.First, group.Count, group.Keep))];

    // "auto" fits the sum of all pictures to the tile; what does not divide goes to the first ones.
    private int KeepOf(int count, int visual, int others, int image, int images)
    {
        if (Keep != "auto")
            return _keep.Count(count, others, _rowTile);
        int total = _keep.Count(visual, others, _rowTile);
        return Math.Min(count, total / images + (image < total % images ? 1 : 0));
    }

    private static int CountOf(ScheduleState state, int image)
    {
        int count = 0;
        for (int row = 0; row < state.Rows.Count; row++)
            count += state.Rows.ImageOf(row) == image ? 1 : 0;
        return count;
    }
}

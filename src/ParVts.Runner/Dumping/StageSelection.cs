using System.Globalization;

namespace ParVts.Runner.Dumping;

/// <summary>Which stages a dump holds: names, some of them for one layer only.</summary>
internal sealed class StageSelection
{
    private static readonly string[] Layered = ["hidden", "rows", "kept", "scores"];

    private readonly HashSet<string> _chosen;

    private StageSelection(HashSet<string> chosen) => _chosen = chosen;

    /// <summary>Every stage's name.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        "pixel_values", "vision_features", "projected", "inputs_embeds", "input_ids", "rope", "logits", "tokens", "kv_lengths",
        .. Layered,
    ];

    /// <summary>Reads names with commas between them, in one or several texts.</summary>
    public static StageSelection Parse(IEnumerable<string> lists)
    {
        var chosen = new HashSet<string>();
        foreach (string name in lists.SelectMany(list => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)))
        {
            if (name != "all" && !Names.Contains(name) && (!Layered.Contains(StageOf(name)) || LayerOf(name) is null))
                throw new UsageException($"there is no stage '{name}'; there are: all, {string.Join(", ", Names)} (hidden.3 for one layer)");
            chosen.Add(name);
        }

        if (chosen.Count == 0)
            throw new UsageException("--stages names no stage");
        return new StageSelection(chosen);
    }

    /// <summary>Refuses a layer that the model does not have.</summary>
    public void RequireLayers(int layers)
    {
        foreach (string name in _chosen)
        {
            if (LayerOf(name) > layers)
                throw new UsageException($"stage '{name}': the model has layers 0 to {layers - 1}; {layers} stands for what leaves the last");
        }
    }

    /// <summary>True where a tensor of that name is wanted.</summary>
    public bool Contains(string tensor) =>
        _chosen.Contains("all") || _chosen.Contains(tensor) || _chosen.Contains(StageOf(tensor));

    private static string StageOf(string name) => name.IndexOf('.') is >= 0 and int dot ? name[..dot] : name;

    private static int? LayerOf(string name) =>
        int.TryParse(name.AsSpan(name.IndexOf('.') + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : null;
}

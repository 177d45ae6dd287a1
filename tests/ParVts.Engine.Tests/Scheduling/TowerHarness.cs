using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Tests.Scheduling;

/// <summary>A policy inside a vision tower of one head, whose attention and keys are given; row 0 is the class token.</summary>
internal sealed class TowerHarness
{
    /// <summary>Blocks that run.</summary>
    public int Blocks { get; init; } = 1;

    /// <summary>Patches.</summary>
    public int Patches { get; init; } = 8;

    /// <summary>The class token's attention to a patch.</summary>
    public Func<int, float> Attention { get; init; } = _ => 0;

    /// <summary>The cosine of two patches' keys.</summary>
    public Func<int, int, float> Similar { get; init; } = (_, _) => 0;

    /// <summary>The last map of rows; null where nothing merged.</summary>
    public RowMap? Map { get; private set; }

    /// <summary>The state after the last block.</summary>
    public VisionState State { get; } = new();

    /// <summary>For each row that comes out: its entries, as patches (−1 the class token) with weights.</summary>
    public (int Patch, float Weight)[][] Rows => Map is null
        ? []
        : [.. Enumerable.Range(0, Map.Rows).Select(row => Enumerable.Range(Map.Offsets[row], Map.Offsets[row + 1] - Map.Offsets[row])
            .Select(entry => (Map.Sources[entry] - 1, Map.Weights[entry])).ToArray())];

    /// <summary>Runs it.</summary>
    public TowerHarness Run(string policy)
    {
        VisualTokenPolicy made = PolicyRegistry.Create(policy);
        made.Bind(new PolicyModel(4, RowTile: 1));
        State.Rows = Patches + 1;
        State.Blocks = Blocks;
        State.Heads = 1;
        State.Width = 1;
        State.ClassRows = 1;
        State.Measures = new Measures(this);
        State.ReadClassAttention = rows => [.. Enumerable.Range(-1, rows).Select(patch => patch < 0 ? 0 : Attention(patch))];
        for (State.Block = 0; State.Block <= Blocks; State.Block++)
        {
            made.InVisionLayer(State);
            if (State.Map is not RowMap map)
                continue;
            Map = map;
            State.Rows = map.Rows;
            State.Map = null;
        }

        return this;
    }

    // Rows of a map are told apart by the first patch that they are made of.
    private sealed class Measures(TowerHarness given) : VisionMeasures
    {
        public override float[] KeySimilarity(int[] rows, int[] others, RowMap? map) =>
            [.. rows.SelectMany(row => others.Select(other => given.Similar(Patch(row, map), Patch(other, map))))];

        public override (float[] Products, float[] Cosines) NextBlockKeys()
        {
            int[] patches = [.. Enumerable.Range(-1, given.Patches + 1)];
            return ([.. patches.Select(patch => patch < 0 ? 0 : MathF.Log(given.Attention(patch)))], [.. patches.SelectMany(one => patches.Select(other => given.Similar(one, other)))]);
        }

        private static int Patch(int row, RowMap? map) => (map is null ? row : map.Sources[map.Offsets[row]]) - 1;
    }
}

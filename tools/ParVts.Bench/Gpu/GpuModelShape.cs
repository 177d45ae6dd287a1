namespace ParVts.Bench.Gpu;

/// <summary>The shapes that the kernels are measured on.</summary>
internal sealed record GpuModelShape
{
    public required string Name { get; init; }

    public required int Hidden { get; init; }

    public required int Mlp { get; init; }

    public required int Heads { get; init; }

    public required int HeadDim { get; init; }

    public required int Vocabulary { get; init; }

    /// <summary>Rows before the picture.</summary>
    public required int Prefix { get; init; }

    /// <summary>Visual tokens, and how many of them ParVTS keeps.</summary>
    public required int Visual { get; init; }

    /// <inheritdoc cref="Visual"/>
    public required int Keep { get; init; }

    /// <summary>Rows behind the picture.</summary>
    public required int Question { get; init; }

    /// <summary>Keys of a long decode step.</summary>
    public required int ManyKeys { get; init; }

    public required int TowerHidden { get; init; }

    public required int TowerMlp { get; init; }

    public required int TowerHeads { get; init; }

    public required int Patch { get; init; }

    /// <summary>Patches along a side.</summary>
    public required int Grid { get; init; }

    public int Rows => Prefix + Visual + Question;

    /// <summary>Rows of ParVTS' shared layers: the question is there twice.</summary>
    public int PathRows => Rows + Question;

    public int TowerRows => Grid * Grid + 1;

    /// <summary>LLaVA-1.5-7B with one picture.</summary>
    public static GpuModelShape Llava7B { get; } = new()
    {
        Name = "LLaVA-1.5-7B",
        Hidden = 4096,
        Mlp = 11008,
        Heads = 32,
        HeadDim = 128,
        Vocabulary = 32064,
        Prefix = 35,
        Visual = 576,
        Keep = 64,
        Question = 29,
        ManyKeys = 2944,
        TowerHidden = 1024,
        TowerMlp = 4096,
        TowerHeads = 16,
        Patch = 14,
        Grid = 24,
    };

    /// <summary>The same in small, for the simulated GPU.</summary>
    public static GpuModelShape Small { get; } = new()
    {
        Name = "small",
        Hidden = 256,
        Mlp = 688,
        Heads = 2,
        HeadDim = 128,
        Vocabulary = 512,
        Prefix = 35,
        Visual = 64,
        Keep = 16,
        Question = 29,
        ManyKeys = 300,
        TowerHidden = 128,
        TowerMlp = 512,
        TowerHeads = 2,
        Patch = 14,
        Grid = 8,
    };
}

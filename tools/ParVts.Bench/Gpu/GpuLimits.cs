namespace ParVts.Bench.Gpu;

/// <summary>What a GPU can do at most.</summary>
/// <param name="Bandwidth">Bytes of memory a second.</param>
/// <param name="Flops">Dense bf16 operations of the tensor cores a second, with float32 sums; 0 where it is not known.</param>
/// <param name="Source">Where the figures are from.</param>
internal sealed record GpuLimits(double Bandwidth, double Flops, string Source)
{
    private const double Giga = 1e9;
    private const double Tera = 1e12;

    // NVIDIA's data sheets; what names the variant comes before the family. GB/s and TFLOP/s.
    private static readonly (string[] Words, double Bandwidth, double Flops)[] s_known =
    [
        (["A100", "80GB PCIe"], 1935, 312),
        (["A100", "80GB"], 2039, 312),
        (["A100", "40GB"], 1555, 312),
        (["A10G"], 600, 70),
        (["A10"], 600, 125),
        (["A30"], 933, 165),
        (["A40"], 696, 149.7),
        (["RTX A6000"], 768, 154.8),
        (["RTX 3090"], 936, 71),
        (["RTX 4090"], 1008, 165.2),
        (["L40S"], 864, 362),
        (["L4"], 300, 121),
        (["H100 NVL"], 3938, 835),
        (["H100 PCIe"], 2039, 756),
        (["H100"], 3350, 989),
        (["H200"], 4800, 989),
        (["B200"], 8000, 2250),
    ];

    /// <summary>By the GPU's name; where that is not known, by the copy alone.</summary>
    /// <param name="name">As the driver has it.</param>
    /// <param name="copied">Bytes read and written a second by a large copy within the GPU's memory.</param>
    public static GpuLimits Find(string name, double copied)
    {
        foreach ((string[] words, double bandwidth, double flops) in s_known)
        {
            if (words.All(word => name.Contains(word, StringComparison.Ordinal)))
                return new GpuLimits(bandwidth * Giga, flops * Tera, "data sheet");
        }

        return new GpuLimits(copied, 0, "measured by a copy");
    }

    /// <summary>The least seconds that so many bytes and operations take.</summary>
    public double Least(long bytes, long flops) => Math.Max(bytes / Bandwidth, Flops == 0 ? 0 : flops / Flops);
}

using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>What models' runs compile, so that it can be compiled beforehand. Any thread.</summary>
public static class KernelCatalog
{
    private static readonly string[] s_plain = ["decisions.cu", "pages.cu", "paths.cu", "rows.cu", "sample.cu", "select.cu", "similarity.cu", "sums.cu"];

    // What published models of the family have: text and vision heads, query heads to a KV head.
    private static readonly int[] s_headDims = [64, 72, 80, 96, 128];
    private static readonly int[] s_groups = [1, 2, 4, 7, 8];

    /// <summary>Compiles everything that a model's runs launch, whatever its policy, into the cache.</summary>
    /// <param name="cache">The cache.</param>
    /// <param name="architecture">Compute capability × 10.</param>
    /// <param name="config">The model; null for what models of the family have in common.</param>
    /// <param name="options">As the device will be opened with.</param>
    /// <returns>Specialisations; those that were there already are counted.</returns>
    /// <exception cref="KernelCompileException">One does not compile.</exception>
    /// <exception cref="CudaException">The compiler does not know the architecture.</exception>
    public static int Warm(KernelCache cache, int architecture, ModelConfig? config, CudaOptions options)
    {
        KernelId[] ids = [.. Specialisations(config)];
        foreach (KernelId id in ids)
            _ = cache.Get(KernelSources.Get(id.File), Target(architecture, id, options));
        return ids.Length;
    }

    /// <summary>What a kernel is compiled for.</summary>
    internal static KernelTarget Target(int architecture, in KernelId id, CudaOptions options) =>
        new(architecture, id.Definitions(), options.LineInfo, options.PtxOnly, options.SourceFolder);

    // A file's kernels are compiled together: entries do not matter here.
    private static HashSet<KernelId> Specialisations(ModelConfig? config)
    {
        var ids = new HashSet<KernelId>(s_plain.Select(file => new KernelId(file, "")));
        foreach (TensorType type in (TensorType[])[TensorType.BF16, TensorType.F16])
        {
            Macro element = CudaDevice.Element(type);
            foreach (string file in (string[])["embed.cu", "patch.cu", "decode_combine.cu", "norm.cu"])
                ids.Add(new KernelId(file, "", element));
            foreach (int function in Functions(config))
                ids.Add(new KernelId("activation.cu", "", element, new Macro("FUNCTION", function)));
            foreach (int rows in (int[])[1, 8])
                ids.Add(new KernelId("gemv.cu", "", element, new Macro("OUTPUT", 0), new Macro("ROWS", rows)));
            ids.Add(new KernelId("matmul.cu", "", element, new Macro("OUTPUT", 0)));
            foreach ((int headDim, int group) in Heads(config))
            {
                var size = new Macro("HEAD_DIM", headDim);
                foreach (string file in (string[])["segment_attention.cu", "probe.cu", "rope_store.cu"])
                    ids.Add(new KernelId(file, "", element, size));
                ids.Add(new KernelId("decode_attention.cu", "", element, size, new Macro("GROUP", CudaDevice.HeadsTogether(group))));
            }
        }

        // Norms and the attention of a row that is looked into, which stay float32, copies of rows with room behind them, and the table of rotary positions.
        Macro wide = CudaDevice.Element(TensorType.F32);
        ids.Add(new KernelId("norm.cu", "", wide));
        ids.Add(new KernelId("decode_combine.cu", "", wide));
        ids.Add(new KernelId("activation.cu", "", wide, new Macro("FUNCTION", -1)));
        ids.Add(new KernelId("rope_store.cu", ""));
        return ids;
    }

    private static int[] Functions(ModelConfig? config) => config is null
        ? [-1, .. Enum.GetValues<Activation>().Select(function => (int)function)]
        : [-1, (int)config.Text.Activation, (int)config.Vision.Activation, (int)config.ProjectorActivation];

    private static IEnumerable<(int HeadDim, int Group)> Heads(ModelConfig? config)
    {
        if (config is not null)
        {
            return
            [
                (config.Text.HeadDim, config.Text.Heads / config.Text.KeyValueHeads),
                (config.Vision.HiddenSize / config.Vision.Heads, 1),
            ];
        }

        return from headDim in s_headDims from heads in s_groups select (headDim, heads);
    }
}

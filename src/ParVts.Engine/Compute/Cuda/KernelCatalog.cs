using ParVts.Cuda.Compilation;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>Which kernels a model's runs use, so that they can be compiled beforehand. Any thread.</summary>
internal static class KernelCatalog
{
    /// <summary>Every specialisation that a model of this shape launches, whatever its policy.</summary>
    /// <param name="config">The model.</param>
    /// <param name="input">The type of its matrix inputs (<see cref="CudaDevice.InputType"/>).</param>
    public static IReadOnlyList<KernelId> For(ModelConfig config, TensorType input)
    {
        var ids = new HashSet<KernelId>();
        Macro element = CudaDevice.Element(input);
        Macro wide = CudaDevice.Element(TensorType.F32);
        foreach (string kernel in (string[])["gather_rows", "scatter_rows", "merge_rows", "fill_rows"])
            ids.Add(new KernelId("rows.cu", kernel));
        foreach (string kernel in (string[])["increment", "resolve_rows", "score_share"])
            ids.Add(new KernelId("decisions.cu", kernel));
        foreach (string kernel in (string[])["fuse_paths", "path_weights"])
            ids.Add(new KernelId("paths.cu", kernel));
        foreach (string kernel in (string[])["sample_greedy", "sample"])
            ids.Add(new KernelId("sample.cu", kernel));
        ids.Add(new KernelId("select.cu", "select_top"));
        ids.Add(new KernelId("pages.cu", "keep_keys"));
        ids.Add(new KernelId("rope_store.cu", "rotary_table"));
        ids.Add(new KernelId("embed.cu", "embed", element));
        ids.Add(new KernelId("patch.cu", "patchify", element));
        ids.Add(new KernelId("decode_combine.cu", "decode_combine", element));
        ids.Add(new KernelId("norm.cu", "rms_norm", element));
        ids.Add(new KernelId("norm.cu", "layer_norm", element));
        ids.Add(new KernelId("norm.cu", "layer_norm", wide));
        ids.Add(CudaDevice.ActivateKernel(CudaDevice.NoFunction, element));
        ids.Add(CudaDevice.ActivateKernel(CudaDevice.NoFunction, wide));
        ids.Add(CudaDevice.ActivateKernel(CudaDevice.Function(config.Vision.Activation), element));
        ids.Add(CudaDevice.ActivateKernel(CudaDevice.Function(config.ProjectorActivation), element));
        ids.Add(CudaDevice.GatedActivateKernel(CudaDevice.Function(config.Text.Activation), element));
        ids.UnionWith(CudaDevice.MatMulKernels(element));
        Add(ids, config.Text.HeadDim, config.Text.Heads / config.Text.KeyValueHeads, element);
        Add(ids, config.Vision.HiddenSize / config.Vision.Heads, 1, element);
        return [.. ids];
    }

    /// <summary>What a kernel is compiled for.</summary>
    public static KernelTarget Target(int architecture, in KernelId id, CudaOptions options) =>
        new(architecture, id.Definitions(), options.LineInfo, options.PtxOnly) { SourceFolder = options.SourceFolder };

    private static void Add(HashSet<KernelId> ids, int headDim, int group, Macro element)
    {
        ids.Add(CudaDevice.AttentionKernel(element, headDim));
        ids.Add(CudaDevice.DecodeKernel(element, headDim, CudaDevice.HeadsTogether(group)));
        ids.Add(CudaDevice.RopeKernel(element, headDim));
        ids.UnionWith(CudaDevice.ProbeKernels(element, headDim));
    }
}

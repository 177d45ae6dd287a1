using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>The policies whose sizes are known beforehand, in a form that fits any model.</summary>
internal static class DevicePolicies
{
    /// <summary>K stands for a layer of the model, k for some of its visual tokens.</summary>
    public static string[] All { get; } =
    [
        "dense", "parvts:keep=k,migrate=K,fuse=mean", "parvts:keep=k,migrate=K,fuse=w:0.3", "parvts:keep=k,migrate=K,fuse=mass",
        "parvts:keep=k,migrate=K,fuse=lse", "cls-prune:keep=k", "fastv:layer=K,keep=k", "vtw:layer=K", "cls-prune:keep=k+vtw:layer=K",
    ];

    /// <summary>The policy for a model.</summary>
    public static string Fill(string policy, TinyModel model) => policy
        .Replace("=k", $"={model.Visual / 3}", StringComparison.Ordinal)
        .Replace("=N", $"={model.Visual}", StringComparison.Ordinal)
        .Replace("=K", $"={Math.Max(1, model.Layers / 2)}", StringComparison.Ordinal);
}

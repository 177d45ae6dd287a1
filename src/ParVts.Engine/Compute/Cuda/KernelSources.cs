using System.Reflection;
using ParVts.Cuda.Compilation;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>The kernels' sources, which are part of this assembly. Any thread.</summary>
internal static class KernelSources
{
    private const string Prefix = "ParVts.Engine.kernels.";

    private static readonly Lazy<Dictionary<string, string>> s_texts = new(ReadAll);

    /// <summary>The names of the kernel files (*.cu).</summary>
    public static IEnumerable<string> Files => s_texts.Value.Keys.Where(name => name.EndsWith(".cu", StringComparison.Ordinal)).Order(StringComparer.Ordinal);

    /// <summary>A file with all headers beside it.</summary>
    public static KernelSource Get(string file) => new(
        file,
        s_texts.Value[file],
        s_texts.Value.Where(pair => pair.Key.EndsWith(".cuh", StringComparison.Ordinal)).ToDictionary(pair => pair.Key, pair => pair.Value));

    private static Dictionary<string, string> ReadAll()
    {
        Assembly assembly = typeof(KernelSources).Assembly;
        var texts = new Dictionary<string, string>();
        foreach (string name in assembly.GetManifestResourceNames().Where(name => name.StartsWith(Prefix, StringComparison.Ordinal)))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            texts[name[Prefix.Length..]] = reader.ReadToEnd();
        }

        return texts;
    }
}

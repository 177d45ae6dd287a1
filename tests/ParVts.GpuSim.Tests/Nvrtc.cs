using System.Collections.Concurrent;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;

namespace ParVts.GpuSim.Tests;

/// <summary>Compiles these tests' kernels with the real NVRTC; where there is none, the test is skipped by name.</summary>
internal static class Nvrtc
{
    private static readonly KernelTarget s_target = new(80, new Dictionary<string, string>(), LineInfo: true);
    private static readonly ConcurrentDictionary<string, string> s_compiled = new();

    private static readonly ConcurrentDictionary<string, CompiledKernel> s_engine = new();

    /// <summary>The root of the checkout.</summary>
    public static string Root { get; } = FindRoot();

    private static readonly string s_kernels = Path.Combine(Root, "kernels");

    public static string Ptx(string file)
    {
        KernelCompiler compiler = TestCompiler.Require();
        return s_compiled.GetOrAdd(
            file, name => compiler.Compile(new KernelSource(name, Source(name), new Dictionary<string, string>()), s_target).Ptx);
    }

    /// <summary>A file of the engine's own kernels, as the engine compiles it.</summary>
    public static CompiledKernel Engine(string file, params (string Name, int Value)[] definitions)
    {
        KernelCompiler compiler = TestCompiler.Require();
        KernelTarget target = new(80, definitions.ToDictionary(one => one.Name, one => $"{one.Value}"), LineInfo: true);
        return s_engine.GetOrAdd($"{file} {string.Join(' ', definitions)}", _ => compiler.Compile(
            new KernelSource(
                file,
                File.ReadAllText(Path.Combine(s_kernels, file)),
                Directory.GetFiles(s_kernels, "*.cuh").ToDictionary(header => Path.GetFileName(header)!, File.ReadAllText)),
            target));
    }

    public static string Source(string file)
    {
        using StreamReader reader = new(typeof(Nvrtc).Assembly.GetManifestResourceStream(file) ?? throw new FileNotFoundException(file));
        return reader.ReadToEnd();
    }

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "ParVts.Native.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder!;
    }
}

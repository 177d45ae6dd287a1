using System.Collections.Concurrent;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Tests;

namespace ParVts.GpuSim.Tests;

/// <summary>Compiles these tests' kernels with the real NVRTC; where there is none, the test is skipped by name.</summary>
internal static class Nvrtc
{
    private static readonly KernelTarget s_target = new(80, new Dictionary<string, string>(), LineInfo: true);
    private static readonly ConcurrentDictionary<string, string> s_compiled = new();

    public static string Ptx(string file)
    {
        KernelCompiler compiler = TestCompiler.Require();
        return s_compiled.GetOrAdd(
            file, name => compiler.Compile(new KernelSource(name, Source(name), new Dictionary<string, string>()), s_target).Ptx);
    }

    public static string Source(string file)
    {
        using StreamReader reader = new(typeof(Nvrtc).Assembly.GetManifestResourceStream(file) ?? throw new FileNotFoundException(file));
        return reader.ReadToEnd();
    }
}

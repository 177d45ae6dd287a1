using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>The real NVRTC; where there is none, the calling test is skipped, by name.</summary>
internal static class TestCompiler
{
    private static readonly Lazy<(KernelCompiler? Compiler, string Missing)> s_compiler = new(() =>
    {
        try
        {
            return (new KernelCompiler(NvrtcApi.Load()), "");
        }
        catch (CudaLibraryException error)
        {
            return (null, error.Message);
        }
    });

    /// <summary>The compiler.</summary>
    public static KernelCompiler Require()
    {
        if (s_compiler.Value.Compiler is null)
            Assert.Ignore(s_compiler.Value.Missing);
        return s_compiler.Value.Compiler!;
    }
}

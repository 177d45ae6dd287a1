using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.Runner;

/// <summary>The device "sim": the kernels' real PTX, executed and checked on the processor. Slow, and for proof alone.</summary>
internal static class SimulatedGpu
{
    /// <summary>What it is called on the command line.</summary>
    public const string Name = "sim";

    private static SimDriver? s_driver;

    /// <summary>Opens it.</summary>
    /// <param name="options">How it is used.</param>
    /// <exception cref="CudaLibraryException">NVRTC is missing.</exception>
    public static ComputeDevice Open(CudaOptions options)
    {
        var compiler = new KernelCompiler(NvrtcApi.Load());
        s_driver = new SimDriver();
        return CudaDevice.Open(s_driver.Api, compiler, CudaDeviceInfo.All(s_driver.Api)[0], Name, options with { LineInfo = true, PtxOnly = true });
    }

    /// <summary>What went wrong on it, in more words than a driver's error has.</summary>
    public static IEnumerable<string> Faults => s_driver?.Faults.Select(fault => fault.Message) ?? [];
}

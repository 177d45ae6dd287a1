using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Cuda.Tests;
using ParVts.Engine.Compute.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests;

/// <summary>
/// The device that the tests run on (contract G4): the simulated GPU, or the real one that <c>PARVTS_TEST_DEVICE</c> names
/// ("cuda:0"). Without NVRTC the calling test is skipped, by name.
/// </summary>
internal sealed class TestGpu : IDisposable
{
    // Kernels compile once for all tests of a run, and once for all runs on a machine.
    private static readonly string s_cache = Path.Combine(Path.GetTempPath(), "parvts-test-kernels");

    private TestGpu(CudaDevice device, SimDriver? sim)
    {
        Device = device;
        Sim = sim;
    }

    public CudaDevice Device { get; }

    /// <summary>What executes the kernels; null on a real GPU.</summary>
    public SimDriver? Sim { get; }

    public static bool IsReal => RealName is not null;

    private static string? RealName => Environment.GetEnvironmentVariable("PARVTS_TEST_DEVICE") is { Length: > 0 } name && name != "sim" ? name : null;

    /// <summary>Opens it.</summary>
    /// <param name="architecture">What the simulated GPU is.</param>
    /// <param name="cublas">Multiply with cuBLAS: the simulated GPU's, or the system's.</param>
    public static TestGpu Open(int architecture = 80, bool cublas = false)
    {
        KernelCompiler compiler = TestCompiler.Require();
        if (RealName is string name)
        {
            DriverApi driver = DriverApi.Load();
            CudaDeviceInfo info = CudaDeviceInfo.All(driver)[int.Parse(name["cuda:".Length..], System.Globalization.CultureInfo.InvariantCulture)];
            return new TestGpu(CudaDevice.Open(driver, compiler, info, name, new CudaOptions { CacheFolder = s_cache, Cublas = cublas ? CublasApi.Load() : null }), null);
        }

        var sim = new SimDriver(architecture);
        CudaDevice device = CudaDevice.Open(
            sim.Api, compiler, CudaDeviceInfo.All(sim.Api)[0], "sim",
            new CudaOptions { CacheFolder = s_cache, LineInfo = true, PtxOnly = true, Cublas = cublas ? new CublasApi(sim.Cublas.Functions) : null });
        return new TestGpu(device, sim);
    }

    /// <summary>A kernel did something wrong: the context is lost, and what was in it.</summary>
    public bool IsLost => Sim is { Faults.Count: > 0 };

    /// <summary>No kernel did anything wrong.</summary>
    public void RequireNoFaults()
    {
        if (Sim is not null)
            Assert.That(Sim.Faults.Select(fault => fault.Message), Is.Empty);
    }

    /// <summary>Closes it; whoever still holds something of the device is named.</summary>
    public void Dispose()
    {
        Device.Dispose();
        if (Sim is null)
            return;
        IReadOnlyList<SimLeak> leaks = IsLost ? [] : Sim.Leaks();
        Sim.Dispose();
        Assert.That(leaks, Is.Empty, "what the device made, and nobody freed");
    }
}

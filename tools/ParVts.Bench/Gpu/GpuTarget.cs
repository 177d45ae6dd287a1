using System.Globalization;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.GpuSim.Driver;

namespace ParVts.Bench.Gpu;

/// <summary>The GPU that is measured, or the simulated one, on which only the benchmark itself is tried.</summary>
/// <param name="Name">"cuda:0" or "sim".</param>
/// <param name="Driver">Its driver.</param>
/// <param name="Info">What it is.</param>
/// <param name="Compiler">NVRTC.</param>
/// <param name="Sim">What executes on the simulated GPU; null on a real one.</param>
internal sealed record GpuTarget(string Name, DriverApi Driver, CudaDeviceInfo Info, KernelCompiler Compiler, SimDriver? Sim) : IDisposable
{
    public const string SimName = "sim";

    /// <summary>Opens it.</summary>
    /// <exception cref="CudaErrorException">It is not there, or a library is missing.</exception>
    public static GpuTarget Open(string name)
    {
        var compiler = new KernelCompiler(NvrtcApi.Load());
        if (name == SimName)
        {
            // Races are for the tests to find.
            var sim = new SimDriver();
            sim.Gpu.DetectRaces = false;
            return new GpuTarget(name, sim.Api, CudaDeviceInfo.All(sim.Api)[0], compiler, sim);
        }

        DriverApi driver = DriverApi.Load();
        string which = name.StartsWith("cuda:", StringComparison.Ordinal) ? name["cuda:".Length..] : name;
        return new GpuTarget(name, driver, CudaDeviceInfo.Find(driver, which), compiler, null);
    }

    /// <summary>The GPU's name as a part of a file's name.</summary>
    public string Slug => Sim is not null
        ? SimName
        : string.Join('-', Info.Name.ToLower(CultureInfo.InvariantCulture).Split([' ', '/', '-'], StringSplitOptions.RemoveEmptyEntries));

    public void Dispose() => Sim?.Dispose();
}

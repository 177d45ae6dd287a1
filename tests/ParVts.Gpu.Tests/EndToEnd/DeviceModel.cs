using ParVts.Engine.Generation;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>
/// A checkpoint on the device under test. Every access of every kernel is checked for bounds and for memory that nobody wrote;
/// races are looked for where operations are tested alone, since whole runs would take three times as long. What is wrong, or
/// not freed, shows at the end.
/// </summary>
internal sealed class DeviceModel : IDisposable
{
    private readonly TestGpu _gpu;

    public DeviceModel(string folder)
    {
        _gpu = OpenGpu();
        Engine = VlmEngine.Open(folder, new EngineOptions { OpenDevice = () => _gpu.Device });
    }

    public VlmEngine Engine { get; }

    /// <summary>What executes; the calling test is skipped on a real GPU, which does not count what it does.</summary>
    public SimDriver Sim => RequireSim(_gpu);

    /// <summary>The device under test, for whole runs.</summary>
    public static TestGpu OpenGpu()
    {
        TestGpu gpu = TestGpu.Open();
        if (gpu.Sim is not null)
        {
            gpu.Sim.Gpu.DetectRaces = false;
            gpu.Sim.Gpu.CountMemory = false;
        }

        return gpu;
    }

    public static SimDriver RequireSim(TestGpu gpu)
    {
        if (gpu.Sim is null)
            Assert.Ignore("a real GPU does not count what it does");
        return gpu.Sim!;
    }

    public void Dispose()
    {
        Engine.Dispose();
        _gpu.RequireNoFaults();
        _gpu.Dispose();
    }
}

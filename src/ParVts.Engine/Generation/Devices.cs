using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;

namespace ParVts.Engine.Generation;

/// <summary>Finds devices by name.</summary>
internal static class Devices
{
    /// <summary>Opens a device; "auto" is the CPU until a GPU can be used.</summary>
    public static ComputeDevice Open(string name, int threads)
    {
        if (threads < 0)
            throw new RequestException($"the number of threads is {threads}; it must be 0 (one a physical core) or more");
        return name switch
        {
            "auto" or "cpu" => new CpuDevice(threads),
            _ when name.StartsWith("cuda", StringComparison.Ordinal) || name == "sim" => throw new DeviceException(
                $"device '{name}' is not available in this version, which runs on the CPU only; use --device cpu or auto"),
            _ => throw new DeviceException($"there is no device '{name}'; there are: auto, cpu"),
        };
    }
}

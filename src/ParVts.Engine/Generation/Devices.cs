using System.Globalization;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Compute.Cuda;

namespace ParVts.Engine.Generation;

/// <summary>Finds devices by name.</summary>
internal static class Devices
{
    private const string Cuda = "cuda:";

    /// <summary>Opens a device; "auto" is the first GPU that can be used, else the CPU.</summary>
    /// <exception cref="DeviceException">There is no such device.</exception>
    /// <exception cref="CudaErrorException">A GPU was asked for, and something that it needs is missing or fails.</exception>
    public static ComputeDevice Open(EngineOptions options)
    {
        if (options.Threads < 0)
            throw new RequestException($"the number of threads is {options.Threads}; it must be 0 (one a physical core) or more");
        return options.Device switch
        {
            "cpu" => new CpuDevice(options.Threads),
            "auto" => (ComputeDevice?)TryOpenGpu(options) ?? new CpuDevice(options.Threads),
            "sim" => throw new DeviceException(
                "device 'sim' is opened by the host that brings the simulated GPU (EngineOptions.OpenDevice); the runner does"),
            _ when options.Device.StartsWith(Cuda, StringComparison.Ordinal)
                && int.TryParse(options.Device.AsSpan(Cuda.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal) =>
                OpenGpu(options, ordinal),
            _ => throw new DeviceException($"there is no device '{options.Device}'; there are: auto, cpu, cuda:N"),
        };
    }

    private static CudaDevice OpenGpu(EngineOptions options, int ordinal)
    {
        DriverApi driver = DriverApi.Load();
        IReadOnlyList<CudaDeviceInfo> devices = CudaDeviceInfo.All(driver);
        if (ordinal >= devices.Count)
            throw new DeviceException($"there is no device '{options.Device}': this machine has {devices.Count} GPUs, numbered from 0");
        CudaDeviceInfo info = devices[ordinal];
        if (info.Architecture < CudaDevice.LeastArchitecture)
        {
            throw new DeviceException(
                $"'{options.Device}' ({info.Name}) is of compute capability {info.Architecture / 10}.{info.Architecture % 10}; "
                + $"the kernels need {CudaDevice.LeastArchitecture / 10}.{CudaDevice.LeastArchitecture % 10} (Ampere) or newer. Use --device cpu");
        }

        CudaOptions cuda = options.Cuda with { Cublas = options.Cuda.Cublas ?? TryLoadCublas(), Warning = options.Warning };
        return CudaDevice.Open(driver, new KernelCompiler(NvrtcApi.Load()), info, options.Device, cuda);
    }

    // It is quicker where it is there; our own kernels serve where it is not.
    private static CublasApi? TryLoadCublas()
    {
        try
        {
            return CublasApi.Load();
        }
        catch (CudaLibraryException)
        {
            return null;
        }
    }

    // What is missing is no error here: nobody asked for a GPU.
    private static CudaDevice? TryOpenGpu(EngineOptions options)
    {
        try
        {
            return OpenGpu(options with { Device = Cuda + "0" }, 0);
        }
        catch (Exception error) when (error is CudaErrorException or DeviceException)
        {
            return null;
        }
    }
}

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
    /// <exception cref="DeviceException">There is no such device, or something that it needs is missing.</exception>
    /// <exception cref="CudaErrorException">A GPU was asked for, and fails.</exception>
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
            _ when IsGpu(options.Device) => OpenGpu(options, DriverApi.Load, NvrtcApi.Load),
            _ => throw new DeviceException($"there is no device '{options.Device}'; there are: auto, cpu, cuda:N, cuda:UUID, GPU-UUID"),
        };
    }

    /// <summary>Opens a GPU by its number or UUID.</summary>
    /// <param name="options">They name it: "cuda:…", or as nvidia-smi writes it, "GPU-…".</param>
    /// <param name="loadDriver">Finds the driver.</param>
    /// <param name="loadCompiler">Finds NVRTC.</param>
    /// <exception cref="DeviceException">It is not there, is too old, or a library is missing.</exception>
    /// <exception cref="CudaErrorException">It fails.</exception>
    internal static CudaDevice OpenGpu(EngineOptions options, Func<DriverApi> loadDriver, Func<NvrtcApi> loadCompiler)
    {
        DriverApi driver;
        CudaDeviceInfo info;
        KernelCompiler compiler;
        try
        {
            driver = loadDriver();
            info = CudaDeviceInfo.Find(driver, options.Device.StartsWith(Cuda, StringComparison.Ordinal) ? options.Device[Cuda.Length..] : options.Device);
            info.RequireSupported();
            compiler = new KernelCompiler(loadCompiler());
        }
        catch (CudaErrorException error)
        {
            throw new DeviceException($"device '{options.Device}' cannot be used: {error.Message}", error);
        }

        CudaOptions cuda = options.Cuda with { Cublas = options.Cuda.Cublas ?? TryLoadCublas(), Warning = options.Warning };
        return CudaDevice.Open(driver, compiler, info, options.Device, cuda);
    }

    private static bool IsGpu(string name) =>
        name.StartsWith(Cuda, StringComparison.Ordinal) || name.StartsWith("GPU-", StringComparison.OrdinalIgnoreCase);

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
            return OpenGpu(options with { Device = Cuda + "0" }, DriverApi.Load, NvrtcApi.Load);
        }
        catch (Exception error) when (error is CudaErrorException or DeviceException)
        {
            return null;
        }
    }
}

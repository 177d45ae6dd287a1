using System.Runtime.InteropServices;

namespace ParVts.Cuda.Native;

/// <summary>
/// The CUDA driver's functions, filled by name (contract G1), so that a simulated driver can fill the same table. All are
/// those of CUDA 11.4 or older, in the versions that the names say. Any thread.
/// </summary>
public sealed unsafe class DriverApi
{
    private const string Hint = "Install NVIDIA's driver (470 or newer), or choose --device cpu or sim";

    // CUDA 11.4, as cuDriverGetVersion counts.
    private const int OldestVersion = 11040;

    private static readonly Lock s_loading = new();
    private static DriverApi? s_loaded;

    private readonly delegate* unmanaged<int, byte**, int> _errorName;

    // Functions may be managed ones that live only as long as their source.
    private readonly FunctionSource _source;

    /// <summary>Takes the functions from a source and starts the driver.</summary>
    /// <exception cref="CudaLibraryException">The driver is too old, or a function is missing.</exception>
    /// <exception cref="CudaException">The driver does not start.</exception>
    public DriverApi(FunctionSource source)
    {
        _source = source;
        Version = ReadVersion(source);
        _errorName = (delegate* unmanaged<int, byte**, int>)source.Require("cuGetErrorName", "6.0");
        var init = (delegate* unmanaged<uint, int>)source.Require("cuInit", "2.0");
        DeviceGetCount = (delegate* unmanaged<int*, int>)source.Require("cuDeviceGetCount", "2.0");
        DeviceGet = (delegate* unmanaged<int*, int, int>)source.Require("cuDeviceGet", "2.0");
        DeviceGetName = (delegate* unmanaged<byte*, int, int, int>)source.Require("cuDeviceGetName", "2.0");

        // The second version knows the parts of a divided GPU (MIG) as well; it has the first one's arguments.
        nint uuid = source.Find("cuDeviceGetUuid_v2");
        DeviceGetUuid = (delegate* unmanaged<byte*, int, int>)(uuid != 0 ? uuid : source.Require("cuDeviceGetUuid", "9.2"));
        DeviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)source.Require("cuDeviceGetAttribute", "2.0");
        DeviceTotalMem = (delegate* unmanaged<nuint*, int, int>)source.Require("cuDeviceTotalMem_v2", "3.2");
        PrimaryCtxRetain = (delegate* unmanaged<nint*, int, int>)source.Require("cuDevicePrimaryCtxRetain", "7.0");
        PrimaryCtxRelease = (delegate* unmanaged<int, int>)source.Require("cuDevicePrimaryCtxRelease_v2", "11.0");

        // Where it is missing, a lost context is made anew only once everybody in the process has let go of it.
        PrimaryCtxReset = (delegate* unmanaged<int, int>)source.Find("cuDevicePrimaryCtxReset_v2");
        CtxPushCurrent = (delegate* unmanaged<nint, int>)source.Require("cuCtxPushCurrent_v2", "4.0");
        CtxPopCurrent = (delegate* unmanaged<nint*, int>)source.Require("cuCtxPopCurrent_v2", "4.0");
        CtxGetCurrent = (delegate* unmanaged<nint*, int>)source.Require("cuCtxGetCurrent", "4.0");
        CtxGetDevice = (delegate* unmanaged<int*, int>)source.Require("cuCtxGetDevice", "2.0");
        MemGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)source.Require("cuMemGetInfo_v2", "3.2");
        MemAlloc = (delegate* unmanaged<ulong*, nuint, int>)source.Require("cuMemAlloc_v2", "3.2");
        MemFree = (delegate* unmanaged<ulong, int>)source.Require("cuMemFree_v2", "3.2");
        MemHostAlloc = (delegate* unmanaged<nint*, nuint, uint, int>)source.Require("cuMemHostAlloc", "2.2");
        MemFreeHost = (delegate* unmanaged<nint, int>)source.Require("cuMemFreeHost", "2.0");
        MemcpyHtoDAsync = (delegate* unmanaged<ulong, void*, nuint, nint, int>)source.Require("cuMemcpyHtoDAsync_v2", "3.2");
        MemcpyDtoHAsync = (delegate* unmanaged<void*, ulong, nuint, nint, int>)source.Require("cuMemcpyDtoHAsync_v2", "3.2");
        MemcpyDtoDAsync = (delegate* unmanaged<ulong, ulong, nuint, nint, int>)source.Require("cuMemcpyDtoDAsync_v2", "3.2");
        MemsetD8Async = (delegate* unmanaged<ulong, byte, nuint, nint, int>)source.Require("cuMemsetD8Async", "3.2");
        StreamCreate = (delegate* unmanaged<nint*, uint, int>)source.Require("cuStreamCreate", "2.0");
        StreamDestroy = (delegate* unmanaged<nint, int>)source.Require("cuStreamDestroy_v2", "4.0");
        StreamSynchronize = (delegate* unmanaged<nint, int>)source.Require("cuStreamSynchronize", "2.0");
        StreamWaitEvent = (delegate* unmanaged<nint, nint, uint, int>)source.Require("cuStreamWaitEvent", "3.2");
        EventCreate = (delegate* unmanaged<nint*, uint, int>)source.Require("cuEventCreate", "2.0");
        EventDestroy = (delegate* unmanaged<nint, int>)source.Require("cuEventDestroy_v2", "4.0");
        EventRecord = (delegate* unmanaged<nint, nint, int>)source.Require("cuEventRecord", "2.0");
        EventSynchronize = (delegate* unmanaged<nint, int>)source.Require("cuEventSynchronize", "2.0");
        EventElapsedTime = (delegate* unmanaged<float*, nint, nint, int>)source.Require("cuEventElapsedTime", "2.0");
        ModuleLoadData = (delegate* unmanaged<nint*, void*, int>)source.Require("cuModuleLoadData", "2.0");
        ModuleUnload = (delegate* unmanaged<nint, int>)source.Require("cuModuleUnload", "2.0");
        ModuleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)source.Require("cuModuleGetFunction", "2.0");
        FuncGetAttribute = (delegate* unmanaged<int*, int, nint, int>)source.Require("cuFuncGetAttribute", "2.2");
        FuncSetAttribute = (delegate* unmanaged<nint, int, int, int>)source.Require("cuFuncSetAttribute", "9.0");
        LaunchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)source.Require("cuLaunchKernel", "4.0");
        StreamBeginCapture = (delegate* unmanaged<nint, int, int>)source.Require("cuStreamBeginCapture_v2", "10.1");
        StreamEndCapture = (delegate* unmanaged<nint, nint*, int>)source.Require("cuStreamEndCapture", "10.0");
        GraphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)source.Require("cuGraphInstantiateWithFlags", "11.4");
        GraphLaunch = (delegate* unmanaged<nint, nint, int>)source.Require("cuGraphLaunch", "10.0");
        GraphDestroy = (delegate* unmanaged<nint, int>)source.Require("cuGraphDestroy", "10.0");
        GraphExecDestroy = (delegate* unmanaged<nint, int>)source.Require("cuGraphExecDestroy", "10.0");

        // For profilers alone: nothing is lost without.
        ProfilerStart = (delegate* unmanaged<int>)source.Find("cuProfilerStart");
        ProfilerStop = (delegate* unmanaged<int>)source.Find("cuProfilerStop");
        Check(init(0), "cuInit");
    }

    /// <summary>The newest version of CUDA that the driver can serve.</summary>
    public Version Version { get; }

    /// <summary>The state of the devices' primary contexts, which everybody who uses this table shares.</summary>
    internal PrimaryContexts Primaries { get; } = new();

    internal delegate* unmanaged<int*, int> DeviceGetCount { get; }

    internal delegate* unmanaged<int*, int, int> DeviceGet { get; }

    internal delegate* unmanaged<byte*, int, int, int> DeviceGetName { get; }

    internal delegate* unmanaged<byte*, int, int> DeviceGetUuid { get; }

    internal delegate* unmanaged<int*, int, int, int> DeviceGetAttribute { get; }

    internal delegate* unmanaged<nuint*, int, int> DeviceTotalMem { get; }

    internal delegate* unmanaged<nint*, int, int> PrimaryCtxRetain { get; }

    internal delegate* unmanaged<int, int> PrimaryCtxRelease { get; }

    internal delegate* unmanaged<int, int> PrimaryCtxReset { get; }

    internal delegate* unmanaged<nint, int> CtxPushCurrent { get; }

    internal delegate* unmanaged<nint*, int> CtxPopCurrent { get; }

    internal delegate* unmanaged<nint*, int> CtxGetCurrent { get; }

    internal delegate* unmanaged<int*, int> CtxGetDevice { get; }

    internal delegate* unmanaged<nuint*, nuint*, int> MemGetInfo { get; }

    internal delegate* unmanaged<ulong*, nuint, int> MemAlloc { get; }

    internal delegate* unmanaged<ulong, int> MemFree { get; }

    internal delegate* unmanaged<nint*, nuint, uint, int> MemHostAlloc { get; }

    internal delegate* unmanaged<nint, int> MemFreeHost { get; }

    internal delegate* unmanaged<ulong, void*, nuint, nint, int> MemcpyHtoDAsync { get; }

    internal delegate* unmanaged<void*, ulong, nuint, nint, int> MemcpyDtoHAsync { get; }

    internal delegate* unmanaged<ulong, ulong, nuint, nint, int> MemcpyDtoDAsync { get; }

    internal delegate* unmanaged<ulong, byte, nuint, nint, int> MemsetD8Async { get; }

    internal delegate* unmanaged<nint*, uint, int> StreamCreate { get; }

    internal delegate* unmanaged<nint, int> StreamDestroy { get; }

    internal delegate* unmanaged<nint, int> StreamSynchronize { get; }

    internal delegate* unmanaged<nint, nint, uint, int> StreamWaitEvent { get; }

    internal delegate* unmanaged<nint*, uint, int> EventCreate { get; }

    internal delegate* unmanaged<nint, int> EventDestroy { get; }

    internal delegate* unmanaged<nint, nint, int> EventRecord { get; }

    internal delegate* unmanaged<nint, int> EventSynchronize { get; }

    internal delegate* unmanaged<float*, nint, nint, int> EventElapsedTime { get; }

    internal delegate* unmanaged<nint*, void*, int> ModuleLoadData { get; }

    internal delegate* unmanaged<nint, int> ModuleUnload { get; }

    internal delegate* unmanaged<nint*, nint, byte*, int> ModuleGetFunction { get; }

    internal delegate* unmanaged<int*, int, nint, int> FuncGetAttribute { get; }

    internal delegate* unmanaged<nint, int, int, int> FuncSetAttribute { get; }

    internal delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> LaunchKernel { get; }

    internal delegate* unmanaged<nint, int, int> StreamBeginCapture { get; }

    internal delegate* unmanaged<nint, nint*, int> StreamEndCapture { get; }

    internal delegate* unmanaged<nint*, nint, ulong, int> GraphInstantiate { get; }

    internal delegate* unmanaged<nint, nint, int> GraphLaunch { get; }

    internal delegate* unmanaged<nint, int> GraphDestroy { get; }

    internal delegate* unmanaged<nint, int> GraphExecDestroy { get; }

    internal delegate* unmanaged<int> ProfilerStart { get; }

    internal delegate* unmanaged<int> ProfilerStop { get; }

    /// <summary>The system's driver; the same table each time.</summary>
    /// <exception cref="CudaLibraryException">There is none, or it is too old.</exception>
    /// <exception cref="CudaException">It does not start: no GPU, or a driver that does not match the kernel's.</exception>
    public static DriverApi Load()
    {
        lock (s_loading)
        {
            return s_loaded ??= new DriverApi(FunctionSource.Load(
                "the CUDA driver", Hint, OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"]));
        }
    }

    // An old driver is named as such, not by the first function that it lacks. It tells its version before it is started.
    private static Version ReadVersion(FunctionSource source)
    {
        int version = 0;
        if (((delegate* unmanaged<int*, int>)source.Require("cuDriverGetVersion", "2.2"))(&version) != 0 || version == 0)
            throw new CudaLibraryException(source.Library, "does not tell its version", source.Hint);
        var read = new Version(version / 1000, version % 1000 / 10);
        return version >= OldestVersion
            ? read
            : throw new CudaLibraryException(
                source.Library, $"is too old: it serves CUDA {read}, and CUDA {OldestVersion / 1000}.{OldestVersion % 1000 / 10} is needed", source.Hint);
    }

    /// <summary>Frees what a capture has recorded.</summary>
    internal int DestroyGraph(nint recorded) => GraphDestroy(recorded);

    /// <summary>Turns a result other than success into an error.</summary>
    internal void Check(int result, string call)
    {
        if (result != 0)
            throw Error(result, call);
    }

    /// <summary>The error of a result.</summary>
    internal CudaException Error(int result, string call)
    {
        byte* name;
        string text = _errorName(result, &name) == 0 && name != null ? Marshal.PtrToStringUTF8((nint)name)! : "an unknown error";
        return new CudaException(call, result, text, HintFor(result));
    }

    private static string HintFor(int result) => result switch
    {
        2 => "The GPU's memory is full: shorten the prompt, lower the number of new tokens, or free memory",
        3 or 4 => "The driver is shutting down, or the process was forked: start the engine in the process that uses it",
        35 or 803 => "The driver is older than its libraries: update NVIDIA's driver",
        100 => "There is no GPU, or it is hidden from this process (CUDA_VISIBLE_DEVICES)",
        209 or 218 => "The kernel was compiled for another GPU: empty the kernel cache",
        214 => "The GPU's memory has an uncorrectable error: run nvidia-smi -q -d ECC",
        >= 900 and <= 908 => "A graph cannot hold what was queued while the stream was captured: see the call that failed first, or run without graphs (--no-graphs)",
        _ when IsSticky(result) => "A kernel failed and the context is lost: open the engine again; --verbose says which kernels ran",
        999 => "The driver does not say why: look into the system's log, and try again",
        _ => "Try again; where it fails in the same way, report it with what --verbose shows",
    };

    /// <summary>After such an error every later call on the context fails with it: the context is lost.</summary>
    internal static bool IsSticky(int result) => result switch
    {
        214 or 220 => true, // uncorrectable memory or NVLink errors
        700 or 702 => true, // an illegal address; a kernel that ran too long
        709 or 710 => true, // the context was destroyed; a device-side assertion
        >= 714 and <= 719 => true, // illegal instructions, addresses, address spaces and program counters; a failed launch
        _ => false,
    };
}

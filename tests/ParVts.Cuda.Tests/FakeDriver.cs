using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>
/// A driver that runs nothing: it hands out numbers for handles, keeps account of what is alive and current, and can fail
/// any one call. One test at a time.
/// </summary>
internal static unsafe partial class FakeDriver
{
    private static readonly Dictionary<string, nint> s_functions = new()
    {
        ["cuGetErrorName"] = (nint)(delegate* unmanaged<int, byte**, int>)&ErrorName,
        ["cuDriverGetVersion"] = (nint)(delegate* unmanaged<int*, int>)&DriverVersion,
        ["cuDeviceGetCount"] = (nint)(delegate* unmanaged<int*, int>)&DeviceCount,
        ["cuDeviceGet"] = (nint)(delegate* unmanaged<int*, int, int>)&Device,
        ["cuDeviceGetName"] = (nint)(delegate* unmanaged<byte*, int, int, int>)&DeviceName,
        ["cuDeviceGetUuid"] = (nint)(delegate* unmanaged<byte*, int, int>)&Uuid,
        ["cuDeviceGetUuid_v2"] = (nint)(delegate* unmanaged<byte*, int, int>)&Uuid,
        ["cuDeviceGetAttribute"] = (nint)(delegate* unmanaged<int*, int, int, int>)&Attribute,
        ["cuDeviceTotalMem_v2"] = (nint)(delegate* unmanaged<nuint*, int, int>)&Gibibyte,
        ["cuDevicePrimaryCtxRetain"] = (nint)(delegate* unmanaged<nint*, int>)&RetainContext,
        ["cuDevicePrimaryCtxRelease_v2"] = (nint)(delegate* unmanaged<int, int>)&ReleaseContext,
        ["cuDevicePrimaryCtxReset_v2"] = (nint)(delegate* unmanaged<int, int>)&ResetContext,
        ["cuCtxPushCurrent_v2"] = (nint)(delegate* unmanaged<nint, int>)&Push,
        ["cuCtxPopCurrent_v2"] = (nint)(delegate* unmanaged<nint*, int>)&Pop,
        ["cuMemAlloc_v2"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuMemFree_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuMemHostAlloc"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuMemFreeHost"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuStreamCreate"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuStreamDestroy_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuEventCreate"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuEventDestroy_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuModuleLoadData"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuModuleUnload"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuModuleGetFunction"] = (nint)(delegate* unmanaged<nint*, int>)&Zero64,
        ["cuStreamBeginCapture_v2"] = (nint)(delegate* unmanaged<nint, int, int>)&BeginCapture,
        ["cuStreamEndCapture"] = (nint)(delegate* unmanaged<nint, nint*, int>)&EndCapture,
        ["cuGraphInstantiateWithFlags"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuGraphDestroy"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuGraphExecDestroy"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cuLaunchKernel"] = (nint)(delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)&Launch,
    };

    private static nint s_next;
    private static nint s_context;
    private static int s_contextUsers;
    private static nint s_captured;

    /// <summary>Handles that were made and not freed, the context's among them.</summary>
    public static HashSet<nint> Alive { get; } = [];

    /// <summary>Contexts pushed and not popped.</summary>
    public static int Depth { get; private set; }

    /// <summary>Calls so far.</summary>
    public static int Calls { get; private set; }

    /// <summary>The call that fails, counted from 1; 0 for none.</summary>
    public static int FailAt { get; set; }

    /// <summary>What it fails with.</summary>
    public static int FailWith { get; set; }

    /// <summary>The context fails with this, at every call, until it is made anew; 0 where it works.</summary>
    public static int Sticky { get; set; }

    /// <summary>What cuDriverGetVersion says.</summary>
    public static int Version { get; set; }

    /// <summary>The compute capability of the devices, × 10.</summary>
    public static int Architecture { get; set; }

    /// <summary>How many devices there are.</summary>
    public static int Devices { get; set; }

    /// <summary>A handle was freed while no context was current, twice, or never made.</summary>
    public static List<string> Misuse { get; } = [];

    /// <summary>The parameter bytes of the last launch.</summary>
    public static byte[] LastParameters { get; private set; } = [];

    /// <summary>A table of it; what was before is forgotten.</summary>
    public static DriverApi Start(string? missing = null)
    {
        // What earlier tests left to finalizers must not be freed in this one's name.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        CudaContext.ReleaseOrphans();
        Alive.Clear();
        Misuse.Clear();
        Depth = Calls = FailAt = Sticky = 0;
        s_next = 0x1000;
        s_context = s_captured = 0;
        s_contextUsers = 0;
        FailWith = 2;
        Version = 12040;
        Architecture = 90;
        Devices = 1;
        ResetCublas();
        return Load(missing);
    }

    /// <summary>A table of it as it is.</summary>
    public static DriverApi Load(string? missing = null)
    {
        return new DriverApi(new FunctionSource(
            "the fake driver", "Install it", name => name == missing ? 0 : s_functions.GetValueOrDefault(name, (nint)(delegate* unmanaged<int>)&Succeed)));
    }

    private static int Count() => ++Calls == FailAt ? FailWith : Sticky;

    // Calls without results: on the platforms' calling conventions a callee may ignore arguments.
    [UnmanagedCallersOnly]
    private static int Succeed() => Count();

    [UnmanagedCallersOnly]
    private static int DriverVersion(int* result) => Give(result, Version);

    [UnmanagedCallersOnly]
    private static int DeviceCount(int* result) => Give(result, Devices);

    [UnmanagedCallersOnly]
    private static int Device(int* result, int ordinal) => Give(result, ordinal);

    [UnmanagedCallersOnly]
    private static int Zero64(nint* result)
    {
        *result = 7;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int Gibibyte(nuint* result, int device)
    {
        *result = 1 << 30;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int DeviceName(byte* name, int bytes, int device)
    {
        "Fake GPU\0"u8.CopyTo(new Span<byte>(name, bytes));
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int Uuid(byte* result, int device)
    {
        // The second device differs in the last byte.
        Convert.FromHexString("00112233445566778899AABBCCDDEEFF").CopyTo(new Span<byte>(result, 16));
        result[15] -= (byte)device;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int Attribute(int* result, int attribute, int device) => Give(result, attribute == 75 ? Architecture / 10 : attribute == 76 ? Architecture % 10 : 100);

    [UnmanagedCallersOnly]
    private static int ErrorName(int code, byte** name)
    {
        ReadOnlySpan<byte> text = code switch
        {
            2 => "CUDA_ERROR_OUT_OF_MEMORY\0"u8,
            700 => "CUDA_ERROR_ILLEGAL_ADDRESS\0"u8,
            901 => "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED\0"u8,
            _ => "another error\0"u8,
        };
        *name = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(text));
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int Create(nint* result)
    {
        int code = Count();
        if (code != 0)
            return code;
        *result = s_next += 16;
        Alive.Add(*result);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int RetainContext(nint* result)
    {
        int code = Count();
        if (code != 0)
            return code;
        s_contextUsers++;
        s_context = s_context == 0 ? s_next += 16 : s_context;
        Alive.Add(s_context);
        *result = s_context;
        return 0;
    }

    // All that was made in the context goes with it; those who retained it must still release it.
    [UnmanagedCallersOnly]
    private static int ResetContext(int device)
    {
        Sticky = 0;
        s_context = 0;
        Alive.Clear();
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int BeginCapture(nint stream, int mode)
    {
        int code = Count();
        if (code == 0)
            s_captured = stream;
        return code;
    }

    [UnmanagedCallersOnly]
    private static int EndCapture(nint stream, nint* graph)
    {
        *graph = 0;
        if (s_captured != stream)
            Misuse.Add($"the capture of {stream} was ended, but it is not captured");

        // What a graph cannot hold ends the capture; another failure does nothing.
        int code = Count();
        if (code is 0 or >= 900)
            s_captured = 0;
        if (code != 0)
            return code;
        *graph = s_next += 16;
        Alive.Add(*graph);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int Destroy(nint handle)
    {
        if (Depth == 0)
            Misuse.Add($"{handle} was freed while no context was current");
        if (s_captured != 0)
            Misuse.Add($"{handle} was freed while a stream was captured");
        if (!Alive.Contains(handle))
            Misuse.Add($"{handle} was freed, but is not alive");
        int code = Count();
        if (code == 0)
            Alive.Remove(handle);
        return code;
    }

    [UnmanagedCallersOnly]
    private static int ReleaseContext(int device)
    {
        int code = Count();
        if (code != 0 && Sticky == 0)
            return code;
        if (--s_contextUsers < 0)
            Misuse.Add("the context was released twice");
        if (s_contextUsers == 0)
        {
            // With its last user the context goes, and all that was made in it.
            Sticky = 0;
            Alive.Remove(s_context);
            s_context = 0;
        }

        return code;
    }

    [UnmanagedCallersOnly]
    private static int Push(nint context)
    {
        int code = Count();
        if (code == 0)
            Depth++;
        return code;
    }

    [UnmanagedCallersOnly]
    private static int Pop(nint* context)
    {
        Depth--;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int Launch(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint shared, nint stream, void** parameters, void** extra)
    {
        LastParameters = new ReadOnlySpan<byte>(extra[1], (int)*(nuint*)extra[3]).ToArray();
        return Count();
    }

    private static int Give(int* result, int value)
    {
        *result = value;
        return Count();
    }
}

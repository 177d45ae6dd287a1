using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>
/// A driver that runs nothing: it hands out numbers for handles, keeps account of what is alive and current, and can fail
/// any one call. One test at a time.
/// </summary>
internal static unsafe class FakeDriver
{
    private static readonly Dictionary<string, nint> s_functions = new()
    {
        ["cuGetErrorName"] = (nint)(delegate* unmanaged<int, byte**, int>)&ErrorName,
        ["cuDeviceGetCount"] = (nint)(delegate* unmanaged<int*, int>)&One,
        ["cuDeviceGet"] = (nint)(delegate* unmanaged<int*, int>)&Zero,
        ["cuDeviceGetName"] = (nint)(delegate* unmanaged<byte*, int, int, int>)&DeviceName,
        ["cuDeviceGetUuid"] = (nint)(delegate* unmanaged<Guid*, int, int>)&Uuid,
        ["cuDeviceGetAttribute"] = (nint)(delegate* unmanaged<int*, int, int, int>)&Attribute,
        ["cuDeviceTotalMem_v2"] = (nint)(delegate* unmanaged<nuint*, int, int>)&Gibibyte,
        ["cuDevicePrimaryCtxRetain"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cuDevicePrimaryCtxRelease_v2"] = (nint)(delegate* unmanaged<int, int>)&ReleaseContext,
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
        ["cuLaunchKernel"] = (nint)(delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)&Launch,
    };

    private static nint s_next;
    private static nint s_context;

    /// <summary>Handles that were made and not freed, the context's among them.</summary>
    public static HashSet<nint> Alive { get; } = [];

    /// <summary>Contexts pushed and not popped.</summary>
    public static int Depth { get; private set; }

    /// <summary>Calls so far.</summary>
    public static int Calls { get; private set; }

    /// <summary>The call that fails, counted from 1; 0 for none.</summary>
    public static int FailAt { get; set; }

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
        Depth = Calls = FailAt = 0;
        s_next = 0x1000;
        return new DriverApi(new FunctionSource(
            "the fake driver", "Install it", name => name == missing ? 0 : s_functions.GetValueOrDefault(name, (nint)(delegate* unmanaged<int>)&Succeed)));
    }

    private static int Count() => ++Calls == FailAt ? 2 : 0;

    // Calls without results: on the platforms' calling conventions a callee may ignore arguments.
    [UnmanagedCallersOnly]
    private static int Succeed() => Count();

    [UnmanagedCallersOnly]
    private static int One(int* result) => Give(result, 1);

    [UnmanagedCallersOnly]
    private static int Zero(int* result) => Give(result, 0);

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
    private static int Uuid(Guid* result, int device)
    {
        *result = new Guid("00112233-4455-6677-8899-aabbccddeeff");
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int Attribute(int* result, int attribute, int device) => Give(result, attribute == 75 ? 9 : attribute == 76 ? 0 : 100);

    [UnmanagedCallersOnly]
    private static int ErrorName(int code, byte** name)
    {
        *name = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference("CUDA_ERROR_OUT_OF_MEMORY\0"u8));
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
        s_context = s_context == 0 ? *result : s_context;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int Destroy(nint handle)
    {
        if (Depth == 0)
            Misuse.Add($"{handle} was freed while no context was current");
        if (!Alive.Remove(handle))
            Misuse.Add($"{handle} was freed, but is not alive");
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int ReleaseContext(int device)
    {
        // The context is the first handle that was made.
        nint context = Alive.Count == 0 ? 0 : Alive.Min();
        if (!Alive.Remove(context))
            Misuse.Add("the context was released twice");
        return Count();
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

using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>A cuBLAS that multiplies nothing, but notes what it was asked for. Its handles and failures are the driver's.</summary>
internal static unsafe partial class FakeDriver
{
    private static readonly Dictionary<string, nint> s_cublas = new()
    {
        ["cublasCreate_v2"] = (nint)(delegate* unmanaged<nint*, int>)&Create,
        ["cublasDestroy_v2"] = (nint)(delegate* unmanaged<nint, int>)&Destroy,
        ["cublasGetVersion_v2"] = (nint)(delegate* unmanaged<nint, int*, int>)&CublasVersion,
        ["cublasSetStream_v2"] = (nint)(delegate* unmanaged<nint, nint, int>)&SetStream,
        ["cublasSetWorkspace_v2"] = (nint)(delegate* unmanaged<nint, ulong, nuint, int>)&SetWorkspace,
        ["cublasSetMathMode"] = (nint)(delegate* unmanaged<int>)&Succeed,
        ["cublasGemmEx"] =
            (nint)(delegate* unmanaged<nint, int, int, int, int, int, float*, ulong, int, int, ulong, int, int, float*, ulong, int, int, int, int, int>)&GemmEx,
    };

    /// <summary>The bytes of the workspace that is set; 0 where it is cuBLAS's own.</summary>
    public static long WorkspaceBytes { get; private set; }

    /// <summary>The last product, as it was asked for.</summary>
    public static string LastGemm { get; private set; } = "";

    /// <summary>cuBLAS's table.</summary>
    public static CublasApi Cublas(string? missing = null) => new(new FunctionSource(
        "the fake cuBLAS", "Install it", name => name == missing ? 0 : s_cublas.GetValueOrDefault(name)));

    private static void ResetCublas()
    {
        WorkspaceBytes = 0;
        LastGemm = "";
    }

    [UnmanagedCallersOnly]
    private static int CublasVersion(nint handle, int* version) => Give(version, 120103);

    [UnmanagedCallersOnly]
    private static int SetStream(nint handle, nint stream)
    {
        WorkspaceBytes = 0;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int SetWorkspace(nint handle, ulong workspace, nuint bytes)
    {
        WorkspaceBytes = (long)bytes;
        return Count();
    }

    [UnmanagedCallersOnly]
    private static int GemmEx(
        nint handle, int transposeA, int transposeB, int m, int n, int k, float* alpha, ulong a, int typeA, int lda, ulong b, int typeB, int ldb,
        float* beta, ulong c, int typeC, int ldc, int compute, int algorithm)
    {
        LastGemm = $"{(transposeA == 1 ? 'T' : 'N')}{(transposeB == 1 ? 'T' : 'N')} {m} {n} {k}, {*alpha} {a:x}:{typeA}:{lda} {b:x}:{typeB}:{ldb}, "
            + $"{*beta} {c:x}:{typeC}:{ldc}, {compute} {algorithm}";
        return Count();
    }
}

using System.Runtime.InteropServices;

namespace ParVts.Cuda.Native;

/// <summary>cuBLAS's functions, filled by name (contract G1). It is optional: our own kernel multiplies where it is missing. Any thread.</summary>
public sealed unsafe class CublasApi
{
    private const string Hint =
        "Install the CUDA toolkit's libraries (libcublas-13-0, libcublas-12-x, or the nvidia-cublas wheel); without cuBLAS the engine multiplies with its own kernel";

    private readonly delegate* unmanaged<int, nint> _statusString;

    /// <summary>Takes the functions from a source.</summary>
    /// <exception cref="CudaLibraryException">A function is missing.</exception>
    public CublasApi(FunctionSource source)
    {
        _statusString = (delegate* unmanaged<int, nint>)source.Find("cublasGetStatusString");
        Create = (delegate* unmanaged<nint*, int>)source.Require("cublasCreate_v2", "4.0");
        Destroy = (delegate* unmanaged<nint, int>)source.Require("cublasDestroy_v2", "4.0");
        GetVersion = (delegate* unmanaged<nint, int*, int>)source.Require("cublasGetVersion_v2", "4.0");
        SetStream = (delegate* unmanaged<nint, nint, int>)source.Require("cublasSetStream_v2", "4.0");
        SetWorkspace = (delegate* unmanaged<nint, void*, nuint, int>)source.Require("cublasSetWorkspace_v2", "11.2");
        SetMathMode = (delegate* unmanaged<nint, int, int>)source.Require("cublasSetMathMode", "9.0");
        GemmEx = (delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, int, int, ulong, int, int, void*, ulong, int, int, int, int, int>)source.Require(
            "cublasGemmEx", "8.0");
    }

    internal delegate* unmanaged<nint*, int> Create { get; }

    internal delegate* unmanaged<nint, int> Destroy { get; }

    internal delegate* unmanaged<nint, int*, int> GetVersion { get; }

    internal delegate* unmanaged<nint, nint, int> SetStream { get; }

    internal delegate* unmanaged<nint, void*, nuint, int> SetWorkspace { get; }

    internal delegate* unmanaged<nint, int, int> SetMathMode { get; }

    internal delegate* unmanaged<nint, int, int, int, int, int, void*, ulong, int, int, ulong, int, int, void*, ulong, int, int, int, int, int> GemmEx { get; }

    /// <summary>The system's cuBLAS: versions 13 to 11, on Linux and Windows.</summary>
    /// <exception cref="CudaLibraryException">There is none, or it is too old.</exception>
    public static CublasApi Load() => new(FunctionSource.Load("cuBLAS", Hint, [.. FileNames]));

    /// <summary>The names that the library goes by here, the newest version first.</summary>
    public static IReadOnlyList<string> FileNames { get; } = OperatingSystem.IsWindows()
        ? ["cublas64_13.dll", "cublas64_12.dll", "cublas64_11.dll"]
        : ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"];

    /// <summary>Turns a status other than success into an error.</summary>
    internal void Check(int status, string call)
    {
        if (status != 0)
            throw new CudaException(call, status, Name(status), HintFor(status));
    }

    private string Name(int status)
    {
        nint text = _statusString == null ? 0 : _statusString(status);
        return Marshal.PtrToStringUTF8(text) ?? status switch
        {
            1 => "CUBLAS_STATUS_NOT_INITIALIZED",
            3 => "CUBLAS_STATUS_ALLOC_FAILED",
            7 => "CUBLAS_STATUS_INVALID_VALUE",
            8 => "CUBLAS_STATUS_ARCH_MISMATCH",
            11 => "CUBLAS_STATUS_MAPPING_ERROR",
            13 => "CUBLAS_STATUS_EXECUTION_FAILED",
            14 => "CUBLAS_STATUS_INTERNAL_ERROR",
            15 => "CUBLAS_STATUS_NOT_SUPPORTED",
            _ => "an unknown error",
        };
    }

    private static string HintFor(int status) => status switch
    {
        1 or 3 => "The GPU's memory may be full: free some, or run without cuBLAS",
        8 or 15 => "This version of cuBLAS does not serve this GPU: install a newer one, or run without it",
        13 => "A kernel failed: the error of the call before says more",
        _ => "Try again; where it fails in the same way, run without cuBLAS",
    };
}

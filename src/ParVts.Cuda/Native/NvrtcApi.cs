using System.Runtime.InteropServices;

namespace ParVts.Cuda.Native;

/// <summary>
/// NVRTC's functions, filled by name (contract G1). Thread-safe as NVRTC is: calls on different programs may run at the
/// same time.
/// </summary>
public sealed unsafe class NvrtcApi
{
    /// <summary>The environment variable that may name the library's file: another version than the system's, or one that the loader does not find.</summary>
    public const string FileVariable = "PARVTS_NVRTC";

    private const string Hint =
        "Debian and Ubuntu: libnvrtc12 or libnvrtc11.2, with libnvrtc-builtins, from the non-free (multiverse) component; else the CUDA toolkit, "
        + "or the nvidia-cuda-nvrtc wheel. PARVTS_NVRTC=FILE names one that the loader does not find";

    private readonly delegate* unmanaged<int, nint> _errorString;

    /// <summary>Takes the functions from a source.</summary>
    /// <exception cref="CudaLibraryException">A function is missing.</exception>
    public NvrtcApi(FunctionSource source)
    {
        _errorString = (delegate* unmanaged<int, nint>)source.Require("nvrtcGetErrorString", "7.0");
        Version = (delegate* unmanaged<int*, int*, int>)source.Require("nvrtcVersion", "7.0");
        CreateProgram = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)source.Require("nvrtcCreateProgram", "7.0");
        DestroyProgram = (delegate* unmanaged<nint*, int>)source.Require("nvrtcDestroyProgram", "7.0");
        CompileProgram = (delegate* unmanaged<nint, int, byte**, int>)source.Require("nvrtcCompileProgram", "7.0");
        GetPtxSize = (delegate* unmanaged<nint, nuint*, int>)source.Require("nvrtcGetPTXSize", "7.0");
        GetPtx = (delegate* unmanaged<nint, byte*, int>)source.Require("nvrtcGetPTX", "7.0");
        GetCubinSize = (delegate* unmanaged<nint, nuint*, int>)source.Require("nvrtcGetCUBINSize", "11.1");
        GetCubin = (delegate* unmanaged<nint, byte*, int>)source.Require("nvrtcGetCUBIN", "11.1");
        GetProgramLogSize = (delegate* unmanaged<nint, nuint*, int>)source.Require("nvrtcGetProgramLogSize", "7.0");
        GetProgramLog = (delegate* unmanaged<nint, byte*, int>)source.Require("nvrtcGetProgramLog", "7.0");
        GetNumSupportedArchs = (delegate* unmanaged<int*, int>)source.Require("nvrtcGetNumSupportedArchs", "11.2");
        GetSupportedArchs = (delegate* unmanaged<int*, int>)source.Require("nvrtcGetSupportedArchs", "11.2");
    }

    internal delegate* unmanaged<int*, int*, int> Version { get; }

    internal delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> CreateProgram { get; }

    internal delegate* unmanaged<nint*, int> DestroyProgram { get; }

    internal delegate* unmanaged<nint, int, byte**, int> CompileProgram { get; }

    internal delegate* unmanaged<nint, nuint*, int> GetPtxSize { get; }

    internal delegate* unmanaged<nint, byte*, int> GetPtx { get; }

    internal delegate* unmanaged<nint, nuint*, int> GetCubinSize { get; }

    internal delegate* unmanaged<nint, byte*, int> GetCubin { get; }

    internal delegate* unmanaged<nint, nuint*, int> GetProgramLogSize { get; }

    internal delegate* unmanaged<nint, byte*, int> GetProgramLog { get; }

    internal delegate* unmanaged<int*, int> GetNumSupportedArchs { get; }

    internal delegate* unmanaged<int*, int> GetSupportedArchs { get; }

    /// <summary>
    /// NVRTC: the file that <see cref="FileVariable"/> names and no other, else the system's, versions 13 to 11, on Linux and Windows.
    /// </summary>
    /// <exception cref="CudaLibraryException">There is none, or it is too old.</exception>
    public static NvrtcApi Load() => new(Find());

    /// <summary>The library that <see cref="Load"/> takes.</summary>
    /// <exception cref="CudaLibraryException">There is none.</exception>
    public static FunctionSource Find()
    {
        string? file = Environment.GetEnvironmentVariable(FileVariable);
        if (!string.IsNullOrEmpty(file))
            return FunctionSource.Load("NVRTC", $"{FileVariable} names that file: correct it, or unset it. {Hint}", file);
        return FunctionSource.Load(
            "NVRTC",
            Hint,
            OperatingSystem.IsWindows()
                ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"]
                : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so.11.8", "libnvrtc.so"]);
    }

    /// <summary>Turns a result other than success into an error.</summary>
    internal void Check(int result, string call)
    {
        if (result != 0)
            throw new CudaException(call, result, Marshal.PtrToStringUTF8(_errorString(result)) ?? "an unknown error", HintFor(result));
    }

    private static string HintFor(int result) => result switch
    {
        1 => "The machine's memory is full: free some, and try again",
        5 => "This version of NVRTC is too old: install a newer one",
        7 => "libnvrtc-builtins of the same version is missing, or cannot be read: install it beside NVRTC",
        _ => $"Try again; where it fails in the same way, another version of NVRTC can be chosen ({FileVariable}=FILE)",
    };
}

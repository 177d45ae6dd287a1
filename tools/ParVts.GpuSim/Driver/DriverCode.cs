using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Driver;

/// <summary>The driver's results that the simulator gives; the numbers are those of CUresult.</summary>
internal static class DriverCode
{
    public const int Success = 0;
    public const int InvalidValue = 1;
    public const int OutOfMemory = 2;
    public const int Deinitialized = 4;
    public const int InvalidDevice = 101;
    public const int InvalidContext = 201;
    public const int NoBinaryForGpu = 209;
    public const int InvalidPtx = 218;
    public const int InvalidHandle = 400;
    public const int IllegalState = 401;
    public const int NotFound = 500;
    public const int NotReady = 600;
    public const int IllegalAddress = 700;
    public const int LaunchTimeout = 702;
    public const int MisalignedAddress = 716;
    public const int LaunchFailed = 719;
    public const int CaptureUnsupported = 900;
    public const int CaptureInvalidated = 901;
    public const int CaptureMerge = 902;
    public const int CaptureUnmatched = 903;
    public const int CaptureIsolation = 905;
    public const int CaptureImplicit = 906;
    public const int CapturedEvent = 907;
    public const int CaptureWrongThread = 908;
    public const int Unknown = 999;

    // Strings that live as long as the process, as the driver's own do.
    private static readonly Dictionary<int, nint> s_names = new()
    {
        [Success] = Text("CUDA_SUCCESS"),
        [InvalidValue] = Text("CUDA_ERROR_INVALID_VALUE"),
        [OutOfMemory] = Text("CUDA_ERROR_OUT_OF_MEMORY"),
        [3] = Text("CUDA_ERROR_NOT_INITIALIZED"),
        [Deinitialized] = Text("CUDA_ERROR_DEINITIALIZED"),
        [100] = Text("CUDA_ERROR_NO_DEVICE"),
        [InvalidDevice] = Text("CUDA_ERROR_INVALID_DEVICE"),
        [200] = Text("CUDA_ERROR_INVALID_IMAGE"),
        [InvalidContext] = Text("CUDA_ERROR_INVALID_CONTEXT"),
        [NoBinaryForGpu] = Text("CUDA_ERROR_NO_BINARY_FOR_GPU"),
        [214] = Text("CUDA_ERROR_ECC_UNCORRECTABLE"),
        [InvalidPtx] = Text("CUDA_ERROR_INVALID_PTX"),
        [InvalidHandle] = Text("CUDA_ERROR_INVALID_HANDLE"),
        [IllegalState] = Text("CUDA_ERROR_ILLEGAL_STATE"),
        [NotFound] = Text("CUDA_ERROR_NOT_FOUND"),
        [NotReady] = Text("CUDA_ERROR_NOT_READY"),
        [IllegalAddress] = Text("CUDA_ERROR_ILLEGAL_ADDRESS"),
        [701] = Text("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
        [LaunchTimeout] = Text("CUDA_ERROR_LAUNCH_TIMEOUT"),
        [710] = Text("CUDA_ERROR_ASSERT"),
        [714] = Text("CUDA_ERROR_HARDWARE_STACK_ERROR"),
        [715] = Text("CUDA_ERROR_ILLEGAL_INSTRUCTION"),
        [MisalignedAddress] = Text("CUDA_ERROR_MISALIGNED_ADDRESS"),
        [717] = Text("CUDA_ERROR_INVALID_ADDRESS_SPACE"),
        [718] = Text("CUDA_ERROR_INVALID_PC"),
        [LaunchFailed] = Text("CUDA_ERROR_LAUNCH_FAILED"),
        [CaptureUnsupported] = Text("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"),
        [CaptureInvalidated] = Text("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"),
        [CaptureMerge] = Text("CUDA_ERROR_STREAM_CAPTURE_MERGE"),
        [CaptureUnmatched] = Text("CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"),
        [CaptureIsolation] = Text("CUDA_ERROR_STREAM_CAPTURE_ISOLATION"),
        [CaptureImplicit] = Text("CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"),
        [CapturedEvent] = Text("CUDA_ERROR_CAPTURED_EVENT"),
        [CaptureWrongThread] = Text("CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"),
        [Unknown] = Text("CUDA_ERROR_UNKNOWN"),
    };

    /// <summary>The name of a result as a C string, or 0.</summary>
    public static nint NameOf(int code) => s_names.GetValueOrDefault(code);

    /// <summary>Whether a result means that the context is lost.</summary>
    public static bool IsLost(int code) => code is 214 or IllegalAddress or LaunchTimeout or 710 or (>= 714 and <= LaunchFailed);

    /// <summary>What the driver says about a fault. What no GPU would notice is a failed launch.</summary>
    public static int Of(FaultKind kind) => kind switch
    {
        FaultKind.OutOfBounds or FaultKind.UseAfterFree or FaultKind.ReadOnlyWrite => IllegalAddress,
        FaultKind.Misaligned => MisalignedAddress,
        FaultKind.Runaway => LaunchTimeout,
        _ => LaunchFailed,
    };

    private static nint Text(string text) => Marshal.StringToCoTaskMemUTF8(text);
}

/// <summary>A call that is refused: the context goes on. A misuse by the host says what it was.</summary>
internal sealed class DriverRefusal(int code, string? misuse = null, FaultKind kind = FaultKind.HostMisuse) : Exception(misuse)
{
    public int Code => code;

    /// <summary>What the host did wrong; null for what may happen to a correct one, as full memory.</summary>
    public SimFaultException? Misuse { get; } = misuse is null ? null : new SimFaultException(kind, misuse);
}

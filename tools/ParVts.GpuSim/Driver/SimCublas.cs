using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.GpuSim.Driver;

/// <summary>
/// cuBLAS on a <see cref="SimDriver"/>, as far as the engine calls it: matrix products in the stream's order, which graphs record.
/// Operands are read and results written through the simulated memory, so that bounds and reads of what nobody wrote are found; sums
/// are float32. Any thread.
/// </summary>
public sealed unsafe class SimCublas
{
    private const int NotInitialized = 1;
    private const int AllocationFailed = 3;
    private const int InvalidValue = 7;
    private const int ExecutionFailed = 13;
    private const int NotSupported = 15;

    private const int Version = 120_000;

    private static readonly Dictionary<int, nint> s_names = new()
    {
        [0] = Text("CUBLAS_STATUS_SUCCESS"),
        [NotInitialized] = Text("CUBLAS_STATUS_NOT_INITIALIZED"),
        [AllocationFailed] = Text("CUBLAS_STATUS_ALLOC_FAILED"),
        [InvalidValue] = Text("CUBLAS_STATUS_INVALID_VALUE"),
        [8] = Text("CUBLAS_STATUS_ARCH_MISMATCH"),
        [11] = Text("CUBLAS_STATUS_MAPPING_ERROR"),
        [ExecutionFailed] = Text("CUBLAS_STATUS_EXECUTION_FAILED"),
        [14] = Text("CUBLAS_STATUS_INTERNAL_ERROR"),
        [NotSupported] = Text("CUBLAS_STATUS_NOT_SUPPORTED"),
        [16] = Text("CUBLAS_STATUS_LICENSE_ERROR"),
    };

    private static readonly nint s_unknown = Text("CUBLAS_STATUS_UNKNOWN");

    private readonly SimDriver _driver;
    private readonly Dictionary<string, nint> _table = [];
    private readonly List<Delegate> _delegates = [];

    internal SimCublas(SimDriver driver)
    {
        _driver = driver;
        Register<NameCall>("cublasGetStatusName", NameOf);
        Register<NameCall>("cublasGetStatusString", NameOf);
        Register<Call2>("cublasGetProperty", (kind, value) => GetProperty((int)kind, (int*)value));
        Register<Call2>("cublasGetVersion_v2", (_, version) => GetVersion((int*)version));
        Register<Call1>("cublasCreate_v2", handle => Guard("cublasCreate_v2", () => Create((nint*)handle)));
        Register<Call1>("cublasDestroy_v2", handle => Guard("cublasDestroy_v2", () => driver.DestroyCublas(handle)));
        Register<Call2>("cublasSetStream_v2", (handle, stream) => Guard("cublasSetStream_v2", () => SetStream(handle, stream)));
        Register<Call3>(
            "cublasSetWorkspace_v2", (handle, place, bytes) => Guard("cublasSetWorkspace_v2", () => SetWorkspace(handle, (ulong)place, (nuint)bytes)));
        Register<Call2>("cublasSetMathMode", (handle, _) => Guard("cublasSetMathMode", () => Succeed(handle)));
        Register<Call2>("cublasSetAtomicsMode", (handle, _) => Guard("cublasSetAtomicsMode", () => Succeed(handle)));
        Register<GemmCall>("cublasGemmEx", Multiply);
        Functions = new FunctionSource("the simulated cuBLAS", "It has only what the engine needs", name => _table.GetValueOrDefault(name));
    }

    private delegate int Call1(nint a);

    private delegate int Call2(nint a, nint b);

    private delegate int Call3(nint a, nint b, nint c);

    private delegate nint NameCall(int status);

    private delegate int GemmCall(
        nint handle, int transposeA, int transposeB, int m, int n, int k, void* alpha, ulong a, int typeA, int lda, ulong b, int typeB, int ldb,
        void* beta, ulong c, int typeC, int ldc, int compute, int algorithm);

    /// <summary>The library's functions by name.</summary>
    public FunctionSource Functions { get; }

    private static nint NameOf(int status) => s_names.GetValueOrDefault(status, s_unknown);

    private int Guard(string name, Func<int> body) => _driver.Guard(name, SimDriver.Needs.Context, body, code => code switch
    {
        DriverCode.OutOfMemory => AllocationFailed,
        DriverCode.InvalidValue => InvalidValue,
        DriverCode.InvalidContext or DriverCode.InvalidHandle or DriverCode.Deinitialized => NotInitialized,
        _ => ExecutionFailed,
    });

    private static int GetProperty(int kind, int* value)
    {
        *value = kind == 0 ? Version / 10_000 : 0;
        return 0;
    }

    private static int GetVersion(int* version)
    {
        *version = Version;
        return 0;
    }

    private int Create(nint* handle)
    {
        *handle = _driver.CreateCublas();
        return 0;
    }

    private int Succeed(nint handle)
    {
        _ = _driver.CublasOf(handle);
        return 0;
    }

    private int SetStream(nint handle, nint stream)
    {
        SimCublasHandle cublas = _driver.CublasOf(handle);
        _driver.CheckStream(stream);
        cublas.Stream = stream;
        return 0;
    }

    private int SetWorkspace(nint handle, ulong place, nuint bytes)
    {
        _ = _driver.CublasOf(handle);
        if (place % 256 != 0)
            throw new DriverRefusal(DriverCode.InvalidValue, $"a workspace at 0x{place:x}, which is no multiple of 256");
        if (bytes > 0)
            _driver.Gpu.Memory.CheckRange(place, (long)bytes, "workspace");
        return 0;
    }

    private int Multiply(
        nint handle, int transposeA, int transposeB, int m, int n, int k, void* alpha, ulong a, int typeA, int lda, ulong b, int typeB, int ldb,
        void* beta, ulong c, int typeC, int ldc, int compute, int algorithm) => Guard("cublasGemmEx", () =>
    {
        SimCublasHandle cublas = _driver.CublasOf(handle);

        // Sums of float32 with factors of float32, the scalars too: COMPUTE_32F, its pedantic form, and those that round the factors.
        if (compute is not (68 or 69 or 74 or 75 or 77) || typeA != typeB || !GemmOperand.IsKnown(typeA) || !(typeC == 0 || typeC == typeA))
            return NotSupported;
        var left = new GemmOperand(a, typeA, lda, transposeA != 0 ? k : m, transposeA != 0 ? m : k, transposeA != 0);
        var right = new GemmOperand(b, typeB, ldb, transposeB != 0 ? n : k, transposeB != 0 ? k : n, transposeB != 0);
        var result = new GemmOperand(c, typeC, ldc, m, n, false);
        if (m < 0 || n < 0 || k < 0 || !left.IsValid || !right.IsValid || !result.IsValid || transposeA is < 0 or > 2 || transposeB is < 0 or > 2)
            throw new DriverRefusal(DriverCode.InvalidValue, $"a product of {m} x {k} by {k} x {n} with strides {lda}, {ldb}, {ldc}");
        if (m == 0 || n == 0)
            return 0;
        float factor = *(float*)alpha;
        float old = *(float*)beta;
        SimMemory memory = _driver.Gpu.Memory;
        _driver.Submit(cublas.Stream, () =>
        {
            Gemm.Run(memory, left, right, result, k, factor, old);
            _driver.CountProduct();
        });
        return 0;
    });

    private void Register<T>(string name, T function)
        where T : Delegate
    {
        _delegates.Add(function);
        _table.Add(name, Marshal.GetFunctionPointerForDelegate(function));
    }

    private static nint Text(string text) => Marshal.StringToCoTaskMemUTF8(text);
}

internal sealed class SimCublasHandle : SimObject
{
    public SimCublasHandle() : base("cuBLAS handle")
    {
    }

    public nint Stream { get; set; }
}

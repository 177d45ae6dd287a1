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

    private static readonly Func<int, int> s_translate = Translate;
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
        Add("cublasCreate_v2", (handle, _, _) => Create((nint*)handle));
        Add("cublasDestroy_v2", (handle, _, _) => driver.DestroyCublas(handle));
        Add("cublasSetStream_v2", (handle, stream, _) => SetStream(handle, stream));
        Add("cublasSetWorkspace_v2", (handle, place, bytes) => SetWorkspace(handle, (ulong)place, (nuint)bytes));
        Add("cublasSetMathMode", (handle, _, _) => Succeed(handle));
        Add("cublasSetAtomicsMode", (handle, _, _) => Succeed(handle));
        Func<GemmArguments, int> multiply = Multiply;
        Register<GemmCall>("cublasGemmEx", (handle, transposeA, transposeB, m, n, k, alpha, a, typeA, lda, b, typeB, ldb, beta, c, typeC, ldc, compute, _) =>
            _driver.Guard(
                "cublasGemmEx",
                SimDriver.Needs.Context,
                new GemmArguments(
                    handle,
                    new GemmOperand(a, typeA, lda, transposeA != 0 ? k : m, transposeA != 0 ? m : k, transposeA),
                    new GemmOperand(b, typeB, ldb, transposeB != 0 ? n : k, transposeB != 0 ? k : n, transposeB),
                    new GemmOperand(c, typeC, ldc, m, n, 0),
                    k, (nint)alpha, (nint)beta, compute),
                multiply,
                s_translate));
        Functions = new FunctionSource("the simulated cuBLAS", "It has only what the engine needs", name => _table.GetValueOrDefault(name));
    }

    private delegate int Call2(nint a, nint b);

    private delegate int Call3(nint a, nint b, nint c);

    private delegate nint NameCall(int status);

    private delegate int GemmCall(
        nint handle, int transposeA, int transposeB, int m, int n, int k, void* alpha, ulong a, int typeA, int lda, ulong b, int typeB, int ldb,
        void* beta, ulong c, int typeC, int ldc, int compute, int algorithm);

    /// <summary>The library's functions by name.</summary>
    public FunctionSource Functions { get; }

    private static nint NameOf(int status) => s_names.GetValueOrDefault(status, s_unknown);

    private static int Translate(int code) => code switch
    {
        DriverCode.OutOfMemory => AllocationFailed,
        DriverCode.InvalidValue => InvalidValue,
        DriverCode.InvalidContext or DriverCode.InvalidHandle or DriverCode.Deinitialized => NotInitialized,
        _ => ExecutionFailed,
    };

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

    private readonly record struct GemmArguments(
        nint Handle, GemmOperand A, GemmOperand B, GemmOperand C, int K, nint Alpha, nint Beta, int Compute);

    private int Multiply(GemmArguments call)
    {
        SimCublasHandle cublas = _driver.CublasOf(call.Handle);
        (GemmOperand a, GemmOperand b, GemmOperand c, int k) = (call.A, call.B, call.C, call.K);

        // Sums of float32 with scalars of float32: COMPUTE_32F, its pedantic form, and those that may round the factors.
        if (call.Compute is not (68 or 69 or 74 or 75 or 77) || a.Type != b.Type || !a.IsKnown || !(c.Type == GemmOperand.Float32 || c.Type == a.Type))
            return NotSupported;
        if (!a.IsValid || !b.IsValid || !c.IsValid)
            throw new DriverRefusal(DriverCode.InvalidValue, $"a product of {c.Rows} x {k} by {k} x {c.Columns} with strides {a.Stride}, {b.Stride}, {c.Stride}");
        if (c.Rows == 0 || c.Columns == 0)
            return 0;
        float alpha = *(float*)call.Alpha;
        float beta = *(float*)call.Beta;
        SimMemory memory = _driver.Gpu.Memory;
        _driver.Submit(cublas.Stream, () =>
        {
            Gemm.Run(memory, a, b, c, k, alpha, beta);
            _driver.CountProduct();
        });
        return 0;
    }

    private void Add(string name, Call3 body) => Register<Call3>(
        name, (a, b, c) => _driver.Guard(name, SimDriver.Needs.Context, (body, a, b, c), static t => t.body(t.a, t.b, t.c), s_translate));

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

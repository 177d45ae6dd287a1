using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>Element types that cuBLAS multiplies here, by the numbers of cudaDataType.</summary>
public enum CublasType
{
    /// <summary>float32.</summary>
    Float32 = 0,

    /// <summary>IEEE half precision.</summary>
    Float16 = 2,

    /// <summary>bfloat16.</summary>
    BFloat16 = 14,
}

/// <summary>A row-major matrix in device memory.</summary>
/// <param name="Address">Its first element.</param>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Columns.</param>
/// <param name="Stride">Elements from a row to the next; at least the columns.</param>
/// <param name="Type">Its elements.</param>
public readonly record struct CublasMatrix(ulong Address, int Rows, int Columns, int Stride, CublasType Type);

/// <summary>
/// cuBLAS on one stream, with a workspace of our own, so that its work can be captured into a graph. Sums are float32 (contract D6).
/// It holds its stream. One caller at a time.
/// </summary>
public sealed unsafe class CublasHandle : CudaHandle
{
    // cublasOperation_t, cublasComputeType_t, cublasGemmAlgo_t, cublasMath_t.
    private const int AsStored = 0;
    private const int Transposed = 1;
    private const int ComputeFloat32 = 68;
    private const int DefaultAlgorithm = -1;
    private const int NoReductionIn16Bits = 16;

    private readonly CublasApi _api;
    private DeviceMemory? _workspace;

    /// <summary>Opens cuBLAS.</summary>
    /// <param name="context">The context of the stream.</param>
    /// <param name="api">cuBLAS's functions.</param>
    /// <param name="stream">Where all its work is queued.</param>
    /// <param name="workspaceBytes">Bytes of device memory for it; <see cref="WorkspaceBytes"/> is what it is quick with.</param>
    /// <exception cref="CudaException">cuBLAS does not serve this GPU, or there is no memory.</exception>
    public CublasHandle(CudaContext context, CublasApi api, CudaStream stream, long workspaceBytes)
        : base(context, stream)
    {
        _api = api;
        Make(() =>
        {
            _workspace = new DeviceMemory(context, workspaceBytes);
            nint made;
            api.Check(api.Create(&made), "cublasCreate_v2");
            return made;
        });
        try
        {
            using CudaContext.Scope scope = context.Enter();

            // To set the stream takes the workspace away again, so it comes first.
            api.Check(api.SetStream(Raw, stream.Raw), "cublasSetStream_v2");
            api.Check(api.SetWorkspace(Raw, (void*)_workspace!.Address, (nuint)workspaceBytes), "cublasSetWorkspace_v2");
            api.Check(api.SetMathMode(Raw, NoReductionIn16Bits), "cublasSetMathMode");
            int version;
            api.Check(api.GetVersion(Raw, &version), "cublasGetVersion_v2");
            Version = version;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>cuBLAS's version, as it counts itself: 120103 is 12.1.3.</summary>
    public int Version { get; }

    /// <summary>The workspace that NVIDIA recommends: 32 MiB from Hopper on, else 4 MiB.</summary>
    public static long WorkspaceBytes(CudaDeviceInfo device) => (device.Architecture >= 90 ? 32L : 4L) << 20;

    /// <summary>
    /// Queues <c>result [R, N] = alpha · x [R, K] · w [N, K]ᵀ + beta · result</c>, all row-major; w lies as PyTorch's Linear keeps it.
    /// x and w are of one type; the result is of that type or float32. With <paramref name="beta"/> 0 what the result held is not read.
    /// </summary>
    /// <exception cref="ArgumentException">Sizes, strides, types or alignments do not fit together; the message says which.</exception>
    /// <exception cref="CudaException">cuBLAS refuses.</exception>
    public void Gemm(in CublasMatrix x, in CublasMatrix w, in CublasMatrix result, float alpha = 1f, float beta = 0f)
    {
        Check(x, nameof(x));
        Check(w, nameof(w));
        Check(result, nameof(result));
        if (x.Columns != w.Columns || result.Rows != x.Rows || result.Columns != w.Rows)
            throw new ArgumentException($"[{x.Rows}, {x.Columns}] times the transpose of [{w.Rows}, {w.Columns}] does not give [{result.Rows}, {result.Columns}]", nameof(result));
        if (x.Type != w.Type || (result.Type != x.Type && result.Type != CublasType.Float32))
            throw new ArgumentException($"{x.Type} times {w.Type} does not give {result.Type}", nameof(result));
        using CudaContext.Scope scope = Context.Enter();

        // cuBLAS counts by columns: it is told to compute the transposes, resultᵀ [N, R] = w · xᵀ, with rows and columns exchanged.
        int status = _api.GemmEx(
            Raw, Transposed, AsStored, w.Rows, x.Rows, x.Columns, &alpha, w.Address, (int)w.Type, w.Stride, x.Address, (int)x.Type, x.Stride,
            &beta, result.Address, (int)result.Type, result.Stride, ComputeFloat32, DefaultAlgorithm);
        if (status != 0)
            _api.Check(status, $"cublasGemmEx of {x} and {w} into {result}");
    }

    private static void Check(in CublasMatrix matrix, string name)
    {
        int size = matrix.Type == CublasType.Float32 ? sizeof(float) : sizeof(ushort);
        if (matrix.Rows < 1 || matrix.Columns < 1 || matrix.Stride < matrix.Columns)
            throw new ArgumentException($"{matrix}: rows and columns are at least 1, and the stride at least the columns", name);
        if (matrix.Address == 0 || matrix.Address % (uint)size != 0)
            throw new ArgumentException($"{matrix}: the address is null or not aligned to the elements", name);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
            _workspace?.Dispose();
    }

    private protected override int Free(nint native) => _api.Destroy(native);
}

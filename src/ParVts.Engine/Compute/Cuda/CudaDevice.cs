using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>How a GPU is used. Immutable; any thread.</summary>
public sealed record CudaOptions
{
    /// <summary>Where compiled kernels are kept.</summary>
    public string CacheFolder { get; init; } = KernelCache.DefaultFolder;

    /// <summary>Keep source lines in the kernels, for profilers.</summary>
    public bool LineInfo { get; init; }

    /// <summary>Compile to PTX alone: for a driver that takes no machine code.</summary>
    public bool PtxOnly { get; init; }

    /// <summary>The folder that kernels' sources are written to, with line numbers that point there, for profilers; null for none.</summary>
    public string? SourceFolder { get; init; }

    /// <summary>Record decode steps as graphs; without, profilers see each launch by itself.</summary>
    public bool Graphs { get; init; } = true;

    /// <summary>cuBLAS, which multiplies where there are more than a few rows; null for our own kernels.</summary>
    public CublasApi? Cublas { get; init; }

    /// <summary>Receives warnings, each said once.</summary>
    public Action<string>? Warning { get; init; }
}

/// <summary>
/// A GPU (contract C3): kernels of our own, compiled when they are first needed, everything asynchronous on one stream.
/// Matrix inputs, keys and values are bfloat16 or float16, accumulators and the residual stream float32 (contract D6).
/// An instance is one queue: one caller at a time.
/// </summary>
public sealed unsafe partial class CudaDevice : ComputeDevice
{
    // Uploads of a prefill are lists of rows and plans: they fit many times.
    private const int StagingBytes = 4 << 20;

    private readonly SharedContext _shared;
    private readonly CudaStream _stream;
    private readonly StagingRing _staging;
    private readonly CublasHandle? _cublas;
    private readonly Dictionary<LoadedKernel, long> _launches = [];
    private PinnedMemory? _received;
    private CudaBuffer? _scratch;
    private bool _disposed;

    private CudaDevice(SharedContext shared, nint? stream = null)
    {
        _shared = shared;
        try
        {
            _stream = stream is nint own ? new CudaStream(shared.Context, own) : new CudaStream(shared.Context);
            _staging = new StagingRing(shared.Context, StagingBytes);
            if (shared.Options.Cublas is { } cublas)
                _cublas = new CublasHandle(shared.Context, cublas, _stream, CublasHandle.WorkspaceBytes(shared.Context.Device));
        }
        catch
        {
            _staging?.Dispose();
            _stream?.Dispose();
            shared.Release();
            throw;
        }
    }

    /// <summary>Opens a GPU through a driver's functions: the system's, or a simulated one's.</summary>
    /// <param name="driver">The driver.</param>
    /// <param name="compiler">Compiles the kernels.</param>
    /// <param name="info">Which GPU.</param>
    /// <param name="name">What it is called: "cuda:0".</param>
    /// <param name="options">How it is used.</param>
    /// <exception cref="CudaException">The GPU refuses.</exception>
    public static CudaDevice Open(DriverApi driver, KernelCompiler compiler, CudaDeviceInfo info, string name, CudaOptions options)
    {
        var context = new CudaContext(driver, info);
        var library = new KernelLibrary(context, new KernelCache(compiler, options.CacheFolder, options.Warning), options);
        return new CudaDevice(new SharedContext(context, library, name, options));
    }

    /// <summary>
    /// Takes a host's own context and stream (contract A3): operations are queued there, behind and before the host's own work, on
    /// device memory of the host's. Context and stream must outlive it. The host's current context stays what it was.
    /// </summary>
    /// <param name="driver">The driver that both are of.</param>
    /// <param name="compiler">Compiles the kernels.</param>
    /// <param name="context">The CUcontext.</param>
    /// <param name="stream">The CUstream; 0 is the default stream.</param>
    /// <param name="options">How it is used.</param>
    /// <exception cref="CudaErrorException">The GPU refuses, or the kernels do not run on it.</exception>
    public static CudaDevice Attach(DriverApi driver, KernelCompiler compiler, nint context, nint stream, CudaOptions options)
    {
        var own = new CudaContext(driver, context);
        var library = new KernelLibrary(own, new KernelCache(compiler, options.CacheFolder, options.Warning), options);
        return new CudaDevice(new SharedContext(own, library, $"cuda:{own.Device.Ordinal}", options), stream);
    }

    /// <inheritdoc/>
    public override string Name => _shared.Name;

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            CudaDeviceInfo info = _shared.Context.Device;
            return $"{info.Name}, sm_{info.Architecture}, {info.Multiprocessors} multiprocessors";
        }
    }

    /// <summary>Where everything is queued, for measurements.</summary>
    internal CudaStream Stream => _stream;

    /// <summary>Its context, for measurements.</summary>
    internal CudaContext Context => _shared.Context;

    /// <inheritdoc/>
    public override int RowTile => KvStore.PageRows;

    /// <inheritdoc/>
    public override int RowAlignment => 16;

    /// <inheritdoc/>
    public override bool RunsAhead => true;

    /// <inheritdoc/>
    public override IReadOnlyList<KernelUse> KernelUses =>
        [.. _launches.Select(pair => new KernelUse(pair.Key.Kernel.Name, pair.Key.Specialisation, pair.Key.PtxSha256, pair.Value))];

    /// <inheritdoc/>
    public override ComputeDevice Share()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);

        // What this queue still uploads is there for the other one.
        _stream.Synchronize();
        _shared.Acquire();
        return new CudaDevice(_shared);
    }

    /// <inheritdoc/>
    public override void Profile(bool on)
    {
        _stream.Synchronize();
        _shared.Context.Profile(on);
    }

    /// <inheritdoc/>
    public override long? FreeBytes => _shared.Context.Memory.Free;

    /// <inheritdoc/>
    public override long ImportBytes(int rows, int columns) => (long)rows * ImportStride(columns) * sizeof(ushort);

    /// <inheritdoc/>
    public override DeviceBuffer Allocate(long bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        try
        {
            return new CudaBuffer(new DeviceMemory(_shared.Context, Math.Max(bytes, 1)));
        }
        catch (CudaException error) when (error.IsOutOfMemory)
        {
            throw new InsufficientMemoryException(bytes, Name, error);
        }
    }

    /// <inheritdoc/>
    public override TensorType InputType(TensorType weights) => weights == TensorType.F16 ? TensorType.F16 : TensorType.BF16;

    /// <inheritdoc/>
    public override Tensor Import(StoredTensor tensor, int rows, int columns, TensorType type, out DeviceBuffer? owned)
    {
        if (tensor.Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16))
            throw new ModelFormatException(tensor.File, tensor.Name, $"is of type {tensor.Type}; F32, BF16 or F16 was expected");
        var stored = new Tensor(tensor.Address, tensor.Type, rows, columns);
        Check((long)rows * columns * stored.ElementBytes == tensor.ByteLength, "Import: the shape does not match the tensor");
        int stride = ImportStride(columns);
        DeviceBuffer buffer = Allocate(ImportBytes(rows, columns));
        try
        {
            Tensor matrix = buffer.View(type, rows, stride) with { Columns = columns };
            int rowsAtOnce = Math.Max(1, StagingBytes / (stride * sizeof(ushort)));
            Check(stride * sizeof(ushort) <= StagingBytes, "Import: a row is too long");
            for (int row = 0; row < rows; row += rowsAtOnce)
            {
                int count = Math.Min(rowsAtOnce, rows - row);
                Span<ushort> piece = MemoryMarshal.Cast<byte, ushort>(_staging.Next(_stream, count * stride * sizeof(ushort)));
                for (int i = 0; i < count; i++)
                    Narrowing.Row(stored.Slice(row + i, 1), type, piece.Slice(i * stride, stride));
                _stream.Upload(MemoryMarshal.AsBytes(piece), (ulong)matrix.Slice(row, count).Address);
            }

            owned = buffer;
            return matrix;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override void Upload<T>(ReadOnlySpan<T> source, in Tensor destination)
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(source);
        int row = CheckCopy(destination, bytes.Length);
        ulong place = (ulong)destination.Address;
        while (bytes.Length > 0)
        {
            int count = Math.Min(Math.Min(row, bytes.Length), _staging.PieceBytes);
            Span<byte> piece = _staging.Next(_stream, count);
            bytes[..count].CopyTo(piece);
            _stream.Upload(piece, place);
            bytes = bytes[count..];
            place += (ulong)(row == int.MaxValue ? count : destination.Stride * destination.ElementBytes);
        }
    }

    /// <inheritdoc/>
    public override void Download<T>(in Tensor source, Span<T> destination)
    {
        Span<byte> bytes = MemoryMarshal.AsBytes(destination);
        int row = CheckCopy(source, bytes.Length);
        if (bytes.Length == 0)
            return;
        if (_received is null || _received.Bytes < bytes.Length)
        {
            _received?.Dispose();
            _received = null;
            _received = new PinnedMemory(_shared.Context, bytes.Length);
        }

        Span<byte> received = _received.Span[..bytes.Length];
        for (int done = 0, line = 0; done < bytes.Length; line++)
        {
            int count = Math.Min(row, bytes.Length - done);
            _stream.Download((ulong)source.Address + (ulong)((long)line * source.Stride * source.ElementBytes), received.Slice(done, count));
            done += count;
        }

        _stream.Synchronize();
        received.CopyTo(bytes);
    }

    /// <inheritdoc/>
    public override long ScratchBytes(in ScratchNeeds needs) => PlanBytes(needs) + PartialBytes(needs) + ProbeBytes(needs);

    /// <inheritdoc/>
    public override long ReservedScratchBytes =>
        (_planMemory?.Bytes ?? 0) + (_partials.Count > 0 ? _partials[^1].Bytes : 0) + (_scratch?.Bytes ?? 0);

    /// <inheritdoc/>
    public override void ReserveScratch(in ScratchNeeds needs)
    {
        Grow(ref _planMemory, PlanBytes(needs));
        Partials(PartialBytes(needs));
        Grow(ref _scratch, ProbeBytes(needs));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_disposed)
            return;
        _disposed = true;
        _scratch?.Dispose();
        _planMemory?.Dispose();
        foreach (DeviceBuffer buffer in _partials)
            buffer.Dispose();
        _received?.Dispose();
        _staging.Dispose();
        _cublas?.Dispose();
        _stream.Dispose();
        _shared.Release();
    }

    // Planned runs have reserved enough; an operation called alone gets what it needs.
    private void Grow(ref CudaBuffer? buffer, long bytes)
    {
        if (bytes == 0 || (buffer is not null && buffer.Bytes >= bytes))
            return;
        buffer?.Dispose();
        buffer = null;
        buffer = (CudaBuffer)Allocate(bytes);
    }

    internal void Launch<T>(in KernelId id, in LaunchShape shape, T arguments)
        where T : unmanaged
    {
        LoadedKernel loaded = _shared.Kernels.Get(id);
        loaded.Kernel.Launch(_stream, shape, arguments);
        CollectionsMarshal.GetValueRefOrAddDefault(_recorded ?? _launches, loaded, out _)++;
    }

    internal static Macro Element(TensorType type) => new("ELEMENT", type switch
    {
        TensorType.F32 => 0,
        TensorType.BF16 => 1,
        TensorType.F16 => 2,
        _ => throw new ArgumentException($"no kernel takes tensors of type {type}"),
    });

    // Rows of a matrix begin at multiples of 16 bytes.
    private static int ImportStride(int columns) => (columns + 7) / 8 * 8;

    private static int Blocks(long count, int each) => checked((int)((count + each - 1) / each));

    // Bytes that one copy may take: a row where rows have room behind them, else no limit.
    private static int CheckCopy(in Tensor tensor, long bytes)
    {
        Check((long)tensor.Rows * tensor.Columns * tensor.ElementBytes == bytes, "a copy needs as many bytes as the tensor has");
        return tensor.Stride == tensor.Columns || tensor.Rows == 1 ? int.MaxValue : tensor.Columns * tensor.ElementBytes;
    }

    private static void Check(bool condition, string message)
    {
        if (!condition)
            throw new ArgumentException(message);
    }

    private static void CheckSame(in Tensor x, in Tensor y, [CallerMemberName] string operation = "")
    {
        if (x.Rows != y.Rows || x.Columns != y.Columns || x.Type != TensorType.F32)
            throw new ArgumentException($"{operation}: [{x.Rows}, {x.Columns}] and [{y.Rows}, {y.Columns}] must be of one shape, the former F32");
    }

    private static void CheckIndices(in Tensor rows, [CallerMemberName] string operation = "")
    {
        if (rows.Type != TensorType.I32)
            throw new ArgumentException($"{operation}: row numbers are I32");
    }

    /// <summary>The context and its kernels, let go with the last queue that uses them.</summary>
    private sealed class SharedContext(CudaContext context, KernelLibrary kernels, string name, CudaOptions options)
    {
        private int _users = 1;

        public CudaContext Context => context;

        public KernelLibrary Kernels => kernels;

        public string Name => name;

        public CudaOptions Options => options;

        public void Acquire() => Interlocked.Increment(ref _users);

        public void Release()
        {
            if (Interlocked.Decrement(ref _users) != 0)
                return;
            kernels.Dispose();
            context.Dispose();
        }
    }
}

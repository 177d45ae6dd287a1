using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>
/// The CPU (contract C2): managed code, SIMD, a pool of threads that all queues of the device share. Weights stay in
/// their stored type and are widened in registers; arithmetic is float32. Results do not depend on the number of
/// threads.
/// </summary>
public sealed unsafe partial class CpuDevice : ComputeDevice
{
    // Below this many elements an operation is not worth waking the other threads for.
    private const long SerialElements = 16 * 1024;

    private readonly SharedPool _shared;
    private CpuBuffer? _scratch;
    private bool _disposed;

    /// <summary>A device with its own threads.</summary>
    /// <param name="threads">Threads that compute, the caller's included; 0 for one a physical core.</param>
    public CpuDevice(int threads = 0)
        : this(new SharedPool(new WorkerPool(threads > 0 ? threads : PhysicalProcessors.Count)))
    {
    }

    private CpuDevice(SharedPool shared) => _shared = shared;

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override string Description =>
        $"{RuntimeInformation.ProcessArchitecture}, {Threads} threads, {InstructionSets.VectorBits}-bit vectors";

    /// <inheritdoc/>
    public override int RowTile => Cpu.SegmentAttention.TileRows;

    /// <summary>Threads that compute, the caller's included.</summary>
    public int Threads => _shared.Pool.Threads;

    private WorkerPool Pool
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _shared.Pool;
        }
    }

    /// <inheritdoc/>
    public override ComputeDevice Share()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _shared.Acquire();
        return new CpuDevice(_shared) { Defers = Defers };
    }

    /// <summary>Decisions are read back as late as they may be, as on a device that runs ahead of the host: for tests.</summary>
    internal bool Defers { get; init; }

    /// <inheritdoc/>
    public override bool RunsAhead => Defers;

    /// <inheritdoc/>
    public override DeviceBuffer Allocate(long bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new CpuBuffer(bytes);
    }

    /// <inheritdoc/>
    public override TensorType InputType(TensorType weights) => TensorType.F32;

    /// <inheritdoc/>
    public override Tensor Import(StoredTensor tensor, int rows, int columns, TensorType type, out DeviceBuffer? owned)
    {
        owned = null;
        var view = new Tensor(tensor.Address, tensor.Type, rows, columns);
        if (tensor.Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16))
            throw new ModelFormatException(tensor.File, tensor.Name, $"is of type {tensor.Type}; F32, BF16 or F16 was expected");
        if ((long)rows * columns * view.ElementBytes != tensor.ByteLength)
            throw new ArgumentException($"'{tensor.Name}' does not have {rows}×{columns} elements", nameof(tensor));
        return view;
    }

    /// <inheritdoc/>
    public override void Upload<T>(ReadOnlySpan<T> source, in Tensor destination) =>
        MemoryMarshal.AsBytes(source).CopyTo(Bytes(destination, source.Length * (long)sizeof(T)));

    /// <inheritdoc/>
    public override void Download<T>(in Tensor source, Span<T> destination) =>
        Bytes(source, destination.Length * (long)sizeof(T)).CopyTo(MemoryMarshal.AsBytes(destination));

    /// <inheritdoc/>
    public override long ScratchBytes(in ScratchNeeds needs) => Math.Max(
        Gemm.WorkspaceBytes(needs.Rows, needs.Inner, Threads),
        Cpu.SegmentAttention.ScratchFloats(needs.HeadDim) * sizeof(float) * Threads);

    /// <inheritdoc/>
    public override long ReservedScratchBytes => _scratch?.Bytes ?? 0;

    /// <inheritdoc/>
    public override void ReserveScratch(in ScratchNeeds needs) => Reserve(ScratchBytes(needs));

    private void Reserve(long bytes)
    {
        if (_scratch is not null && _scratch.Bytes >= bytes)
            return;
        _scratch?.Dispose();
        _scratch = null;
        _scratch = new CpuBuffer(bytes);
    }

    /// <inheritdoc/>
    public override void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate = false)
    {
        Check(ids.Columns == output.Rows && table.Columns == output.Columns, "Embed: shapes do not match");
        Rows.Embed(table, ids, output, accumulate);
    }

    /// <inheritdoc/>
    public override void RmsNorm(in Tensor x, in Tensor weight, float epsilon, in Tensor output)
    {
        CheckSame(x, output);
        Check(weight.Columns == x.Columns && weight.Type == TensorType.F32, "RmsNorm: the weight does not match");
        var work = new RowWork { X = x, Output = output, Weight = weight.Floats, Epsilon = epsilon };
        RunRows(&work, x, &RmsNormRows);
    }

    /// <inheritdoc/>
    public override void LayerNorm(in Tensor x, in Tensor weight, in Tensor bias, float epsilon, in Tensor output)
    {
        CheckSame(x, output);
        Check(weight.Columns == x.Columns && weight.Type == TensorType.F32, "LayerNorm: the weight does not match");
        Check(bias.Columns == x.Columns && bias.Type == TensorType.F32, "LayerNorm: the bias does not match");
        var work = new RowWork { X = x, Output = output, Weight = weight.Floats, Bias = bias.Floats, Epsilon = epsilon };
        RunRows(&work, x, &LayerNormRows);
    }

    /// <inheritdoc/>
    public override void MatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate = false)
    {
        Check(
            x.Columns == weight.Columns && output.Columns == weight.Rows && x.Rows == output.Rows,
            "MatMul: shapes do not match");
        Check(x.Type == TensorType.F32 && output.Type == TensorType.F32, "MatMul: x and output are F32");
        Check(bias.IsEmpty || (bias.Columns == weight.Rows && bias.Type == TensorType.F32), "MatMul: the bias does not match");
        Counters.MatMulFlops += 2L * x.Rows * x.Columns * weight.Rows;
        Gemm.Run(Pool, x, weight, bias, output, accumulate, Scratch(Gemm.WorkspaceBytes(x.Rows, x.Columns, Threads)));
    }

    /// <inheritdoc/>
    public override void RotaryTable(in Tensor positions, in Tensor frequencies, in Tensor output)
    {
        Check(
            positions.Rows == output.Rows && positions.Type == TensorType.I32 && output.Columns == 2 * frequencies.Columns,
            "RotaryTable: shapes do not match");
        Cpu.RopeStore.Table(positions, frequencies, output);
    }

    /// <inheritdoc/>
    public override void RopeStore(
        in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow)
    {
        int width = layer.Heads * layer.HeadDim;
        int rows = q.IsEmpty ? k.Rows : q.Rows;
        Check(k.IsEmpty == v.IsEmpty && (!q.IsEmpty || !k.IsEmpty), "RopeStore: queries, or keys and values, or all three");
        Check(q.IsEmpty || q.Columns % layer.HeadDim == 0, "RopeStore: heads do not match");
        Check(k.IsEmpty || (k.Columns == width && v.Columns == width), "RopeStore: KV heads do not match");
        Check(k.IsEmpty || (k.Rows == rows && v.Rows == rows), "RopeStore: rows do not match");
        Check(
            table.IsEmpty || (table.Rows == rows && table.Columns == layer.HeadDim),
            "RopeStore: the rotary table does not match");
        bool step = firstRow == KvLayer.AtLength && layer.LengthAt != 0;
        int first = step ? *(int*)layer.LengthAt : firstRow;
        Check(
            k.IsEmpty || (first >= 0 && first + rows <= (step ? layer.Capacity : layer.Length)), "RopeStore: the layer does not hold these rows");
        var work = new StoreWork { Q = q, K = k, V = v, Table = table, Layer = layer, FirstRow = first };
        int chunks = Chunks(rows, q.Columns + k.Columns + v.Columns);
        work.Chunks = chunks;
        Pool.Run(chunks, &StoreRows, &work);
    }

    /// <inheritdoc/>
    public override void SegmentAttention(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp = default)
    {
        CheckSame(q, output);
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "SegmentAttention: heads are not a multiple of the KV heads");
        plan.Check(q.Rows, layer.Length, q.Columns / layer.HeadDim);
        long floats = Cpu.SegmentAttention.ScratchFloats(layer.HeadDim) * Threads;
        Cpu.SegmentAttention.Run(
            Pool, q, layer, plan, scale, output, logSumExp, (float*)Scratch(floats * sizeof(float)),
            ref Counters.AttentionFlopsReference);
    }

    /// <inheritdoc/>
    public override void DecodeAttention(in Tensor q, in KvLayer layer, float scale, in Tensor output)
    {
        CheckSame(q, output);
        Check(q.Rows == 1, "DecodeAttention takes one row");
        Check(q.Columns % (layer.HeadDim * layer.Heads) == 0, "DecodeAttention: heads are not a multiple of the KV heads");
        KvLayer held = layer.LengthAt == 0 ? layer : layer with { Length = *(int*)layer.LengthAt + 1 };
        Counters.AttentionFlopsReference += 4L * q.Columns * held.Length;
        Cpu.DecodeAttention.Run(Pool, q, held, scale, output);
    }

    /// <inheritdoc/>
    public override void Increment(in Tensor counts)
    {
        Check(counts.Type == TensorType.I32 && counts.Rows == 1, "Increment takes a row of I32");
        for (int i = 0; i < counts.Columns; i++)
            counts.Integers[i]++;
    }

    /// <inheritdoc/>
    public override void Activate(in Tensor x, Activation function, in Tensor output)
    {
        CheckSame(x, output);
        RunActivation(x, default, function, output);
    }

    /// <inheritdoc/>
    public override void GatedActivate(in Tensor gate, in Tensor up, Activation function, in Tensor output)
    {
        CheckSame(gate, up);
        CheckSame(gate, output);
        RunActivation(gate, up, function, output);
    }

    /// <inheritdoc/>
    public override void Convert(in Tensor x, in Tensor output)
    {
        CheckSame(x, output);
        for (int row = 0; row < x.Rows; row++)
            new ReadOnlySpan<float>(x.Floats + (long)row * x.Stride, x.Columns).CopyTo(new Span<float>(output.Floats + (long)row * output.Stride, x.Columns));
    }

    /// <inheritdoc/>
    public override void Patchify(in Tensor pixels, int patchSize, in Tensor output)
    {
        int height = pixels.Rows / 3;
        Check(
            height % patchSize == 0 && pixels.Columns % patchSize == 0
            && output.Rows == height / patchSize * (pixels.Columns / patchSize)
            && output.Columns == 3 * patchSize * patchSize,
            "Patchify: shapes do not match");
        Rows.Patchify(pixels, patchSize, output);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_disposed)
            return;
        _disposed = true;
        _scratch?.Dispose();
        _shared.Release();
    }

    private static void Check(bool condition, string message)
    {
        if (!condition)
            throw new ArgumentException(message);
    }

    private static void CheckSame(in Tensor x, in Tensor y, [CallerMemberName] string operation = "")
    {
        if (x.Rows != y.Rows || x.Columns != y.Columns || x.Type != TensorType.F32 || y.Type != TensorType.F32)
            throw new ArgumentException($"{operation}: [{x.Rows}, {x.Columns}] and [{y.Rows}, {y.Columns}] must be F32 of one shape");
    }

    private static Span<byte> Bytes(in Tensor tensor, long bytes)
    {
        Check(
            tensor.Stride == tensor.Columns || tensor.Rows == 1,
            "a copy needs a contiguous tensor");
        Check((long)tensor.Rows * tensor.Columns * tensor.ElementBytes == bytes, "a copy needs as many bytes as the tensor has");
        return new Span<byte>((void*)tensor.Address, checked((int)bytes));
    }

    private static void RmsNormRows(void* state, int task, int worker)
    {
        RowWork* work = (RowWork*)state;
        (int from, int to) = work->Range(task);
        Rows.RmsNorm(work->X, work->Weight, work->Epsilon, work->Output, from, to);
    }

    private static void LayerNormRows(void* state, int task, int worker)
    {
        RowWork* work = (RowWork*)state;
        (int from, int to) = work->Range(task);
        Rows.LayerNorm(work->X, work->Weight, work->Bias, work->Epsilon, work->Output, from, to);
    }

    private static void StoreRows(void* state, int task, int worker)
    {
        StoreWork* work = (StoreWork*)state;
        long rows = work->Q.IsEmpty ? work->K.Rows : work->Q.Rows;
        int from = (int)(rows * task / work->Chunks);
        int to = (int)(rows * (task + 1) / work->Chunks);
        Cpu.RopeStore.Run(work->Q, work->K, work->V, work->Table, work->Layer, work->FirstRow, from, to);
    }

    private static void ActivateRows(void* state, int task, int worker)
    {
        RowWork* work = (RowWork*)state;
        (int from, int to) = work->Range(task);
        for (int row = from; row < to; row++)
        {
            float* up = work->Up.IsEmpty ? null : work->Up.Floats + (long)row * work->Up.Stride;
            Activations.Apply(
                work->Function, work->X.Floats + (long)row * work->X.Stride, up, work->Output.Floats + (long)row * work->Output.Stride, work->X.Columns);
        }
    }

    private void RunActivation(in Tensor x, in Tensor up, Activation function, in Tensor output)
    {
        var work = new RowWork { X = x, Up = up, Output = output, Function = function };
        RunRows(&work, x, &ActivateRows);
    }

    private void RunRows(RowWork* work, in Tensor x, delegate*<void*, int, int, void> body)
    {
        work->Chunks = Chunks(x.Rows, x.Columns);
        Pool.Run(work->Chunks, body, work);
    }

    private int Chunks(int rows, int columns) =>
        (long)rows * columns < SerialElements ? 1 : Math.Min(rows, 4 * Threads);

    private void* Scratch(long bytes)
    {
        // Planned runs have reserved enough; an operation called alone gets what it needs.
        Reserve(bytes);
        return (void*)_scratch!.DangerousGetHandle();
    }

    private struct RowWork
    {
        public Tensor X;
        public Tensor Up;
        public Tensor Output;
        public float* Weight;
        public float* Bias;
        public float Epsilon;
        public Activation Function;
        public int Chunks;

        public readonly (int From, int To) Range(int task) =>
            ((int)((long)X.Rows * task / Chunks), (int)((long)X.Rows * (task + 1) / Chunks));
    }

    private struct StoreWork
    {
        public Tensor Q;
        public Tensor K;
        public Tensor V;
        public Tensor Table;
        public KvLayer Layer;
        public int FirstRow;
        public int Chunks;
    }

    /// <summary>The threads, let go with the last queue that uses them.</summary>
    private sealed class SharedPool(WorkerPool pool)
    {
        private int _users = 1;

        public WorkerPool Pool => pool;

        public void Acquire() => Interlocked.Increment(ref _users);

        public void Release()
        {
            if (Interlocked.Decrement(ref _users) == 0)
                pool.Dispose();
        }
    }
}

using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute;

/// <summary>The largest operations of a run; scratch memory is planned from them.</summary>
/// <param name="Rows">Rows of a left matrix, at most.</param>
/// <param name="Inner">The inner dimension of a product, at most.</param>
/// <param name="HeadDim">The largest head size.</param>
/// <param name="Heads">Query heads, at most.</param>
/// <param name="Keys">Keys that a row may see, at most.</param>
/// <param name="ProbedRows">Rows that one probe names, at most; 0 where nothing is probed.</param>
public readonly record struct ScratchNeeds(int Rows, int Inner, int HeadDim, int Heads, int Keys, int ProbedRows);

/// <summary>What a probe averages.</summary>
public enum ProbeReduction
{
    /// <summary>Heads: a line for every query row.</summary>
    Heads,

    /// <summary>Query rows: a line for every head.</summary>
    Rows,

    /// <summary>Both: one line.</summary>
    RowsAndHeads,
}

/// <summary>A kernel that a queue has launched.</summary>
/// <param name="Kernel">Its name.</param>
/// <param name="Specialisation">The macros that its file was compiled with: "HEAD_DIM=64 …"; empty where it has none.</param>
/// <param name="PtxSha256">The hash of the PTX that ran, in hexadecimal.</param>
/// <param name="Launches">How often.</param>
public sealed record KernelUse(string Kernel, string Specialisation, string PtxSha256, long Launches);

/// <summary>Operations that a device has recorded; disposed before the device. One caller at a time.</summary>
public abstract class DeviceRecording : IDisposable
{
    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>
/// The seam between models and hardware (contract C1). Models are written once against it; an embedding runtime may
/// call one operation alone, on its own memory.
/// <para>
/// An instance is one queue of work with scratch memory of its own: one caller at a time. <see cref="Share"/> gives
/// another queue on the same hardware. Operations read and write <see cref="Tensor"/> views; a wrong shape or type is an
/// <see cref="ArgumentException"/>. Once scratch memory is reserved, operations allocate nothing.
/// </para>
/// </summary>
public abstract class ComputeDevice : IDisposable
{
    /// <summary>"cpu", "cuda:0", …</summary>
    public abstract string Name { get; }

    /// <summary>The processor and the instruction set in use, for people.</summary>
    public abstract string Description { get; }

    /// <summary>Rows that attention works on at a time: a prefill whose row count is a multiple of it wastes nothing.</summary>
    public abstract int RowTile { get; }

    /// <summary>Bytes at whose multiples the rows of an activation begin, where it has several.</summary>
    public virtual int RowAlignment => 1;

    /// <summary>What this queue's operations did.</summary>
    public OperationCounters Counters { get; } = new();

    /// <summary>How often this queue launched each of its kernels so far; empty where a device has none.</summary>
    public virtual IReadOnlyList<KernelUse> KernelUses => [];

    /// <summary>
    /// Waits for what is queued, and tells the device's profilers that from now on they are to measure, or no longer; nothing on the CPU.
    /// </summary>
    public virtual void Profile(bool on)
    {
    }

    /// <summary>Another queue on the same hardware. Both must be disposed; the hardware is let go with the last.</summary>
    public abstract ComputeDevice Share();

    /// <summary>Bytes of the device's own memory that are free now; null where it works in the process's memory.</summary>
    public virtual long? FreeBytes => null;

    /// <summary>Bytes of device memory that <see cref="Import"/> takes for a matrix; 0 where it makes a view of the mapped file.</summary>
    public virtual long ImportBytes(int rows, int columns) => 0;

    /// <summary>Allocates device memory, aligned to 64 bytes; its content is undefined.</summary>
    /// <exception cref="InsufficientMemoryException">The memory is not there.</exception>
    public abstract DeviceBuffer Allocate(long bytes);

    /// <summary>
    /// The type of what matrices are multiplied with, and of keys and values, where the weights are of type
    /// <paramref name="weights"/> (contract D6): float32 on the CPU; on a GPU the weights' own 16-bit type, bfloat16 for float32.
    /// </summary>
    public abstract TensorType InputType(TensorType weights);

    /// <summary>
    /// Makes a stored tensor usable as an operand: a view of the mapped file on the CPU, a copy in device memory on a GPU.
    /// </summary>
    /// <param name="tensor">A tensor of type F32, BF16 or F16.</param>
    /// <param name="rows">Rows of the view.</param>
    /// <param name="columns">Columns of the view; rows × columns is the tensor's element count.</param>
    /// <param name="type">What <see cref="InputType"/> says for the model's weights; a copy is made in this type.</param>
    /// <param name="owned">The memory of a copy, for the caller to dispose; null where the view needs none.</param>
    public abstract Tensor Import(StoredTensor tensor, int rows, int columns, TensorType type, out DeviceBuffer? owned);

    /// <summary>Copies host memory to the device. The span's bytes must be the tensor's, and the tensor contiguous.</summary>
    public abstract void Upload<T>(ReadOnlySpan<T> source, in Tensor destination)
        where T : unmanaged;

    /// <summary>Copies device memory to the host and waits for it. The span's bytes must be the tensor's, and the tensor contiguous.</summary>
    public abstract void Download<T>(in Tensor source, Span<T> destination)
        where T : unmanaged;

    /// <summary>Scratch bytes that operations of these sizes take.</summary>
    public abstract long ScratchBytes(in ScratchNeeds needs);

    /// <summary>Makes the queue's scratch memory large enough for operations of these sizes.</summary>
    public abstract void ReserveScratch(in ScratchNeeds needs);

    /// <summary>Scratch bytes that the queue holds.</summary>
    public abstract long ReservedScratchBytes { get; }

    /// <summary>output[i] (+)= table[ids[i]], widened to float32.</summary>
    /// <param name="table">[vocabulary, D] F32, BF16 or F16.</param>
    /// <param name="ids">[1, R] I32, each below the vocabulary.</param>
    /// <param name="output">[R, D] F32.</param>
    /// <param name="accumulate">Add to what is there.</param>
    public abstract void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate = false);

    /// <summary>output = x / √(mean(x²) + ε) · weight, row by row (RMSNorm, arXiv 1910.07467).</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="weight">[1, D] F32.</param>
    /// <param name="epsilon">ε.</param>
    /// <param name="output">[R, D] F32, which may be <paramref name="x"/>, or of <see cref="InputType"/>.</param>
    public abstract void RmsNorm(in Tensor x, in Tensor weight, float epsilon, in Tensor output);

    /// <summary>output = (x − mean) / √(variance + ε) · weight + bias, row by row (layer normalisation, arXiv 1607.06450).</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="weight">[1, D] F32.</param>
    /// <param name="bias">[1, D] F32.</param>
    /// <param name="epsilon">ε.</param>
    /// <param name="output">[R, D] F32, which may be <paramref name="x"/>, or of <see cref="InputType"/>.</param>
    public abstract void LayerNorm(in Tensor x, in Tensor weight, in Tensor bias, float epsilon, in Tensor output);

    /// <summary>output (+)= x · weightᵀ (+ bias).</summary>
    /// <param name="x">[R, K] of <see cref="InputType"/>.</param>
    /// <param name="weight">[N, K] from <see cref="Import"/>: F32, BF16 or F16, as checkpoints store it.</param>
    /// <param name="bias">[1, N] F32, or default.</param>
    /// <param name="output">[R, N] F32, not overlapping <paramref name="x"/>.</param>
    /// <param name="accumulate">Add to what is there: a residual connection.</param>
    public abstract void MatMul(in Tensor x, in Tensor weight, in Tensor bias, in Tensor output, bool accumulate = false);

    /// <summary>
    /// The cosines and sines of rotary positions (RoPE, arXiv 2104.09864), once for all layers of a pass:
    /// output[r] = [cos θ_i …, sin θ_i …], θ_i = position[r, 0] · frequency[i], in float32.
    /// </summary>
    /// <param name="positions">[R, 3] I32: temporal, height, width.</param>
    /// <param name="frequencies">[1, head_dim / 2] F32 (<see cref="Rotary"/>).</param>
    /// <param name="output">[R, head_dim] F32.</param>
    public abstract void RotaryTable(in Tensor positions, in Tensor frequencies, in Tensor output);

    /// <summary>Rotates q in place and writes rotated k, and v, to rows <paramref name="firstRow"/> … of the layer.</summary>
    /// <param name="q">[R, heads·head_dim] F32; default where only keys and values are stored.</param>
    /// <param name="k">[R, kv_heads·head_dim] F32; default, with <paramref name="v"/>, where only queries are rotated.</param>
    /// <param name="v">[R, kv_heads·head_dim] F32.</param>
    /// <param name="table">[R, head_dim] from <see cref="RotaryTable"/>; default where a model has no rotary positions.</param>
    /// <param name="layer">The layer's store, extended to hold the rows.</param>
    /// <param name="firstRow">Where row 0 goes; <see cref="KvLayer.AtLength"/> in a decode step.</param>
    public abstract void RopeStore(in Tensor q, in Tensor k, in Tensor v, in Tensor table, in KvLayer layer, int firstRow);

    /// <summary>
    /// softmax(scale · q·kᵀ) · v over the keys that the plan shows each row (contract S), without ever storing the
    /// probabilities (FlashAttention, arXiv 2205.14135). Rows of no segment, and rows that see nothing, become zero.
    /// </summary>
    /// <param name="q">[R, heads·head_dim] F32.</param>
    /// <param name="layer">Keys and values; heads a multiple of its KV heads.</param>
    /// <param name="plan">Who sees whom.</param>
    /// <param name="scale">Usually head_dim^−½.</param>
    /// <param name="output">[R, heads·head_dim] of <see cref="InputType"/>, not overlapping <paramref name="q"/>.</param>
    /// <param name="logSumExp">[R, heads] F32 for the log of each softmax denominator, or default.</param>
    public abstract void SegmentAttention(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor output, in Tensor logSumExp = default);

    /// <summary>Attention of one new row over every key that the layer holds, its own included.</summary>
    /// <param name="q">[1, heads·head_dim] F32.</param>
    /// <param name="layer">Keys and values; of a decode step, whose row is stored but not counted yet, or any.</param>
    /// <param name="scale">Usually head_dim^−½.</param>
    /// <param name="output">[1, heads·head_dim] of <see cref="InputType"/>.</param>
    public abstract void DecodeAttention(in Tensor q, in KvLayer layer, float scale, in Tensor output);

    /// <summary>counts[i] += 1: lengths and positions that live in device memory.</summary>
    /// <param name="counts">[1, n] I32.</param>
    public abstract void Increment(in Tensor counts);

    /// <summary>A sampler beside the logits; null where the host is beside them anyway.</summary>
    /// <param name="vocabulary">Tokens that there are.</param>
    public virtual DeviceSampler? CreateSampler(int vocabulary) => null;

    /// <summary>
    /// The host queues operations before their operands are there: reading one back is a wait that it does not need where sizes
    /// are known (contract P2).
    /// </summary>
    public virtual bool RunsAhead => false;

    /// <summary>Recording sequences of operations saves this device time.</summary>
    public virtual bool CanRecord => false;

    /// <summary>
    /// Records the operations that <paramref name="body"/> calls, so that <see cref="Replay"/> does them again with less work
    /// for the host; nothing is done now. Only where <see cref="CanRecord"/>.
    /// </summary>
    /// <param name="body">Operations whose operands stay where they are, all called before; no copies from or to the host.</param>
    public virtual DeviceRecording Record(Action body) => throw new NotSupportedException($"{Name} does not record");

    /// <summary>Does what was recorded.</summary>
    public virtual void Replay(DeviceRecording recording) =>
        throw new ArgumentException("the recording is another device's", nameof(recording));

    /// <summary>
    /// Probabilities of named query rows, recomputed from queries, keys and the log-sum-exp of their softmax (contract S4):
    /// p[i, h, j] = e^(scale · q·k − lse) where the plan shows key j to row i, else 0; averaged over what
    /// <paramref name="reduction"/> names.
    /// </summary>
    /// <param name="q">[R, heads·head_dim] F32, rotated.</param>
    /// <param name="layer">Keys.</param>
    /// <param name="plan">Who sees whom.</param>
    /// <param name="scale">As in the attention.</param>
    /// <param name="logSumExp">[R, heads] F32 from <see cref="SegmentAttention"/> with the same plan.</param>
    /// <param name="rows">[1, n] I32: query rows.</param>
    /// <param name="reduction">What is averaged.</param>
    /// <param name="output">
    /// F32, a column a key of the layer: [n, keys] (heads averaged), [heads, keys] (rows averaged) or [1, keys] (both).
    /// </param>
    public abstract void Probe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        ProbeReduction reduction, in Tensor output);

    /// <summary>
    /// <see cref="Probe"/> for a layer whose attention has not run: it makes the log-sum-exp of the named rows itself, from their
    /// queries and the keys that the plan shows them (PyramidDrop, arXiv 2410.17247).
    /// </summary>
    /// <param name="q">[R, heads·head_dim] F32, rotated.</param>
    /// <param name="layer">Keys.</param>
    /// <param name="plan">Who sees whom.</param>
    /// <param name="scale">As in the attention.</param>
    /// <param name="rows">[1, n] I32: query rows.</param>
    /// <param name="reduction">What is averaged.</param>
    /// <param name="output">As of <see cref="Probe"/>.</param>
    public abstract void PreProbe(
        in Tensor q, in KvLayer layer, AttentionPlan plan, float scale, in Tensor rows, ProbeReduction reduction, in Tensor output);

    /// <summary>
    /// Per-key sums of a row's attention O, without a matrix for each head (VisiPruner, arXiv 2510.17205):
    /// A_j = Σ_h p_hj·⟨O_h, v_hj⟩, B_j = Σ_h p_hj²·‖v_hj‖², and S = ‖O‖².
    /// </summary>
    /// <param name="q">[R, heads·head_dim] F32, rotated.</param>
    /// <param name="attended">[n, heads·head_dim] F32: O of each named row.</param>
    /// <param name="layer">Keys and values.</param>
    /// <param name="plan">Who sees whom; keys that are seen add their own values.</param>
    /// <param name="scale">As in the attention.</param>
    /// <param name="logSumExp">[R, heads] F32 from <see cref="SegmentAttention"/> with the same plan.</param>
    /// <param name="rows">[1, n] I32: query rows.</param>
    /// <param name="sums">[2·n, keys] F32: for each named row a line of A and a line of B.</param>
    /// <param name="squares">[1, n] F32: S.</param>
    public abstract void ValueProbe(
        in Tensor q, in Tensor attended, in KvLayer layer, AttentionPlan plan, float scale, in Tensor logSumExp, in Tensor rows,
        in Tensor sums, in Tensor squares);

    /// <summary>
    /// output[i, j] = x[i] · y[j], or their cosine: that over ‖x[i]‖·‖y[j]‖, 0 where one of the two is 0. In float32 throughout, since
    /// policies compare these numbers.
    /// </summary>
    /// <param name="x">[n, D] F32.</param>
    /// <param name="y">[m, D] F32, which may be <paramref name="x"/>.</param>
    /// <param name="cosine">Divide by the norms.</param>
    /// <param name="output">[n, m] F32.</param>
    public abstract void Similarity(in Tensor x, in Tensor y, bool cosine, in Tensor output);

    /// <summary>output[i, j] = mean over heads h of x[i, h·D + j].</summary>
    /// <param name="x">[R, heads·D] F32.</param>
    /// <param name="output">[R, D] F32, not overlapping <paramref name="x"/>.</param>
    public abstract void MeanHeads(in Tensor x, in Tensor output);

    /// <summary>output[i] = Σ |x[i, j]|: the L1 norm of each row.</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="output">[1, R] F32.</param>
    public abstract void AbsoluteSums(in Tensor x, in Tensor output);

    /// <summary>The keys that a layer stores, as they are there: rotated, and rounded to the store's type.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="firstRow">The first of its rows that is read.</param>
    /// <param name="output">[R, kv_heads·head_dim] F32.</param>
    public abstract void ReadKeys(in KvLayer layer, int firstRow, in Tensor output);

    /// <summary>
    /// A way to read results while work that was queued behind them still runs (contract P2); holds as many bytes. Disposed before
    /// the device.
    /// </summary>
    public abstract Readback CreateReadback(int bytes);

    /// <summary>output[i] = x[rows[i]].</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="rows">[1, n] I32, each below R, in any order.</param>
    /// <param name="output">[n, D] F32, not overlapping <paramref name="x"/>.</param>
    public abstract void GatherRows(in Tensor x, in Tensor rows, in Tensor output);

    /// <summary>output[rows[i]] = x[i]; rows that are not named stay.</summary>
    /// <param name="x">[n, D] F32.</param>
    /// <param name="rows">[1, n] I32, no row twice.</param>
    /// <param name="output">[R, D] F32, not overlapping <paramref name="x"/>.</param>
    public abstract void ScatterRows(in Tensor x, in Tensor rows, in Tensor output);

    /// <summary>output[i] = Σ weights[e] · x[sources[e]] over e = offsets[i] … offsets[i + 1] − 1.</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="offsets">[1, n + 1] I32, from 0, ascending.</param>
    /// <param name="sources">[1, entries] I32, each below R.</param>
    /// <param name="weights">[1, entries] F32.</param>
    /// <param name="output">[n, D] F32, not overlapping <paramref name="x"/>.</param>
    public abstract void MergeRows(in Tensor x, in Tensor offsets, in Tensor sources, in Tensor weights, in Tensor output);

    /// <summary>
    /// x[first[i]] = weights[i] · x[first[i]] + (1 − weights[i]) · x[second[i]]: two copies of a question become one
    /// (ParVTS, arXiv 2511.18875).
    /// </summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="first">[1, n] I32, no row twice.</param>
    /// <param name="second">[1, n] I32, none of them in <paramref name="first"/>.</param>
    /// <param name="weights">[1, n] F32.</param>
    public abstract void FusePaths(in Tensor x, in Tensor first, in Tensor second, in Tensor weights);

    /// <summary>
    /// The places of the highest scores, ascending, and of the others, ascending: ties go to the lower place, a NaN ranks below
    /// every number.
    /// </summary>
    /// <param name="scores">[1, n] F32.</param>
    /// <param name="offset">Is added to every place.</param>
    /// <param name="kept">[1, k] I32, k at most n.</param>
    /// <param name="rest">[1, n − k] I32; default where k is n, or where they are not wanted.</param>
    public abstract void SelectTop(in Tensor scores, int offset, in Tensor kept, in Tensor rest);

    /// <summary>
    /// Row numbers that depend on a choice: output[i] = template[i] where that is not negative, else rows[places[−1 − template[i]]].
    /// </summary>
    /// <param name="template">[1, R] I32.</param>
    /// <param name="places">[1, n] I32.</param>
    /// <param name="rows">[1, n] I32.</param>
    /// <param name="output">[1, R] I32.</param>
    public abstract void ResolveRows(in Tensor template, in Tensor places, in Tensor rows, in Tensor output);

    /// <summary>output[i] = Σ scores[places] / Σ scores, the same in every element.</summary>
    /// <param name="scores">[1, n] F32.</param>
    /// <param name="places">[1, k] I32, each below n.</param>
    /// <param name="output">[1, m] F32.</param>
    public abstract void ScoreShare(in Tensor scores, in Tensor places, in Tensor output);

    /// <summary>output[i] = mean over heads of σ(lse[first[i], h] − lse[second[i], h]).</summary>
    /// <param name="logSumExp">[R, heads] F32; −∞ where a row saw nothing.</param>
    /// <param name="first">[1, n] I32.</param>
    /// <param name="second">[1, n] I32.</param>
    /// <param name="output">[1, n] F32.</param>
    public abstract void PathWeights(in Tensor logSumExp, in Tensor first, in Tensor second, in Tensor output);

    /// <summary>Moves keys and values within a layer's store: row first + i becomes what row rows[i] was, for a cache that is thinned.</summary>
    /// <param name="layer">The layer's store.</param>
    /// <param name="rows">[1, n] I32, ascending, each at least first + its place, and below the layer's length.</param>
    /// <param name="first">The first row that is written.</param>
    public abstract void KeepKeys(in KvLayer layer, in Tensor rows, int first = 0);

    /// <summary>output = f(x), element by element.</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="function">f.</param>
    /// <param name="output">[R, D] F32, which may be <paramref name="x"/>, or of <see cref="InputType"/>.</param>
    public abstract void Activate(in Tensor x, Activation function, in Tensor output);

    /// <summary>output = f(gate) · up, element by element (gated MLP, arXiv 2002.05202).</summary>
    /// <param name="gate">[R, D] F32.</param>
    /// <param name="up">[R, D] F32.</param>
    /// <param name="function">f.</param>
    /// <param name="output">[R, D] F32, which may be <paramref name="gate"/>, or of <see cref="InputType"/>.</param>
    public abstract void GatedActivate(in Tensor gate, in Tensor up, Activation function, in Tensor output);

    /// <summary>output = x, rounded to the output's type.</summary>
    /// <param name="x">[R, D] F32.</param>
    /// <param name="output">[R, D] of <see cref="InputType"/>.</param>
    public abstract void Convert(in Tensor x, in Tensor output);

    /// <summary>Cuts a picture into patches, one a row, in raster order: a strided convolution becomes a matrix product.</summary>
    /// <param name="pixels">[3·H, W] F32, planar.</param>
    /// <param name="patchSize">Side of a patch; divides H and W.</param>
    /// <param name="output">[(H/p)·(W/p), 3·p·p] of <see cref="InputType"/>, channel by channel.</param>
    public abstract void Patchify(in Tensor pixels, int patchSize, in Tensor output);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees scratch memory and lets the hardware go.</summary>
    protected abstract void Dispose(bool disposing);
}

using ParVts.Cuda;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Compute.Cuda;

/// <content>Embeddings, patches, activations and conversions: value by value.</content>
public sealed unsafe partial class CudaDevice
{
    // Columns that one block works on: a vector of four a thread.
    private const int BlockColumns = 4 * RowThreads;

    // patch.cu: neighbours that one block cuts out.
    private const int BlockPatches = 8;

    // All banks of shared memory side by side.
    private const int BankBytes = 128;

    // activation.cu: f(x) = x.
    private static readonly Macro s_noFunction = new("FUNCTION", -1);

    /// <inheritdoc/>
    public override void Embed(in Tensor table, in Tensor ids, in Tensor output, bool accumulate = false)
    {
        Check(ids.Type == TensorType.I32 && ids.Columns == output.Rows, "Embed: an I32 id for every row of the output");
        Check(table.Columns == output.Columns && output.Type == TensorType.F32, "Embed: an F32 output with the table's columns");
        Launch(
            new KernelId("embed.cu", "embed", Element(table.Type)),
            ElementShape(output),
            new EmbedArguments(table.Address, table.Stride, ids.Address, output.Address, output.Stride, output.Columns, accumulate ? 1 : 0));
    }

    /// <inheritdoc/>
    public override void Activate(in Tensor x, Activation function, in Tensor output) => Activate(x, Function(function), output);

    /// <inheritdoc/>
    public override void Convert(in Tensor x, in Tensor output)
    {
        CheckSame(x, output);
        bool whole = (x.Stride == x.Columns && output.Stride == output.Columns) || x.Rows == 1;
        if (x.Type == output.Type && whole)
            _stream.Copy((ulong)x.Address, (ulong)output.Address, (long)x.Rows * x.Columns * x.ElementBytes);
        else
            Activate(x, s_noFunction, output);
    }

    /// <inheritdoc/>
    public override void GatedActivate(in Tensor gate, in Tensor up, Activation function, in Tensor output)
    {
        CheckSame(gate, up);
        CheckSame(up, output);
        Check(gate.Type == TensorType.F32, "GatedActivate: gate and up are F32");
        Launch(
            new KernelId("activation.cu", "gated_activate", Element(output.Type), Function(function)),
            ElementShape(output),
            new GatedArguments(gate.Address, gate.Stride, up.Address, up.Stride, output.Address, output.Stride, output.Columns));
    }

    /// <inheritdoc/>
    public override void Patchify(in Tensor pixels, int patchSize, in Tensor output)
    {
        int height = pixels.Rows / 3;
        Check(
            patchSize > 0 && pixels.Type == TensorType.F32 && pixels.Rows % 3 == 0 && height % patchSize == 0 && pixels.Columns % patchSize == 0,
            "Patchify: three F32 planes whose sides are multiples of the patch");
        int across = pixels.Columns / patchSize;
        int columns = 3 * patchSize * patchSize;
        int apart = columns + ((patchSize - columns) & (BankBytes / output.ElementBytes - 1));
        Check(output.Rows == height / patchSize * across && output.Columns == columns, "Patchify: a row for every patch, a column for each of its values");
        Launch(
            new KernelId("patch.cu", "patchify", Element(output.Type)),
            new LaunchShape(Blocks(across, BlockPatches), height / patchSize, 1, RowThreads, SharedBytes: BlockPatches * apart * output.ElementBytes),
            new PatchArguments(pixels.Address, pixels.Stride, height, across, patchSize, output.Address, output.Stride));
    }

    private void Activate(in Tensor x, Macro function, in Tensor output)
    {
        CheckSame(x, output);
        Launch(
            new KernelId("activation.cu", "activate", Element(output.Type), function),
            ElementShape(output),
            new ActivateArguments(x.Address, x.Stride, output.Address, output.Stride, output.Columns));
    }

    // apply.cuh numbers the functions as the enumeration does.
    private static Macro Function(Activation function) => new("FUNCTION", (int)function);

    private static LaunchShape ElementShape(in Tensor output) => new(output.Rows, Blocks(output.Columns, BlockColumns), 1, RowThreads);

    private readonly record struct EmbedArguments(nint Table, int TableStride, nint Ids, nint Output, int OutputStride, int Columns, int Accumulate);

    private readonly record struct ActivateArguments(nint X, int XStride, nint Output, int OutputStride, int Columns);

    private readonly record struct GatedArguments(nint Gate, int GateStride, nint Up, int UpStride, nint Output, int OutputStride, int Columns);

    private readonly record struct PatchArguments(nint Pixels, int PixelsStride, int Height, int Across, int Patch, nint Output, int OutputStride);
}

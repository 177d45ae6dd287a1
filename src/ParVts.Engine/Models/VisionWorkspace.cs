using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>The activations of one picture in the tower and the projector.</summary>
internal sealed class VisionWorkspace
{
    /// <summary>Lays the tensors out.</summary>
    /// <param name="arena">The memory.</param>
    /// <param name="config">The model.</param>
    /// <param name="input">The type of matrix inputs.</param>
    /// <param name="compares">Keys are compared for a policy.</param>
    public VisionWorkspace(Arena arena, ModelConfig config, TensorType input, bool compares)
    {
        VisionConfig vision = config.Vision;
        int rows = vision.Rows;
        Pixels = arena.Take(TensorType.F32, 3 * vision.ImageSize, vision.ImageSize);
        Ids = arena.Take(TensorType.I32, 1, rows);
        Patches = arena.Take(input, rows - vision.ClassRows, 3 * vision.PatchSize * vision.PatchSize);
        Hidden = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Normed = arena.Take(input, rows, vision.HiddenSize);
        LogSumExp = arena.Take(TensorType.F32, rows, vision.Heads);
        Scores = arena.Take(TensorType.F32, 1, rows);
        Offsets = arena.Take(TensorType.I32, 1, rows + 1);
        Sources = arena.Take(TensorType.I32, 1, VisionState.EntriesPerRow * rows);
        Weights = arena.Take(TensorType.F32, 1, VisionState.EntriesPerRow * rows);
        long mark = arena.Mark;
        Query = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Key = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Value = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Attended = arena.Take(input, rows, vision.HiddenSize);
        if (compares)
        {
            MeanKeys = arena.Take(TensorType.F32, rows, vision.HiddenSize / vision.Heads);
            Left = arena.Take(TensorType.F32, rows, vision.HiddenSize);
            Right = arena.Take(TensorType.F32, rows, vision.HiddenSize);
            Products = arena.Take(TensorType.F32, rows, rows);
        }

        arena.Return(mark);
        bool wide = input == TensorType.F32;
        Moved = wide ? Normed : arena.Take(TensorType.F32, rows, vision.HiddenSize);
        arena.Return(mark);
        Mlp = arena.Take(TensorType.F32, rows, vision.IntermediateSize);
        Inner = wide ? Mlp : arena.Take(input, rows, vision.IntermediateSize);
        arena.Return(mark);
        Features = wide ? Hidden : arena.Take(input, rows, vision.HiddenSize);
        Projected = arena.Take(TensorType.F32, rows, config.Text.HiddenSize);
        ProjectedInner = wide ? Projected : arena.Take(input, rows, config.Text.HiddenSize);
    }

    /// <summary>Sends a map of rows to the device.</summary>
    public void Upload(ComputeDevice device, RowMap map, out Tensor offsets, out Tensor sources, out Tensor weights)
    {
        int entries = map.Sources.Length;
        offsets = Offsets with { Columns = map.Offsets.Length, Stride = map.Offsets.Length };
        sources = Sources with { Columns = entries, Stride = entries };
        weights = Weights with { Columns = entries, Stride = entries };
        device.Upload<int>(map.Offsets, offsets);
        device.Upload<int>(map.Sources, sources);
        device.Upload<float>(map.Weights, weights);
    }

    public Tensor Pixels { get; }

    public Tensor Ids { get; }

    public Tensor Patches { get; }

    public Tensor Hidden { get; }

    public Tensor Normed { get; }

    /// <summary>Where merged rows are put together before they go back to <see cref="Hidden"/>.</summary>
    public Tensor Moved { get; }

    public Tensor LogSumExp { get; }

    /// <summary>
    /// A score for each row: the class token's attention in the last block, mean over heads; without a class token the mean
    /// attention that the row received from all rows. Measured where a policy needs it.
    /// </summary>
    public Tensor Scores { get; }

    /// <summary>[rows, head_dim]: keys, mean over heads.</summary>
    public Tensor MeanKeys { get; }

    /// <summary>Rows that are compared.</summary>
    public Tensor Left { get; }

    /// <summary>Rows that they are compared with.</summary>
    public Tensor Right { get; }

    /// <summary>What comparing them gives, packed.</summary>
    public Tensor Products { get; }

    public Tensor Offsets { get; }

    public Tensor Sources { get; }

    public Tensor Weights { get; }

    public Tensor Query { get; }

    public Tensor Key { get; }

    public Tensor Value { get; }

    public Tensor Attended { get; }

    public Tensor Mlp { get; }

    /// <summary>The MLP's inner rows, as a matrix takes them.</summary>
    public Tensor Inner { get; }

    /// <summary>The tower's result, as a matrix takes it; where that is float32, it is not used.</summary>
    public Tensor Features { get; }

    public Tensor Projected { get; }

    /// <summary>The projector's inner rows, as a matrix takes them.</summary>
    public Tensor ProjectedInner { get; }
}

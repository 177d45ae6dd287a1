using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>The activations of one picture in the tower and the projector.</summary>
internal sealed class VisionWorkspace
{
    public VisionWorkspace(Arena arena, ModelConfig config)
    {
        VisionConfig vision = config.Vision;
        int rows = vision.Rows;
        Pixels = arena.Take(TensorType.F32, 3 * vision.ImageSize, vision.ImageSize);
        Ids = arena.Take(TensorType.I32, 1, rows);
        Patches = arena.Take(TensorType.F32, rows - vision.ClassRows, 3 * vision.PatchSize * vision.PatchSize);
        Hidden = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Normed = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        LogSumExp = arena.Take(TensorType.F32, rows, vision.Heads);
        Scores = arena.Take(TensorType.F32, 1, rows);
        Offsets = arena.Take(TensorType.I32, 1, rows + 1);
        Sources = arena.Take(TensorType.I32, 1, VisionState.EntriesPerRow * rows);
        Weights = arena.Take(TensorType.F32, 1, VisionState.EntriesPerRow * rows);
        long mark = arena.Mark;
        Query = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Key = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Value = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        Attended = arena.Take(TensorType.F32, rows, vision.HiddenSize);
        arena.Return(mark);
        Mlp = arena.Take(TensorType.F32, rows, vision.IntermediateSize);
        arena.Return(mark);
        Projected = arena.Take(TensorType.F32, rows, config.Text.HiddenSize);
    }

    public Tensor Pixels { get; }

    public Tensor Ids { get; }

    public Tensor Patches { get; }

    public Tensor Hidden { get; }

    public Tensor Normed { get; }

    public Tensor LogSumExp { get; }

    public Tensor Scores { get; }

    public Tensor Offsets { get; }

    public Tensor Sources { get; }

    public Tensor Weights { get; }

    public Tensor Query { get; }

    public Tensor Key { get; }

    public Tensor Value { get; }

    public Tensor Attended { get; }

    public Tensor Mlp { get; }

    public Tensor Projected { get; }
}

using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>
/// A model together with the memory that one session runs it in: the KV store and the activations of the tower, the
/// projector and the decoder. One caller at a time.
/// </summary>
internal sealed class LlavaRun : IDisposable
{
    private readonly ComputeDevice _device;
    private readonly LlavaModel _model;
    private readonly Decoder _decoder;
    private readonly VisionTower _tower;
    private DeviceBuffer? _memory;
    private KvStore? _visionKv;
    private DecoderWorkspace? _activations;
    private VisionWorkspace? _vision;
    private int _rows;

    public LlavaRun(LlavaModel model, ComputeDevice device)
    {
        _model = model;
        _device = device;
        TextConfig text = model.Config.Text;
        _decoder = new Decoder(device, model.Decoder, text);
        _tower = new VisionTower(device, model.Vision, model.Config.Vision);
        Kv = new KvStore(device, text.Layers, text.KeyValueHeads, text.HeadDim);
    }

    /// <summary>The decoder's cache.</summary>
    public KvStore Kv { get; }

    /// <summary>[1, vocabulary]: logits after the last row that was fed.</summary>
    public Tensor Logits => _activations!.Logits;

    /// <summary>
    /// What a prefill of so many rows takes, with pictures or without, and a cache of <paramref name="kvRows"/> rows a
    /// layer: (KV bytes, workspace bytes).
    /// </summary>
    public static (long KeyValues, long Workspace) Measure(
        ModelConfig config, ComputeDevice device, int rows, int kvRows, bool pictures)
    {
        TextConfig text = config.Text;
        var arena = new Arena(0);
        LayOut(arena, config, rows, pictures);
        long workspace = arena.Bytes + device.ScratchBytes(Needs(config, rows, pictures));
        if (pictures)
            workspace += VisionKvBytes(config);
        return (KvStore.BytesFor(text.Layers, text.KeyValueHeads, text.HeadDim, kvRows), workspace);
    }

    /// <summary>Allocates what <see cref="Measure"/> measured; what is large enough already stays.</summary>
    public void Prepare(int rows, int kvRows, bool pictures)
    {
        ModelConfig config = _model.Config;
        Kv.Reserve(kvRows);
        _device.ReserveScratch(_device.ScratchBytes(Needs(config, rows, pictures)));
        if (pictures && _visionKv is null)
        {
            VisionConfig vision = config.Vision;
            _visionKv = new KvStore(_device, 1, vision.Heads, vision.HiddenSize / vision.Heads);
            _visionKv.Reserve(VisionRows(config));
        }

        if (_memory is not null && rows <= _rows && (!pictures || _vision is not null))
            return;
        rows = Math.Max(rows, _rows);
        pictures |= _vision is not null;
        var arena = new Arena(0);
        LayOut(arena, config, rows, pictures);
        _memory?.Dispose();
        _memory = null;
        _memory = _device.Allocate(arena.Bytes);
        (_activations, _vision) = LayOut(new Arena(_memory.DangerousGetHandle()), config, rows, pictures);
        _rows = rows;
    }

    /// <summary>Writes the embeddings of text ids to the prefill's rows from <paramref name="firstRow"/> on.</summary>
    public void EmbedText(ReadOnlySpan<int> ids, int firstRow) => _decoder.Embed(_activations!, ids, firstRow);

    /// <summary>Runs a picture through tower and projector, into the prefill's rows from <paramref name="firstRow"/> on.</summary>
    public void EmbedPicture(ReadOnlySpan<float> pixels, int firstRow, StageSink? sink)
    {
        ModelConfig config = _model.Config;
        VisionWorkspace vision = _vision!;
        _tower.Run(vision, _visionKv!, pixels);
        int rows = config.VisualTokensPerImage;
        Tensor features = vision.Hidden.Slice(config.KeepClassToken ? 0 : 1, rows);
        Tensor tokens = _activations!.Hidden.Slice(firstRow, rows);
        _model.Projector.Run(_device, features, vision.Projected.Slice(0, rows), tokens);
        sink?.Invoke("pixel_values", vision.Pixels);
        sink?.Invoke("vision_features", features);
        sink?.Invoke("projected", tokens);
    }

    /// <inheritdoc cref="Decoder.Prefill"/>
    public void Prefill(
        VisualTokenPolicy policy, ScheduleState state, ScheduleTrace trace, Action<int, int>? progress, StageSink? sink,
        CancellationToken cancellation) =>
        _decoder.Prefill(_activations!, Kv, policy, state, trace, progress, sink, cancellation);

    /// <inheritdoc cref="Decoder.Step"/>
    public void Step(int token, int position) => _decoder.Step(_activations!, Kv, token, position);

    public void Dispose()
    {
        Kv.Dispose();
        _visionKv?.Dispose();
        _memory?.Dispose();
    }

    private static int VisionRows(ModelConfig config) =>
        config.Vision.PatchesPerSide * config.Vision.PatchesPerSide + 1;

    private static long VisionKvBytes(ModelConfig config) => KvStore.BytesFor(
        1, config.Vision.Heads, config.Vision.HiddenSize / config.Vision.Heads, VisionRows(config));

    private static ScratchNeeds Needs(ModelConfig config, int rows, bool pictures)
    {
        TextConfig text = config.Text;
        int inner = Math.Max(Math.Max(text.HiddenSize, text.IntermediateSize), text.Heads * text.HeadDim);
        if (!pictures)
            return new ScratchNeeds(rows, inner, text.HeadDim);
        VisionConfig vision = config.Vision;
        int patch = 3 * vision.PatchSize * vision.PatchSize;
        return new ScratchNeeds(
            Math.Max(rows, VisionRows(config)),
            Math.Max(inner, Math.Max(vision.IntermediateSize, Math.Max(vision.HiddenSize, patch))),
            Math.Max(text.HeadDim, vision.HiddenSize / vision.Heads));
    }

    private static (DecoderWorkspace Decoder, VisionWorkspace? Vision) LayOut(
        Arena arena, ModelConfig config, int rows, bool pictures)
    {
        var decoder = new DecoderWorkspace(arena, config.Text, rows);
        arena.Return(decoder.Shared);
        return (decoder, pictures ? new VisionWorkspace(arena, config) : null);
    }
}

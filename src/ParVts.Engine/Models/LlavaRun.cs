using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Models;

/// <summary>What a run has to have memory for.</summary>
/// <param name="Rows">Rows of a decoder pass, at most.</param>
/// <param name="Keys">Keys that a row may see, at most.</param>
/// <param name="Pictures">Pictures are looked at.</param>
/// <param name="Schedules">Rows may move and be measured between layers: the policy is not plain dense.</param>
/// <param name="Measures">What the policy wants measured.</param>
/// <param name="Cache">The decoder's KV store.</param>
internal readonly record struct RunNeeds(int Rows, int Keys, bool Pictures, bool Schedules, PolicyNeeds Measures, KvNeeds Cache);

/// <summary>
/// A model together with the memory that one session runs it in: the KV store and the activations of the tower, the
/// projector and the decoder. One caller at a time.
/// </summary>
internal sealed class LlavaRun : IDisposable
{
    private readonly ComputeDevice _device;
    private readonly LlavaModel _model;
    private readonly ProfileRanges _ranges;
    private readonly Decoder _decoder;
    private readonly VisionTower _tower;
    private DeviceBuffer? _memory;
    private KvStore? _visionKv;
    private DecoderWorkspace? _activations;
    private VisionWorkspace? _vision;
    private RunNeeds _needs;

    public LlavaRun(LlavaModel model, ComputeDevice device, ProfileRanges ranges)
    {
        _model = model;
        _ranges = ranges;
        _device = device;
        TextConfig text = model.Config.Text;
        _decoder = new Decoder(device, model.Decoder, text, ranges);
        _tower = new VisionTower(device, model.Vision, model.Config.Vision, ranges);
        Kv = new KvStore(device, text.Layers, text.KeyValueHeads, text.HeadDim, model.InputType);
        Sampler = device.CreateSampler(text.VocabularySize);
    }

    /// <summary>The decoder's cache.</summary>
    public KvStore Kv { get; }

    /// <summary>[1, vocabulary]: logits after the last row that was fed.</summary>
    public Tensor Logits => _activations!.Logits;

    /// <summary>The class token's attention to the visual tokens of every picture that was embedded, in order.</summary>
    public void ReadClassAttention(float[] scores) =>
        _device.Download<float>(_activations!.ClassScores with { Columns = scores.Length, Stride = scores.Length }, scores);

    /// <summary>What a run takes: (KV bytes, workspace bytes).</summary>
    public static (long KeyValues, long Workspace) Measure(LlavaModel model, ComputeDevice device, in RunNeeds needs)
    {
        ModelConfig config = model.Config;
        TextConfig text = config.Text;
        var arena = new Arena(0, device.RowAlignment);
        LayOut(arena, model, needs);
        long workspace = arena.Bytes + device.ScratchBytes(Scratch(config, needs));
        if (needs.Pictures)
            workspace += VisionKvBytes(model);
        return (KvStore.BytesFor(text.Layers, text.KeyValueHeads, text.HeadDim, needs.Cache, model.InputType), workspace);
    }

    /// <summary>Bytes of what <see cref="Measure"/> measured that <see cref="Prepare"/> has yet to allocate.</summary>
    public long Missing(long keyValues, long workspace) =>
        Math.Max(0, keyValues - Kv.ReservedBytes)
        + Math.Max(0, workspace - (_memory?.Bytes ?? 0) - (_visionKv?.ReservedBytes ?? 0) - _device.ReservedScratchBytes);

    /// <summary>Allocates what <see cref="Measure"/> measured; what is large enough already stays.</summary>
    public void Prepare(in RunNeeds needs)
    {
        ModelConfig config = _model.Config;
        Kv.Reserve(needs.Cache);
        _device.ReserveScratch(Scratch(config, needs));
        if (needs.Pictures)
        {
            VisionConfig vision = config.Vision;
            _visionKv ??= new KvStore(_device, 1, vision.Heads, vision.HiddenSize / vision.Heads, _model.InputType);
            _visionKv.Reserve(KvNeeds.Uniform(1, vision.Rows));
        }

        var all = new RunNeeds(
            Math.Max(needs.Rows, _needs.Rows),
            Math.Max(needs.Keys, _needs.Keys),
            needs.Pictures || _needs.Pictures,
            needs.Schedules || _needs.Schedules,
            needs.Measures | _needs.Measures,
            Cache: default);
        if (_memory is not null && all == _needs)
            return;
        var arena = new Arena(0, _device.RowAlignment);
        LayOut(arena, _model, all);
        _memory?.Dispose();
        _memory = null;
        _needs = default;
        _memory = _device.Allocate(arena.Bytes);
        (_activations, _vision) = LayOut(new Arena(_memory.DangerousGetHandle(), _device.RowAlignment), _model, all);
        _needs = all;
    }

    /// <summary>Writes the embeddings of text ids to the prefill's rows from <paramref name="firstRow"/> on.</summary>
    public void EmbedText(ReadOnlySpan<int> ids, int firstRow) => _decoder.Embed(_activations!, ids, firstRow);

    /// <summary>Writes ready-made rows, [rows, hidden], to the prefill's rows from <paramref name="firstRow"/> on.</summary>
    public void EmbedRows(ReadOnlySpan<float> values, int firstRow, int rows, StageSink? sink)
    {
        Tensor tokens = _activations!.Hidden.Slice(firstRow, rows);
        _device.Upload(values, tokens);
        sink?.Invoke("projected", tokens);
    }

    /// <summary>
    /// Runs a picture through tower and projector, into the prefill's rows from <paramref name="firstRow"/> on; returns how
    /// many rows it became.
    /// </summary>
    public int EmbedPicture(ReadOnlySpan<float> pixels, int image, int firstRow, VisualTokenPolicy policy, VisionState state, StageSink? sink)
    {
        ModelConfig config = _model.Config;
        VisionWorkspace vision = _vision!;
        state.Image = image;
        int left = _tower.Run(vision, _visionKv!, pixels, policy, state);

        // A policy that merged after the last block has put out visual tokens alone; else the class token is still there.
        int first = state.IsFinal ? 0 : config.DroppedRows;
        int rows = left - first;
        Tensor features = vision.Hidden.Slice(first, rows);
        if (policy.Needs.HasFlag(PolicyNeeds.ClassAttention) && rows == config.VisualTokensPerImage)
            _device.Convert(Part(vision.Scores, first, rows), Part(_activations!.ClassScores, image * rows, rows));
        using ProfileRanges.Scope range = _ranges.Begin(RangeKind.Project, rows);
        Tensor tokens = _activations!.Hidden.Slice(firstRow, rows);
        Tensor inputs = features;
        if (_model.InputType != features.Type)
        {
            inputs = vision.Features.Slice(0, rows);
            _device.Convert(features, inputs);
        }

        _model.Projector.Run(_device, inputs, vision.Projected.Slice(0, rows), vision.ProjectedInner.Slice(0, rows), tokens);
        sink?.Invoke("pixel_values", vision.Pixels);
        sink?.Invoke("vision_features", features);
        sink?.Invoke("projected", tokens);
        return rows;
    }

    /// <inheritdoc cref="Decoder.Prefill"/>
    public void Prefill(
        VisualTokenPolicy policy, ScheduleState state, ScheduleTrace trace, Action<int, int>? progress, StageSink? sink,
        CancellationToken cancellation) =>
        _decoder.Prefill(_activations!, Kv, policy, state, trace, progress, sink, cancellation);

    /// <inheritdoc cref="Decoder.Step"/>
    public void Step(int token, int position, VisualTokenPolicy policy, DecodeState state) =>
        _decoder.Step(_activations!, Kv, token, position, policy, state, Sampler);

    /// <summary>Chooses tokens on the device; null where the host does it.</summary>
    public DeviceSampler? Sampler { get; }

    /// <summary>Thins a layer's cache to these rows, ascending.</summary>
    /// <exception cref="PolicyException">A row is not there, or they do not ascend.</exception>
    public void KeepKeys(int layer, ReadOnlyMemory<int> rows)
    {
        int last = -1;
        foreach (int row in rows.Span)
        {
            if (row <= last || row >= Kv.Length(layer))
                throw new PolicyException($"a policy keeps row {row} of layer {layer}'s {Kv.Length(layer)}; rows must ascend and be there");
            last = row;
        }

        // The list may be longer than a pass has rows. Rows only ever move towards the front, so it can go in pieces.
        Tensor ids = _activations!.Ids;
        for (int first = 0; first < rows.Length; first += ids.Columns)
        {
            int count = Math.Min(ids.Columns, rows.Length - first);
            Tensor piece = ids with { Columns = count, Stride = count };
            _device.Upload(rows.Span.Slice(first, count), piece);
            _device.KeepKeys(Kv.Layer(layer), piece, first);
        }

        Kv.Truncate(layer, rows.Length);
    }

    public void Dispose()
    {
        _decoder.Dispose();
        Sampler?.Dispose();
        Kv.Dispose();
        _visionKv?.Dispose();
        _memory?.Dispose();
    }

    private static Tensor Part(in Tensor row, int first, int count) =>
        row with { Address = row.Address + first * sizeof(float), Columns = count, Stride = count };

    private static long VisionKvBytes(LlavaModel model)
    {
        VisionConfig vision = model.Config.Vision;
        return KvStore.BytesFor(1, vision.Heads, vision.HiddenSize / vision.Heads, KvNeeds.Uniform(1, vision.Rows), model.InputType);
    }

    private static ScratchNeeds Scratch(ModelConfig config, in RunNeeds needs)
    {
        TextConfig text = config.Text;
        int inner = Math.Max(Math.Max(text.HiddenSize, text.IntermediateSize), text.Heads * text.HeadDim);
        int keys = Math.Max(needs.Keys, needs.Cache.Rows);
        int probed = !needs.Schedules ? 0 : needs.Measures.HasFlag(PolicyNeeds.ManyProbes) ? needs.Rows : 1;
        if (!needs.Pictures)
            return new ScratchNeeds(needs.Rows, inner, text.HeadDim, text.Heads, keys, probed);
        VisionConfig vision = config.Vision;
        int patch = 3 * vision.PatchSize * vision.PatchSize;
        return new ScratchNeeds(
            Math.Max(needs.Rows, vision.Rows),
            Math.Max(inner, Math.Max(vision.IntermediateSize, Math.Max(vision.HiddenSize, patch))),
            Math.Max(text.HeadDim, vision.HiddenSize / vision.Heads),
            Math.Max(text.Heads, vision.Heads),
            Math.Max(keys, vision.Rows),
            probed);
    }

    private static (DecoderWorkspace Decoder, VisionWorkspace? Vision) LayOut(
        Arena arena, LlavaModel model, in RunNeeds needs)
    {
        ModelConfig config = model.Config;
        var decoder = new DecoderWorkspace(
            arena, config.Text, model.InputType, needs.Rows, needs.Schedules ? needs.Keys : 0, needs.Measures);
        arena.Return(decoder.Shared);
        return (decoder, needs.Pictures ? new VisionWorkspace(arena, config, model.InputType, needs.Measures.HasFlag(PolicyNeeds.VisionKeys)) : null);
    }
}

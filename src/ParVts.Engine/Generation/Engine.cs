using System.Diagnostics;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation.Saving;
using ParVts.Engine.Imaging;
using ParVts.Engine.Models;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Text;

namespace ParVts.Engine.Generation;

/// <summary>How to open a model. Immutable; any thread.</summary>
public sealed record EngineOptions
{
    /// <summary>
    /// "auto", "cpu", "cuda:N", or a GPU's UUID or the beginning of it, "cuda:UUID" or "GPU-…"; a device asked for by name is never
    /// replaced by another.
    /// </summary>
    public string Device { get; init; } = "auto";

    /// <summary>Opens the device in place of <see cref="Device"/>: a host's own, or a simulated one. The engine disposes it.</summary>
    public Func<ComputeDevice>? OpenDevice { get; init; }

    /// <summary>How a GPU is used; <see cref="Warning"/> serves it, too.</summary>
    public CudaOptions Cuda { get; init; } = new();

    /// <summary>Threads that compute on the CPU; 0 for one a physical core.</summary>
    public int Threads { get; init; }

    /// <summary>Map weights into memory; false reads them.</summary>
    public bool Map { get; init; } = true;

    /// <summary>Bytes that a run may take, by plan: of the process on the CPU, of device memory on a GPU; null for no cap.</summary>
    public long? MemoryCap { get; init; }

    /// <summary>Receives warnings, each said once.</summary>
    public Action<string>? Warning { get; init; }

    /// <summary>Records what runs when; null for none. Profilers that listen to NVTX or to the event source are told in any case.</summary>
    public ProfileRecorder? Profile { get; init; }

    /// <summary>NVTX's domain in place of the process's own: a test's.</summary>
    internal ParVts.Cuda.NvtxDomain? Nvtx { get; init; }
}

/// <summary>
/// A model that is ready to answer: weights, tokenizer, preprocessor, templates. Immutable after opening; any thread.
/// Sessions hold the weights: an engine may be disposed while they live.
/// </summary>
public sealed class Engine : IDisposable
{
    // What a run adds to the process beside what is planned: code that is compiled on the way, pictures, the answer.
    private const long CompiledLater = 6L << 20;

    private readonly LlavaModel _model;
    private readonly ComputeDevice _device;
    private readonly Tokenizer? _tokenizer;
    private readonly PromptBuilder? _builder;
    private readonly ImagePreprocessor? _preprocessor;
    private readonly Lazy<string> _fingerprint;
    private int _disposed;
    private int _warnedNaN;
    private int _warnedClassToken;

    private Engine(string directory, EngineOptions options, Func<ComputeDevice, LlavaModel> load, bool weightsOnly)
    {
        var watch = Stopwatch.StartNew();
        Options = options;
        Ranges = new ProfileRanges(options.Profile, options.Nvtx);
        using ProfileRanges.Scope range = Ranges.Begin(RangeKind.Load, 0);
        Directory = directory;
        _device = options.OpenDevice?.Invoke() ?? Devices.Open(options);
        try
        {
            _model = load(_device);
        }
        catch
        {
            _device.Dispose();
            throw;
        }

        try
        {
            byte[] config = JsonFile.ReadBytes(ModelConfigReader.PathOf(directory));
            _fingerprint = new Lazy<string>(() => ModelFingerprint.Compute(config, _model.StoredTensors));
            GenerationDefaults = weightsOnly ? new GenerationConfig() : GenerationConfig.Read(directory);
            _preprocessor = weightsOnly ? null : Preprocessing.Create(directory, _model.Config);
            if (!weightsOnly && Tokenizer.Exists(directory))
            {
                _tokenizer = Tokenizer.Load(directory);
                _builder = PromptBuilder.Create(directory, _tokenizer, _model.Config);
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        // What the process holds besides: the runtime, the tokenizer. Weights that were read or made, not mapped, are in it twice.
        long counted = _model.WidenedBytes + (options.Map && !weightsOnly ? 0 : _model.MappedBytes);
        ProcessBytes = Math.Max(0, Environment.WorkingSet - counted) + CompiledLater;
        LoadTime = watch.Elapsed;
    }

    /// <summary>The folder that was opened.</summary>
    public string Directory { get; }

    /// <summary>The options that it was opened with.</summary>
    public EngineOptions Options { get; }

    /// <summary>config.json, with defaults filled in.</summary>
    public ModelConfig Config => _model.Config;

    /// <summary>generation_config.json.</summary>
    public GenerationConfig GenerationDefaults { get; }

    /// <summary>"cpu", "cuda:0", …</summary>
    public string DeviceName => _device.Name;

    /// <summary>The processor and instruction set.</summary>
    public string DeviceDescription => _device.Description;

    /// <summary>How long opening took.</summary>
    public TimeSpan LoadTime { get; }

    /// <summary>The tokenizer.</summary>
    /// <exception cref="ModelFormatException">The folder has none.</exception>
    public Tokenizer Tokenizer => _tokenizer ?? throw MissingTokenizer();

    /// <summary>What policies are told about this model.</summary>
    public PolicyModel PolicyModel => new(Config.Text.Layers, _device.RowTile)
    {
        HiddenSize = Config.Text.HiddenSize,
        Heads = Config.Text.Heads,
        RopeFrequencies = new Rotary(Config.Text.Rope, Config.Text.HeadDim, Config.Text.MaxPositions).Frequencies,
        PatchesAcross = Config.Vision.ImageSize / Config.Vision.PatchSize,
        HasClassToken = Config.Vision.HasClassToken,
    };

    /// <summary>Bytes of the weights: as mapped, and widened; on a GPU, as they lie in its memory.</summary>
    public long WeightBytes => _model.DeviceBytes ?? _model.MappedBytes + _model.WidenedBytes;

    /// <summary>Bytes that the process held beside the model, once it was open.</summary>
    internal long ProcessBytes { get; }

    /// <summary>What profilers are told.</summary>
    internal ProfileRanges Ranges { get; }

    internal LlavaModel Model => _model;

    /// <summary>Tells this model from others; only while a session holds the weights.</summary>
    internal string Fingerprint => _fingerprint.Value;

    internal ComputeDevice Device => _device;

    internal Tokenizer? TokenizerOrNull => _tokenizer;

    /// <summary>Opens a checkpoint folder: safetensors weights, config.json and the files beside it.</summary>
    /// <exception cref="ModelFormatException">A file is missing, malformed or not supported.</exception>
    /// <exception cref="DeviceException">The device is not there.</exception>
    public static Engine Open(string directory, EngineOptions? options = null)
    {
        options ??= new();
        return new(directory, options, device => LlavaModel.Load(directory, device, options.Map, options.MemoryCap), weightsOnly: false);
    }

    /// <summary>
    /// A model of random weights, made in memory: for measuring one whose weights are not there. It takes prompts of token ids and pictures
    /// that were prepared already.
    /// </summary>
    /// <param name="config">A config.json, or the folder that it lies in.</param>
    /// <param name="seed">The same seed makes the same weights.</param>
    /// <param name="options">How to open it.</param>
    /// <exception cref="ModelFormatException">The config is missing, malformed or not supported.</exception>
    /// <exception cref="DeviceException">The device is not there.</exception>
    /// <exception cref="InsufficientMemoryException">The weights exceed the cap, or the memory that there is.</exception>
    internal static Engine OpenRandom(string config, int seed, EngineOptions? options = null)
    {
        options ??= new();
        ModelConfig model = ModelConfigReader.ReadFile(config);
        return new(config, options, device => LlavaModel.CreateRandom(config, model, seed, device, options.MemoryCap), weightsOnly: true);
    }

    /// <summary>Prepares a decoded picture: resize, crop or pad, normalise.</summary>
    public PromptImage PrepareImage(RgbImage image, ImageAspect aspect = ImageAspect.Model)
    {
        using ProfileRanges.Scope range = Ranges.Begin(RangeKind.Image, Config.VisualTokensPerImage);
        float[] pixels = new float[3 * Config.Vision.ImageSize * Config.Vision.ImageSize];
        Preprocessor.Process(image, pixels, aspect);
        return new PromptImage(pixels);
    }

    /// <summary>
    /// A picture of ready-made embeddings: rows as the projector would put them out, or any others that are to enter the decoder in a
    /// picture's place. They skip vision tower and projector, so policies that measure or merge there refuse them; caching is by value.
    /// </summary>
    /// <param name="rows">[tokens, hidden] float32, row by row; they are copied. As many tokens as there are rows.</param>
    /// <exception cref="RequestException">There are none, not whole rows, more than the model's context, or a value is not finite.</exception>
    public PromptImage PrepareEmbeddings(ReadOnlySpan<float> rows)
    {
        int width = Config.Text.HiddenSize;
        if (rows.IsEmpty || rows.Length % width != 0)
            throw new RequestException($"{rows.Length} values are no rows of embeddings: this model's rows have {width} values each, and there must be at least one");
        if (rows.Length / width >= Config.Text.MaxPositions)
            throw new RequestException($"{rows.Length / width} rows of embeddings do not fit the model's context of {Config.Text.MaxPositions}");
        for (int i = 0; i < rows.Length; i++)
        {
            if (!float.IsFinite(rows[i]))
                throw new RequestException($"row {i / width} of the embeddings has the value {rows[i]} at {i % width}; all must be finite");
        }

        return PromptImage.OfEmbeddings(rows.ToArray());
    }

    /// <summary>A prepared picture as the model sees it: resized, cropped or padded.</summary>
    /// <exception cref="RequestException">It is given as embeddings, and has no pixels.</exception>
    public RgbImage ShowImage(PromptImage image) => image.IsEmbedded
        ? throw new RequestException("a picture that is given as embeddings has no pixels to show")
        : Preprocessor.ToImage(image.Pixels.Span);

    /// <summary>A prompt from a conversation: the model's template (or the one named) is put round it.</summary>
    /// <param name="messages">The turns; each image part stands for the next picture.</param>
    /// <param name="images">The pictures, in order.</param>
    /// <param name="template">"auto" for the checkpoint's own, or a built-in's name (<see cref="ChatTemplate.BuiltInNames"/>).</param>
    /// <exception cref="RequestException">The prompt is empty, or pictures and image parts do not match.</exception>
    public Prompt CreatePrompt(IReadOnlyList<ChatMessage> messages, IReadOnlyList<PromptImage> images, string template = "auto") =>
        Prompt.Create((_builder ?? throw MissingTokenizer()).Encode(messages, template), images, Config);

    /// <summary>A prompt from text as it stands; placeholders and special tokens in it count.</summary>
    /// <exception cref="RequestException">The prompt is empty, or pictures and placeholders do not match.</exception>
    public Prompt CreateRawPrompt(string text, IReadOnlyList<PromptImage> images)
    {
        if (text.Length == 0)
            throw new RequestException("the prompt is empty: give a text or an image");
        return Prompt.Create(Tokenizer.Encode(text), images, Config);
    }

    /// <summary>A prompt from token ids: one image id a picture, or already expanded.</summary>
    /// <exception cref="RequestException">The prompt is empty, or pictures and image ids do not match.</exception>
    public Prompt CreatePrompt(ReadOnlySpan<int> ids, IReadOnlyList<PromptImage> images) =>
        Prompt.Create(ids, images, Config);

    /// <summary>A session: a KV cache of its own, for one caller at a time.</summary>
    /// <param name="policy">The policy string.</param>
    /// <exception cref="PolicyException">The policy string is wrong.</exception>
    public Session CreateSession(string policy = "dense") => CreateSession(PolicyRegistry.Create(policy));

    /// <summary>A session with a policy of the caller's own; the policy serves this session alone.</summary>
    /// <exception cref="PolicyException">The policy does not fit the model.</exception>
    public Session CreateSession(VisualTokenPolicy policy)
    {
        Bind(policy);
        ObjectDisposedException.ThrowIf(!_model.TryAcquire(), this);
        ComputeDevice? device = null;
        try
        {
            device = _device.Share();
            return new Session(this, device, policy);
        }
        catch
        {
            device?.Dispose();
            _model.Release();
            throw;
        }
    }

    /// <summary>Lets the weights go as soon as no session uses them.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _model.Release();
        _device.Dispose();
    }

    /// <summary>Tells a policy about this model.</summary>
    internal void Bind(VisualTokenPolicy policy)
    {
        policy.Bind(PolicyModel);
        if (!policy.Needs.HasFlag(PolicyNeeds.ClassAttention))
            return;
        if (Config.VisionFeatureLayer == 0)
            throw new PolicyException($"policy '{policy.Name}' ranks by the vision tower's attention, but this model uses none of its blocks");
        if (!Config.Vision.HasClassToken && Interlocked.Exchange(ref _warnedClassToken, 1) == 0)
        {
            Options.Warning?.Invoke(
                "the vision tower has no class token: visual tokens are ranked by the mean attention that they receive in its last block");
        }
    }

    internal void WarnNaN()
    {
        if (Interlocked.Exchange(ref _warnedNaN, 1) == 0)
            Options.Warning?.Invoke("some logits are not numbers (NaN): the weights are probably damaged");
    }

    private ImagePreprocessor Preprocessor =>
        _preprocessor ?? throw new ModelFormatException(Directory, null, "was opened as a config alone, with random weights: it says nothing of how pictures are prepared");

    private ModelFormatException MissingTokenizer() => new(
        Directory, null, "has no tokenizer.json, so only prompts of token ids can be used; put the model's tokenizer.json there");
}

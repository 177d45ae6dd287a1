using ParVts.Engine.Compute;
using ParVts.Engine.Formats;
using InsufficientMemoryException = ParVts.Engine.Compute.InsufficientMemoryException;

namespace ParVts.Engine.Models;

/// <summary>
/// The weights of a LLaVA-1.5 model (arXiv 2310.03744), shared by every session. Immutable; any thread. It counts its
/// users: the files are unmapped when the last of them lets go, whoever that is.
/// </summary>
internal sealed class LlavaModel
{
    private readonly IWeightSource _weights;
    private readonly IReadOnlyList<DeviceBuffer> _owned;
    private int _users = 1;

    private LlavaModel(IWeightSource weights, WeightBinder binder, ModelConfig config, bool onDevice)
    {
        _weights = weights;
        Config = config;
        InputType = binder.InputType;
        Decoder = DecoderWeights.Bind(binder, config.Text, config.TieWordEmbeddings);
        Vision = VisionWeights.Bind(binder, config.Vision, config.VisionFeatureLayer);
        Projector = Projector.Bind(binder, config);
        binder.RequireAllUsed(config.ModelType);
        MappedBytes = binder.MappedBytes;
        WidenedBytes = binder.WidenedBytes;
        DeviceBytes = onDevice ? binder.DeviceBytes : null;
        _owned = binder.TakeOwned();
    }

    public ModelConfig Config { get; }

    /// <summary>The type of matrix inputs, keys and values on the model's device.</summary>
    public TensorType InputType { get; }

    /// <summary>The weights as they lie in their files; valid while somebody uses the model.</summary>
    public IEnumerable<StoredTensor> StoredTensors => _weights.All;

    public DecoderWeights Decoder { get; }

    public VisionWeights Vision { get; }

    public Projector Projector { get; }

    /// <summary>Bytes of matrices used as they lie in the file.</summary>
    public long MappedBytes { get; }

    /// <summary>Bytes of vectors widened to float32.</summary>
    public long WidenedBytes { get; }

    /// <summary>Bytes of device memory that all weights take; null where the device works in the process's memory.</summary>
    public long? DeviceBytes { get; }

    /// <summary>
    /// Bytes of weights that a prefill of so many rows and the decoding after it touch: all of them, but of an untied
    /// embedding table only the rows' pages.
    /// </summary>
    public long TouchedBytes(int rows)
    {
        if (DeviceBytes is long all)
            return all;
        long table = (long)Decoder.Embedding.Rows * Decoder.Embedding.Columns * Decoder.Embedding.ElementBytes;
        if (Config.TieWordEmbeddings)
            return MappedBytes + WidenedBytes;
        long row = (long)Decoder.Embedding.Columns * Decoder.Embedding.ElementBytes + Environment.SystemPageSize;
        return MappedBytes + WidenedBytes - table + Math.Min(table, rows * row);
    }

    /// <summary>Opens a checkpoint folder.</summary>
    /// <exception cref="ModelFormatException">A file or tensor is missing, malformed or not as config.json describes it.</exception>
    /// <exception cref="InsufficientMemoryException">The weights exceed the cap, or the device's free memory.</exception>
    public static LlavaModel Load(string directory, ComputeDevice device, bool map, long? cap)
    {
        ModelConfig config = ModelConfigReader.Read(directory);
        return Bind(WeightFiles.Open(directory, map), directory, config, device, cap);
    }

    /// <summary>A model of random weights.</summary>
    /// <param name="file">Where the config comes from, for messages.</param>
    /// <param name="config">The config.</param>
    /// <param name="seed">Which weights.</param>
    /// <param name="device">Where they go.</param>
    /// <param name="cap">Bytes that they may take; null for no cap.</param>
    /// <exception cref="InsufficientMemoryException">The weights exceed the cap, the machine's memory, or the device's free one.</exception>
    public static LlavaModel CreateRandom(string file, ModelConfig config, int seed, ComputeDevice device, long? cap)
    {
        TensorType type = config.WeightType ?? TensorType.BF16;
        using (var sizes = new RandomWeights(type, seed, sizesOnly: true))
        {
            using var measure = new WeightBinder(device, sizes, file, measures: true);
            _ = new LlavaModel(sizes, measure, config, device.FreeBytes is not null);
            new MemoryPlan(sizes.ByteLength, 0, 0, 0).Require(cap);
            if (sizes.ByteLength > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
                throw new InsufficientMemoryException(sizes.ByteLength, "random weights");
        }

        return Bind(new RandomWeights(type, seed), file, config, device, cap);
    }

    private static LlavaModel Bind(IWeightSource weights, string directory, ModelConfig config, ComputeDevice device, long? cap)
    {
        try
        {
            bool onDevice = device.FreeBytes is not null;
            if (onDevice)
            {
                // The same code binds twice, first to learn the size; so plan and allocation cannot differ.
                using var measure = new WeightBinder(device, weights, directory, measures: true);
                long bytes = new LlavaModel(weights, measure, config, onDevice).DeviceBytes!.Value;
                var plan = new MemoryPlan(bytes, 0, 0, 0);
                plan.Require(cap);
                plan.RequireFree(bytes, device);
            }

            using var binder = new WeightBinder(device, weights, directory);
            return new LlavaModel(weights, binder, config, onDevice);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Registers a user; false where the last one has let go already.</summary>
    public bool TryAcquire()
    {
        for (int users = Volatile.Read(ref _users); users > 0; users = Volatile.Read(ref _users))
        {
            if (Interlocked.CompareExchange(ref _users, users + 1, users) == users)
                return true;
        }

        return false;
    }

    /// <summary>Lets go; the last user frees the weights.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _users) != 0)
            return;
        foreach (DeviceBuffer buffer in _owned)
            buffer.Dispose();
        _weights.Dispose();
    }
}

using System.Diagnostics.CodeAnalysis;

namespace ParVts.Engine.Formats;

/// <summary>
/// The weights of a model folder: <c>model.safetensors</c>, or the shards that <c>model.safetensors.index.json</c> lists.
/// Any thread may read; <see cref="Dispose"/> is for one caller, when nobody uses the tensors any more.
/// </summary>
public sealed class WeightFiles : IWeightSource
{
    /// <summary>The file that small models have.</summary>
    public const string SingleName = "model.safetensors";

    /// <summary>The file that names the shards of large ones.</summary>
    public const string IndexName = "model.safetensors.index.json";

    private readonly List<SafetensorsFile> files = [];
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);
    private bool disposed;

    private WeightFiles()
    {
    }

    /// <summary>The names of all tensors.</summary>
    public IEnumerable<string> Names => tensors.Keys;

    /// <summary>All tensors; their addresses are valid until <see cref="Dispose"/>.</summary>
    public IEnumerable<StoredTensor> All => tensors.Values;

    /// <inheritdoc/>
    TensorType IWeightSource.MatrixType => tensors.Values.MaxBy(tensor => tensor.ByteLength)?.Type ?? TensorType.F32;

    /// <summary>How many tensors there are.</summary>
    public int Count => tensors.Count;

    /// <summary>The open files, in the order of their names.</summary>
    public IReadOnlyList<SafetensorsFile> Files => files;

    /// <summary>The length of all files together, in bytes.</summary>
    public long ByteLength => files.Sum(file => file.ByteLength);

    /// <summary>
    /// Opens the weights in <paramref name="modelDirectory"/>, mapped (<paramref name="map"/>) or read into memory. Where
    /// both kinds are there, the single file counts.
    /// </summary>
    /// <exception cref="ModelFormatException">No weights are there, a shard is missing or damaged, or index and shards disagree.</exception>
    public static WeightFiles Open(string modelDirectory, bool map = true)
    {
        var weights = new WeightFiles();
        try
        {
            string single = Path.Combine(modelDirectory, SingleName);
            if (File.Exists(single))
                weights.Add(SafetensorsFile.Open(single, map));
            else if (File.Exists(Path.Combine(modelDirectory, IndexName)))
                weights.AddShards(modelDirectory, map);
            else
                throw NothingThere(modelDirectory);
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Looks a tensor up by its name in the files.</summary>
    public bool TryGet(string name, [MaybeNullWhen(false)] out StoredTensor tensor)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        return tensors.TryGetValue(name, out tensor);
    }

    /// <inheritdoc/>
    bool IWeightSource.Has(string name) => TryGet(name, out _);

    /// <inheritdoc/>
    StoredTensor? IWeightSource.Find(string name, ReadOnlySpan<long> shape) => TryGet(name, out StoredTensor? tensor) ? tensor : null;

    /// <summary>Closes the files; every tensor's address is invalid afterwards. May be called again.</summary>
    public void Dispose()
    {
        disposed = true;
        foreach (SafetensorsFile file in files)
            file.Dispose();
    }

    private void Add(SafetensorsFile file)
    {
        files.Add(file);
        foreach (StoredTensor tensor in file.Tensors.Values)
        {
            if (!tensors.TryAdd(tensor.Name, tensor))
                throw new Checked(file.Path).Wrong(tensor.Name, $"is also in {Path.GetFileName(tensors[tensor.Name].File)}");
        }
    }

    private void AddShards(string folder, bool map)
    {
        string index = Path.Combine(folder, IndexName);
        var check = new Checked(index);
        Dictionary<string, string?> weightMap = JsonFile.Read(folder, IndexName, ConfigJson.Default.ShardIndexJson).WeightMap
            ?? throw check.Wrong("weight_map", "is missing");
        if (weightMap.Count == 0)
            throw check.Wrong("weight_map", "names no tensor");
        foreach (string? shard in weightMap.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            string path = ShardPath(folder, shard, check);
            if (!File.Exists(path))
                throw check.Wrong(Path.GetFileName(path), "this shard is not in the folder; the download is incomplete");
            Add(SafetensorsFile.Open(path, map));
        }

        foreach ((string name, string? shard) in weightMap)
        {
            if (!tensors.TryGetValue(name, out StoredTensor? tensor))
                throw check.Wrong(name, $"is said to be in {shard}, but is not there");
            if (Path.GetFileName(tensor.File) != shard)
                throw check.Wrong(name, $"is said to be in {shard}, but is in {Path.GetFileName(tensor.File)}");
        }
    }

    /// <summary>A shard is a file of the model's own folder: a downloaded index must not reach anything else.</summary>
    private static string ShardPath(string folder, string? shard, in Checked check)
    {
        bool plain = shard?.Length is > 0 and <= 255 && shard is not ("." or "..") && shard.AsSpan().IndexOfAny("/\\:\0") < 0;
        if (shard is null || !plain)
            throw check.Wrong("weight_map", $"names the shard '{shard}', which is not a plain file name");
        return Path.Combine(folder, shard);
    }

    private static ModelFormatException NothingThere(string folder)
    {
        if (!Directory.Exists(folder))
            return new ModelFormatException(folder, null, "is not a folder; give the folder of a model in the Hugging Face layout");
        string others = "";
        if (Directory.EnumerateFiles(folder).Select(Path.GetFileName).FirstOrDefault(IsOtherCheckpoint) is string other)
            others = $". '{other}' is there, but .bin, .pth, .pt and .gguf checkpoints are not read: convert it to safetensors";
        return new ModelFormatException(folder, null, $"holds no weights: looked for {SingleName} and {IndexName}{others}");
    }

    private static bool IsOtherCheckpoint(string? name) => Path.GetExtension(name) is ".bin" or ".pth" or ".pt" or ".ckpt" or ".gguf";
}

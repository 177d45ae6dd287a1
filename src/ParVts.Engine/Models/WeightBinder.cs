using ParVts.Engine.Compute;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Models;

/// <summary>
/// Finds a model's tensors in its weights under any of the namings in the wild, checks shape and type, and keeps account
/// of what was used, so that a tensor that belongs to no part of the model is named.
/// </summary>
internal sealed class WeightBinder : IDisposable
{
    private readonly ComputeDevice _device;
    private readonly IWeightSource _weights;
    private readonly string _directory;
    private readonly HashSet<string> _used = [];
    private readonly List<DeviceBuffer> _owned = [];
    private readonly bool _measures;
    private bool _kept;

    /// <param name="device">Where the weights go.</param>
    /// <param name="weights">Where they come from.</param>
    /// <param name="directory">For messages.</param>
    /// <param name="measures">Nothing is imported: what is bound has a size and no address (contract D4).</param>
    public WeightBinder(ComputeDevice device, IWeightSource weights, string directory, bool measures = false)
    {
        _measures = measures;
        _device = device;
        _weights = weights;
        _directory = directory;
        InputType = device.InputType(weights.MatrixType);
    }

    /// <summary>The type of matrix inputs: that of the model's largest tensor decides.</summary>
    public TensorType InputType { get; }

    /// <summary>Bytes of matrices that are used as they lie in the file.</summary>
    public long MappedBytes { get; private set; }

    /// <summary>Bytes of vectors that were widened to float32.</summary>
    public long WidenedBytes { get; private set; }

    /// <summary>Bytes of device memory that all of it takes; 0 where the device works in the process's memory.</summary>
    public long DeviceBytes { get; private set; }

    /// <summary>The first prefix under which <paramref name="anchor"/> exists.</summary>
    public string FindPrefix(string part, string anchor, params ReadOnlySpan<string> prefixes)
    {
        foreach (string prefix in prefixes)
        {
            if (_weights.Has(prefix + anchor))
                return prefix;
        }

        throw new ModelFormatException(
            _directory,
            prefixes[0] + anchor,
            $"is missing, and so are its other names ({string.Join(", ", prefixes[1..].ToArray().Select(p => p + anchor))}): "
            + $"the {part} cannot be found");
    }

    /// <summary>True where the weights hold this tensor.</summary>
    public bool Has(string name) => _weights.Has(name);

    /// <summary>A matrix [rows, columns] in its stored type; convolution kernels are flattened.</summary>
    public Tensor Matrix(string name, int rows, int columns, params long[] storedShape)
    {
        StoredTensor stored = Get(name, storedShape.Length > 0 ? storedShape : [rows, columns]);
        MappedBytes += stored.ByteLength;
        DeviceBytes += _device.ImportBytes(rows, columns);
        if (_measures)
            return new Tensor(0, InputType, rows, columns);
        Tensor matrix = _device.Import(stored, rows, columns, InputType, out DeviceBuffer? owned);
        if (owned is not null)
            _owned.Add(owned);
        return matrix;
    }

    /// <summary>A vector, widened to float32.</summary>
    public Tensor Vector(string name, int length)
    {
        StoredTensor stored = Get(name, [length]);
        DeviceBytes += length * sizeof(float);
        if (_measures)
            return new Tensor(0, TensorType.F32, 1, length);
        float[] values = new float[length];
        stored.CopyTo(values);
        DeviceBuffer buffer = _device.Allocate(length * sizeof(float));
        _owned.Add(buffer);
        WidenedBytes += buffer.Bytes;
        Tensor tensor = buffer.View(TensorType.F32, 1, length);
        _device.Upload<float>(values, tensor);
        return tensor;
    }

    /// <summary>Marks tensors as known but not needed: unused layers, buffers that old versions saved.</summary>
    public void Ignore(Func<string, bool> known) => _used.UnionWith(_weights.Names.Where(known));

    /// <summary>Names the first tensor that no part of the model took.</summary>
    public void RequireAllUsed(string family)
    {
        string? extra = _weights.Names.FirstOrDefault(name => !_used.Contains(name));
        if (extra is null)
            return;
        StoredTensor stored = _weights.Find(extra, [])!;
        throw new ModelFormatException(
            stored.File,
            extra,
            $"({stored.Type} [{string.Join(", ", stored.Shape)}]) is no part of a {family} model with this config.json; "
            + "expected were only the tensors that the config describes. Is the config that of another model?");
    }

    /// <summary>Hands the widened vectors over to the caller, who disposes them.</summary>
    public IReadOnlyList<DeviceBuffer> TakeOwned()
    {
        _kept = true;
        return _owned;
    }

    public void Dispose()
    {
        if (_kept)
            return;
        foreach (DeviceBuffer buffer in _owned)
            buffer.Dispose();
    }

    private StoredTensor Get(string name, long[] shape)
    {
        string expected = $"expected was [{string.Join(", ", shape)}] of type F32, BF16 or F16";
        if (_weights.Find(name, shape) is not StoredTensor stored)
            throw new ModelFormatException(_directory, name, $"is missing; {expected}");
        if (!stored.Shape.AsSpan().SequenceEqual(shape))
            throw new ModelFormatException(stored.File, name, $"has shape [{string.Join(", ", stored.Shape)}]; {expected}");
        if (stored.Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16))
            throw new ModelFormatException(stored.File, name, $"is of type {stored.Type}; {expected}");
        _used.Add(name);
        return stored;
    }
}

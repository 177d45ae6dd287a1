using ParVts.Engine.Compute;
using ParVts.Engine.Models;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Generation;

/// <summary>
/// The residual stream at one place of the decoder: the rows that this prefill computed there, in packed order. Rows that an earlier
/// turn left in the cache are not among them. Immutable; any thread.
/// </summary>
public sealed record HiddenRows
{
    /// <summary>The layer that the rows enter, 0-based, after the policy acted there; the number of layers for what leaves the last one, before the final norm.</summary>
    public required int Layer { get; init; }

    /// <summary>Elements of a row.</summary>
    public required int Width { get; init; }

    /// <summary>Each row's token: its index in the prompt. A path's copy of a question row has the index of its original.</summary>
    public required IReadOnlyList<int> Tokens { get; init; }

    /// <summary>Each row's path: shared, unless a policy runs two.</summary>
    public required IReadOnlyList<RowPath> Paths { get; init; }

    /// <summary>[rows, <see cref="Width"/>] float32, row by row.</summary>
    public required ReadOnlyMemory<float> Values { get; init; }
}

/// <summary>Copies the rows that enter the layers asked for, as the prefill passes them. One caller at a time.</summary>
internal sealed class HiddenCollector(IEnumerable<int> layers, RowBatch rows, ComputeDevice device, StageSink? beside)
{
    private readonly Dictionary<string, int> _layers =
        layers.Distinct().ToDictionary(layer => Decoder.Stage("hidden", layer), layer => layer, StringComparer.Ordinal);

    private readonly List<HiddenRows> _collected = [];

    /// <summary>What was collected, layers ascending.</summary>
    public IReadOnlyList<HiddenRows> Collected => _collected;

    /// <summary>Takes a stage's output; whoever else watches gets it, too.</summary>
    public void Receive(string stage, Tensor tensor)
    {
        beside?.Invoke(stage, tensor);
        if (!_layers.TryGetValue(stage, out int layer))
            return;
        float[] values = new float[tensor.Rows * tensor.Columns];
        device.Download<float>(tensor, values);
        int[] tokens = new int[tensor.Rows];
        for (int row = 0; row < tokens.Length; row++)
            tokens[row] = rows.Rows[row].Token;
        _collected.Add(new HiddenRows { Layer = layer, Width = tensor.Columns, Tokens = tokens, Paths = rows.Paths.ToArray(), Values = values });
    }
}

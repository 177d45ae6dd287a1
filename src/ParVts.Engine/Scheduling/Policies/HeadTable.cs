using System.Text.Json;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Which heads are on, layer by layer: a JSON file of [layers][heads] zeros and ones. Immutable.</summary>
internal sealed class HeadTable
{
    private const long MaxBytes = 1 << 20;

    private readonly bool[][] _on;

    private HeadTable(bool[][] on) => _on = on;

    public bool IsOn(int layer, int head) => _on[layer][head];

    /// <summary>Reads a file and holds it against the model.</summary>
    /// <exception cref="ModelFormatException">The file is missing, or not such a table.</exception>
    /// <exception cref="PolicyException">It is a table for another model.</exception>
    public static HeadTable Read(string path, string policy, PolicyModel model)
    {
        bool[][] on;
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
                throw new ModelFormatException(path, null, $"has more than {MaxBytes} bytes: not a table of heads");
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            on = [.. document.RootElement.EnumerateArray().Select(layer => layer.EnumerateArray().Select(head => IsOne(path, head)).ToArray())];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ModelFormatException(path, null, $"cannot be read: {error.Message}", error);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new ModelFormatException(path, null, "is not a table of heads: a list of layers, each a list of zeros and ones, was expected", error);
        }

        if (on.Length != model.Layers || on.Any(layer => layer.Length != model.Heads))
        {
            string found = $"{on.Length} layers of {string.Join(" or ", on.Select(layer => layer.Length).Distinct().Take(3))} heads";
            throw new PolicyException($"policy '{policy}': {path} has {found}; the model has {model.Layers} layers of {model.Heads} heads");
        }

        return new HeadTable(on);
    }

    private static bool IsOne(string path, JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number is 0 or 1)
            return number == 1;
        throw new ModelFormatException(path, null, $"has the entry {value}; 0 or 1 was expected");
    }
}

using System.Runtime.InteropServices;
using System.Text.Json;

namespace ParVts.GpuSim.Conformance;

/// <summary>A GPU's answers to the <see cref="ConformanceVectors"/>, as they lie in docs/measurements. Immutable; any thread.</summary>
/// <param name="Gpu">Whose answers.</param>
/// <param name="Architecture">Compute capability × 10.</param>
/// <param name="Nvrtc">The compiler's version.</param>
/// <param name="Answers">Words by case.</param>
public sealed record ConformanceRecord(string Gpu, int Architecture, string Nvrtc, IReadOnlyDictionary<string, uint[]> Answers)
{
    /// <summary>Reads a record.</summary>
    /// <exception cref="InvalidDataException">The file is none.</exception>
    public static ConformanceRecord Read(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement root = document.RootElement;
            return new ConformanceRecord(
                root.GetProperty("gpu").GetString()!,
                root.GetProperty("architecture").GetInt32(),
                root.GetProperty("nvrtc").GetString()!,
                root.GetProperty("answers").EnumerateObject().ToDictionary(
                    one => one.Name, one => MemoryMarshal.Cast<byte, uint>(one.Value.GetBytesFromBase64()).ToArray()));
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException($"{file} holds no answers of a GPU: {error.Message}", error);
        }
    }

    /// <summary>Writes the record.</summary>
    public void Write(string file)
    {
        using FileStream stream = File.Create(file);
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("gpu", Gpu);
        json.WriteNumber("architecture", Architecture);
        json.WriteString("nvrtc", Nvrtc);
        json.WriteStartObject("answers");
        foreach ((string name, uint[] words) in Answers)
            json.WriteBase64String(name, MemoryMarshal.AsBytes<uint>(words));
        json.WriteEndObject();
        json.WriteEndObject();
    }

    /// <summary>Where answers of another device are not as near to these as their case demands: a line each.</summary>
    /// <param name="others">Answers to compare; cases that one side lacks are named, too.</param>
    public IEnumerable<string> Differences(IReadOnlyDictionary<string, uint[]> others)
    {
        foreach (string name in Answers.Keys.Union(others.Keys))
        {
            if (ConformanceVectors.RuleOf(name) is not ConformanceRule rule
                || !Answers.TryGetValue(name, out uint[]? ours) || !others.TryGetValue(name, out uint[]? theirs) || ours.Length != theirs.Length)
            {
                yield return $"{name}: not the same case on both sides";
                continue;
            }

            int[] off = [.. Enumerable.Range(0, ours.Length).Where(i => !rule.Holds(theirs[i], ours[i]))];
            if (off.Length > 0)
                yield return $"{name}: {off.Length} of {ours.Length} words; the first is word {off[0]}: {theirs[off[0]]:x8}, {Gpu} has {ours[off[0]]:x8}";
        }
    }
}

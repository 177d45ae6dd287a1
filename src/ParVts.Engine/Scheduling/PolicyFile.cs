using System.Text.Json;
using System.Text.Json.Nodes;
using ParVts.Engine.Formats;

namespace ParVts.Engine.Scheduling;

/// <summary>
/// A policy in a JSON file, which <c>@file.json</c> names: <c>{"version": 1, "policy": "parvts:keep=64,migrate=2", …}</c>.
/// Further members say how it was found; they are kept for people and ignored here.
/// </summary>
/// <param name="Policy">The policy string.</param>
public sealed record PolicyFile(string Policy)
{
    /// <summary>The version that is written and read.</summary>
    public const int Version = 1;

    // A policy file is a few lines; what is larger is something else.
    private const long MaxBytes = 1 << 20;

    /// <summary>Reads a file.</summary>
    /// <exception cref="ModelFormatException">It is missing, too large, or not JSON of that form.</exception>
    /// <exception cref="PolicyException">Its version is unknown, or it names another file.</exception>
    public static PolicyFile Read(string file)
    {
        JsonElement root = Parse(file);
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("version", out JsonElement version))
            throw new ModelFormatException(file, null, $"is not a policy file: expected an object with \"version\": {Version} and \"policy\"");
        if (version.ValueKind != JsonValueKind.Number || !version.TryGetInt32(out int number) || number != Version)
            throw new PolicyException($"{file}: the policy file has version {version.GetRawText()}; this program reads version {Version}");
        if (!root.TryGetProperty("policy", out JsonElement policy) || policy.ValueKind != JsonValueKind.String)
            throw new ModelFormatException(file, null, "has no \"policy\": the policy string, for example \"parvts:keep=64,migrate=2\"");
        string text = policy.GetString()!;
        if (text.StartsWith('@'))
            throw new PolicyException($"{file}: a policy file may not name another one ('{text}')");
        return new PolicyFile(text);
    }

    /// <summary>Writes a file: the policy, and what is known about it.</summary>
    public static void Write(string file, string policy, JsonObject? about = null)
    {
        var root = new JsonObject { ["version"] = Version, ["policy"] = policy };
        foreach ((string name, JsonNode? value) in about ?? [])
            root[name] = value?.DeepClone();
        using FileStream stream = File.Create(file);
        using var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        root.WriteTo(writer);
    }

    private static JsonElement Parse(string file)
    {
        if (string.IsNullOrWhiteSpace(file))
            throw new PolicyException("'@' names no policy file; write @file.json");
        if (!File.Exists(file))
            throw new ModelFormatException(file, null, "there is no such policy file");
        try
        {
            if (new FileInfo(file) is { Exists: true, Length: > MaxBytes })
                throw new ModelFormatException(file, null, $"is larger than {MaxBytes} bytes: not a policy file");
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            return document.RootElement.Clone();
        }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ModelFormatException(file, null, $"is not a policy file: {(error is JsonException json ? $"not JSON, at line {json.LineNumber + 1}" : error.Message)}", error);
        }
    }
}

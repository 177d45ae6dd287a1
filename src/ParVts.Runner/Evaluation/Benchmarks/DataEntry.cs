using System.Text;
using System.Text.Json;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>A JSON object of a file of questions; every error names the file and the place. Any thread.</summary>
/// <param name="File">The file.</param>
/// <param name="Place">Where it stands: "line 3", "entry '20'".</param>
/// <param name="Json">The object.</param>
internal readonly record struct DataEntry(string File, string Place, JsonElement Json)
{
    // The largest published file (GQA's validation questions) has some 60 MB.
    private const long MaxBytes = 256 << 20;

    /// <summary>The objects of a file that has one a line; empty lines count but hold nothing.</summary>
    /// <exception cref="InputFileException">A line is no JSON object, or the file is too large.</exception>
    public static IEnumerable<DataEntry> Lines(string file)
    {
        RequireSize(file);
        int number = 0;
        foreach (string line in System.IO.File.ReadLines(file))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
                yield return new DataEntry(file, $"line {number}", Parse(line, file, number));
        }
    }

    /// <summary>A file that is one JSON value.</summary>
    /// <exception cref="InputFileException">It is not JSON, or too large.</exception>
    public static DataEntry Whole(string file)
    {
        RequireSize(file);
        byte[] bytes = System.IO.File.ReadAllBytes(file);
        ReadOnlyMemory<byte> text = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? bytes.AsMemory(3) : bytes;
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            return new DataEntry(file, "its JSON value", document.RootElement.Clone());
        }
        catch (JsonException error)
        {
            throw new InputFileException(file, (int)Math.Min(int.MaxValue, (error.LineNumber ?? 0) + 1), $"is not JSON ({error.Message})");
        }
    }

    /// <summary>Its members by name, which must be objects, each name once.</summary>
    public Dictionary<string, DataEntry> Members()
    {
        if (Json.ValueKind != JsonValueKind.Object)
            throw Error("is no object");
        var members = new Dictionary<string, DataEntry>();
        foreach (JsonProperty member in Json.EnumerateObject())
        {
            string name = Guarded(File, "a member", () => member.Name)!;
            DataEntry entry = new DataEntry(File, $"entry '{name}'", member.Value).RequireObject();
            if (!members.TryAdd(name, entry))
                throw entry.Error("is in it twice");
        }

        return members;
    }

    /// <summary>Its elements, which must be objects.</summary>
    public IEnumerable<DataEntry> Elements()
    {
        string file = File;
        if (Json.ValueKind != JsonValueKind.Array)
            throw Error("is no array");
        return Json.EnumerateArray().Select((element, index) => new DataEntry(file, $"entry {index} (from 0)", element).RequireObject());
    }

    /// <summary>A member that is a list.</summary>
    public JsonElement[] List(string name) => Json.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Array
        ? [.. value.EnumerateArray()]
        : throw Error($"has no list '{name}'");

    /// <summary>A member that is a list of texts.</summary>
    public string[] Texts(string name)
    {
        DataEntry entry = this;
        return [.. List(name).Select(one => entry.TextOf(one) ?? throw entry.Error($"'{name}' holds something that is no text"))];
    }

    /// <summary>A member that is a text or a number, as text.</summary>
    public string Text(string name) => OptionalText(name) ?? throw Error($"has no text '{name}'");

    /// <summary>The same; null where it is missing or null.</summary>
    public string? OptionalText(string name) => Json.TryGetProperty(name, out JsonElement value) ? TextOf(value) : null;

    /// <summary>A member that is a whole number from 0 up to a limit.</summary>
    public int Index(string name, int limit) =>
        Json.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int index) && index >= 0 && index < limit
            ? index
            : throw Error($"'{name}' is no whole number from 0 to {limit - 1}");

    /// <summary>A member that is an object, or null.</summary>
    public DataEntry? Member(string name) =>
        Json.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Object ? this with { Json = value } : null;

    /// <summary>The error for this entry.</summary>
    public InputFileException Error(string message) => new(File, Place, message);

    private DataEntry RequireObject() => Json.ValueKind == JsonValueKind.Object ? this : throw Error("is no object");

    private string? TextOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => Guarded(File, Place, value.GetString),
        JsonValueKind.Number => value.GetRawText(),
        _ => null,
    };

    // Escapes may spell what is no text: half of a surrogate pair.
    private static string? Guarded(string file, string place, Func<string?> read)
    {
        try
        {
            return read();
        }
        catch (InvalidOperationException)
        {
            throw new InputFileException(file, place, "holds a text that is no Unicode");
        }
    }

    private static JsonElement Parse(string line, string file, int number)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new InputFileException(file, number, "is no JSON object");
        }
        catch (Exception error) when (error is JsonException or ArgumentException)
        {
            throw new InputFileException(file, number, $"is no JSON object ({error.Message})");
        }
    }

    private static void RequireSize(string file)
    {
        long length = new FileInfo(file).Length;
        if (length > MaxBytes)
            throw new InputFileException(file, $"has {length} bytes; a file of questions has at most {MaxBytes}");
    }
}

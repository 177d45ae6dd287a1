using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ParVts.Runner.Output;

/// <summary>One JSON object on standard output, on a line of its own.</summary>
internal static class JsonOutput
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes the object whose members <paramref name="members"/> writes.</summary>
    public static void Write(Action<Utf8JsonWriter> members)
    {
        using MemoryStream buffer = Serialise(members);
        buffer.WriteByte((byte)'\n');
        using Stream output = Console.OpenStandardOutput();
        output.Write(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    /// <summary>The same as text.</summary>
    public static string ToText(Action<Utf8JsonWriter> members)
    {
        using MemoryStream buffer = Serialise(members);
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    /// <summary>An array of numbers.</summary>
    public static void WriteNumbers(this Utf8JsonWriter json, string name, IEnumerable<int> numbers) =>
        json.WriteNumbers(name, numbers.Select(number => (long)number));

    /// <summary>An array of numbers.</summary>
    public static void WriteNumbers(this Utf8JsonWriter json, string name, IEnumerable<long> numbers)
    {
        json.WriteStartArray(name);
        foreach (long number in numbers)
            json.WriteNumberValue(number);
        json.WriteEndArray();
    }

    /// <summary>An array of texts.</summary>
    public static void WriteStrings(this Utf8JsonWriter json, string name, IEnumerable<string> texts)
    {
        json.WriteStartArray(name);
        foreach (string text in texts)
            json.WriteStringValue(text);
        json.WriteEndArray();
    }

    /// <summary>A time in milliseconds, to the microsecond.</summary>
    public static void WriteMilliseconds(this Utf8JsonWriter json, string name, double milliseconds) =>
        json.WriteNumber(name, Math.Round(milliseconds, 3));

    private static MemoryStream Serialise(Action<Utf8JsonWriter> members)
    {
        var buffer = new MemoryStream();
        using var json = new Utf8JsonWriter(buffer, Options);
        json.WriteStartObject();
        members(json);
        json.WriteEndObject();
        json.Flush();
        return buffer;
    }
}

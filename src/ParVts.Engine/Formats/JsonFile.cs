using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.Unicode;

namespace ParVts.Engine.Formats;

/// <summary>Reads the JSON files of a model folder; whatever is wrong becomes a <see cref="ModelFormatException"/> with the file and the property's path.</summary>
internal static class JsonFile
{
    /// <summary>No config of a published model comes near this.</summary>
    public const int MaxLength = 64 * 1024 * 1024;

    private const int MaxDepth = 64;

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = MaxDepth };

    /// <summary>The file as <typeparamref name="T"/>, or null where it does not exist.</summary>
    public static T? ReadIfThere<T>(string folder, string name, JsonTypeInfo<T> type)
        where T : class
    {
        string path = Path.Combine(folder, name);
        return File.Exists(path) ? Parse(ReadBytes(path), path, type) : null;
    }

    /// <summary>The file as <typeparamref name="T"/>; it must exist.</summary>
    public static T Read<T>(string folder, string name, JsonTypeInfo<T> type)
        where T : class
    {
        string path = Path.Combine(folder, name);
        return Parse(ReadBytes(path), path, type);
    }

    /// <summary>The bytes of JSON as <typeparamref name="T"/>; <paramref name="file"/> is for messages.</summary>
    public static T Parse<T>(ReadOnlySpan<byte> json, string file, JsonTypeInfo<T> type)
        where T : class
    {
        json = CheckText(json, file);
        try
        {
            CheckTokens(json, file);
            return JsonSerializer.Deserialize(json, type) ?? throw new ModelFormatException(file, null, "holds null where an object is expected");
        }
        catch (JsonException e)
        {
            string? path = e.Path is null or "$" ? null : e.Path.StartsWith("$.", StringComparison.Ordinal) ? e.Path[2..] : e.Path;
            throw new ModelFormatException(file, path, path is null ? $"is not valid JSON of the kind that is expected: {e.Message}" : e.Message, e);
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException)
        {
            // An escape sequence that makes no valid text.
            throw new ModelFormatException(file, null, $"is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>A text file, which must be UTF-8.</summary>
    public static string ReadText(string path)
    {
        byte[] bytes = ReadBytes(path);
        return Encoding.UTF8.GetString(CheckText(bytes, path));
    }

    /// <summary>A file's bytes, up to <see cref="MaxLength"/>.</summary>
    public static byte[] ReadBytes(string path)
    {
        try
        {
            var info = new FileInfo(path);
            if (info.Exists && info.Length > MaxLength)
                throw new ModelFormatException(path, null, $"is {info.Length} bytes long, more than the limit of {MaxLength}");
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModelFormatException(path, null, "is not there; a model folder must hold it", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new ModelFormatException(path, null, $"cannot be read: {e.Message}", e);
        }
    }

    private static ReadOnlySpan<byte> CheckText(ReadOnlySpan<byte> text, string file)
    {
        if (text.StartsWith("\uFEFF"u8))
            text = text["\uFEFF"u8.Length..];
        return Utf8.IsValid(text) ? text : throw new ModelFormatException(file, null, "is not valid UTF-8");
    }

    /// <summary>JSON leaves open which of two equal names counts; here neither does. Texts must be well-formed, also those that nobody reads.</summary>
    private static void CheckTokens(ReadOnlySpan<byte> json, string file)
    {
        var reader = new Utf8JsonReader(json, ReaderOptions);
        var seen = new Stack<HashSet<string>>();
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject:
                    seen.Push(new HashSet<string>(StringComparer.Ordinal));
                    break;
                case JsonTokenType.EndObject:
                    seen.Pop();
                    break;
                case JsonTokenType.PropertyName:
                    string name = reader.GetString()!;
                    if (!seen.Peek().Add(name))
                        throw new Checked(file).Wrong(name, "occurs twice in one object");
                    break;
                case JsonTokenType.String when reader.ValueIsEscaped:
                    // Raises an error for half a surrogate pair.
                    _ = reader.GetString();
                    break;
                default:
                    break;
            }
        }
    }
}

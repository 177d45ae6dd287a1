using System.Globalization;
using System.Text.Json;

namespace ParVts.Engine.Text;

/// <content>Values of the file, each checked, with the place in the error.</content>
internal sealed partial class TokenizerReader
{
    private static JsonElement? Get(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private string RequiredText(JsonElement element, string name, string where) =>
        Text(element, name, where) ?? throw Fail($"{where}.{name}", "is missing");

    private string? Text(JsonElement element, string name, string where)
    {
        if (Get(element, name) is not JsonElement value)
            return null;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Fail($"{where}.{name}", "must be a string");
    }

    private bool Flag(JsonElement element, string name, bool missing) => Get(element, name) is not JsonElement value ? missing
        : value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean()
        : throw Fail(name, "must be true or false");

    private int Count(JsonElement element, string name) => Get(element, name) is not JsonElement value ? 0
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int count) && count >= 0 ? count
        : throw Fail("decoder." + name, "must be a small number, 0 or more");

    private int Id(JsonElement value, string where) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id) && id is >= 0 and < 1 << 22
            ? id
            : throw Fail(where, string.Create(CultureInfo.InvariantCulture, $"holds an id that is not from 0 to {(1 << 22) - 1}"));

    private void RequireObject(JsonElement element, string where)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Fail(where, "must be a JSON object");
    }

    private void RequireArray(JsonElement element, string where)
    {
        if (element.ValueKind != JsonValueKind.Array)
            throw Fail(where, "must be a JSON array");
    }

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";

    private ModelFormatException Unsupported(string where, string found, string supported) =>
        Fail(where, $"is '{Shorten(found)}', which is not supported; supported are: {supported}");

    private ModelFormatException Fail(string where, string message) => new(_file, where, message);
}

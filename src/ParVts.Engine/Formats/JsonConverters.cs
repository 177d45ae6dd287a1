using System.Text.Json;
using System.Text.Json.Serialization;

namespace ParVts.Engine.Formats;

// Converters for the shapes that configs in the wild use. The serializer adds the property's path to what they throw;
// its own messages would name .NET types, which help nobody who edits a config.

/// <summary>A whole number that fits 32 bits.</summary>
internal sealed class WholeNumberConverter : JsonConverter<int>
{
    public override int Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => Read(ref reader);

    public static int Read(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out int value)
            ? value
            : throw new JsonException($"must be a whole number of at most {int.MaxValue}");

    public override void Write(Utf8JsonWriter writer, int value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
}

/// <summary>A finite number.</summary>
internal sealed class NumberConverter : JsonConverter<double>
{
    public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out double value) && double.IsFinite(value)
            ? value
            : throw new JsonException("must be a finite number");

    public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
}

/// <summary>true or false.</summary>
internal sealed class BooleanConverter : JsonConverter<bool>
{
    public override bool Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.True => true,
        JsonTokenType.False => false,
        _ => throw new JsonException("must be true or false"),
    };

    public override void Write(Utf8JsonWriter writer, bool value, JsonSerializerOptions options) => writer.WriteBooleanValue(value);
}

/// <summary>A text.</summary>
internal sealed class TextConverter : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String ? reader.GetString() : throw new JsonException("must be a text");

    public override string ReadAsPropertyName(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.GetString()!;

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}

/// <summary>A token: its text, or an object with the text under "content".</summary>
[JsonConverter(typeof(TokenTextConverter))]
internal sealed record TokenText(string Content);

internal sealed class TokenTextConverter : JsonConverter<TokenText>
{
    public override TokenText? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return new TokenText(reader.GetString()!);
        string? content = null;
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isContent = reader.ValueTextEquals("content"u8);
                reader.Read();
                if (isContent && reader.TokenType == JsonTokenType.String)
                    content = reader.GetString();
                else
                    reader.Skip();
            }
        }

        return content is null ? throw new JsonException("must be a text, or an object with the text under \"content\"") : new TokenText(content);
    }

    public override void Write(Utf8JsonWriter writer, TokenText value, JsonSerializerOptions options) => writer.WriteStringValue(value.Content);
}

/// <summary>One token id, or a list of them.</summary>
[JsonConverter(typeof(TokenIdsConverter))]
internal sealed record TokenIds(int[] Ids);

internal sealed class TokenIdsConverter : JsonConverter<TokenIds>
{
    private const int MaxIds = 1024;

    public override TokenIds? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number)
            return new TokenIds([WholeNumberConverter.Read(ref reader)]);
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException("must be a token id or a list of token ids");
        var ids = new List<int>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (ids.Count == MaxIds)
                throw new JsonException($"lists more than {MaxIds} token ids");
            ids.Add(WholeNumberConverter.Read(ref reader));
        }

        return new TokenIds([.. ids]);
    }

    public override void Write(Utf8JsonWriter writer, TokenIds value, JsonSerializerOptions options) => throw new NotSupportedException();
}

/// <summary>A picture size: one number, or an object with some of the named sides.</summary>
[JsonConverter(typeof(PictureSizeConverter))]
internal sealed record PictureSize
{
    public int? Single { get; init; }

    public int? Height { get; init; }

    public int? Width { get; init; }

    public int? ShortestEdge { get; init; }

    public int? LongestEdge { get; init; }
}

internal sealed class PictureSizeConverter : JsonConverter<PictureSize>
{
    public override PictureSize? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number)
            return new PictureSize { Single = WholeNumberConverter.Read(ref reader) };
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("must be a number, or an object with shortest_edge, or height and width");
        var size = new PictureSize();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            int? value = reader.TokenType == JsonTokenType.Null ? null : WholeNumberConverter.Read(ref reader);
            size = name switch
            {
                "height" => size with { Height = value },
                "width" => size with { Width = value },
                "shortest_edge" => size with { ShortestEdge = value },
                "longest_edge" => size with { LongestEdge = value },
                _ => throw new JsonException($"has the side '{name}'; known are height, width, shortest_edge and longest_edge"),
            };
        }

        return size;
    }

    public override void Write(Utf8JsonWriter writer, PictureSize value, JsonSerializerOptions options) => throw new NotSupportedException();
}

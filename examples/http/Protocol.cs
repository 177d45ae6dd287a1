using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using ParVts.Engine;
using ParVts.Engine.Generation;

namespace ChatServer;

/// <summary>A request that is not served: the status and OpenAI's error body.</summary>
internal sealed class Refusal(int status, string message, string code, string? parameter = null) : Exception(message)
{
    public const int ClientLeft = 499; // nobody reads it; metrics do

    public int Status => status;

    public ErrorBody Body => new(new ErrorDetail(
        Message, status switch { 429 => "rate_limit_error", >= 500 => "server_error", _ => "invalid_request_error" }, parameter, code));

    public static Refusal Stopping() => new(503, "the server is shutting down; ask another one, or try again later", "shutting_down");

    public static Refusal TooLarge() => new(413, "the body is too large: send fewer or smaller pictures", "request_too_large");

    public static Refusal OfStatus(HttpContext http) => http.Response.StatusCode switch
    {
        404 => new(404, $"there is no '{http.Request.Path}'; there are /v1/chat/completions, /v1/models, /health and /metrics", "not_found"),
        405 => new(405, $"'{http.Request.Path}' does not take {http.Request.Method}", "method_not_allowed"),
        int other => new(other, "the request cannot be served", "http_error"),
    };

    /// <summary>What a client is told of an error; what is the server's own fault is logged, and not shown.</summary>
    public static Refusal Of(Exception error, HttpContext http, Gate gate) => error switch
    {
        Refusal refusal => refusal,
        JsonException { InnerException: JsonException { Path: null } inner } => new(400, $"the body is not JSON as it must be: {inner.Message}", "invalid_json"),
        JsonException json => new(400, $"'{PathOf(json)}' is given twice, of another type than it must be, or out of range", "invalid_type", PathOf(json)),
        BadHttpRequestException { StatusCode: 413 } => TooLarge(),
        BadHttpRequestException bad => new(bad.StatusCode, bad.Message, "bad_request"),
        PolicyException => new(400, error.Message, "invalid_policy", "policy"),
        ImageFormatException => new(400, error.Message, "invalid_image", "messages"),
        RequestException => new(400, error.Message, "invalid_request"),
        ParVts.Engine.Compute.InsufficientMemoryException => new(503, error.Message, "insufficient_memory"),
        OperationCanceledException when http.RequestAborted.IsCancellationRequested => new(ClientLeft, "the client left", "client_left"),
        OperationCanceledException when gate.Ending.IsCancellationRequested => Stopping(),
        OperationCanceledException => new(503, "the answer was not ready within the server's deadline; ask for fewer tokens, or try again later", "deadline_exceeded"),
        _ => Unexpected(error, http),
    };

    public static Task Write(HttpContext http, Refusal refusal)
    {
        http.Response.StatusCode = refusal.Status;
        if (refusal.Status is 429 or 503)
            http.Response.Headers.RetryAfter = "1";
        return refusal.Status == ClientLeft ? Task.CompletedTask : http.Response.WriteAsJsonAsync(refusal.Body, Json.Wire.ErrorBody);
    }

    private static string PathOf(JsonException error) => error.Path?.Length > 2 ? error.Path[2..] : "the body";

    private static Refusal Unexpected(Exception error, HttpContext http)
    {
        http.RequestServices.GetRequiredService<ILogger<Refusal>>().LogError(error, "A request failed.");
        return new Refusal(500, "an error within the server; its log has the particulars", "internal_error");
    }
}

/// <summary>The body of <c>POST /v1/chat/completions</c>; what is not here is refused by name. <c>User</c> is taken, and has no effect.</summary>
internal sealed record ChatRequest(
    string? Model, IReadOnlyList<ChatTurn?>? Messages, bool? Stream, StreamOptions? StreamOptions, int? MaxTokens, int? MaxCompletionTokens, float? Temperature,
    float? TopP, long? Seed, [property: JsonConverter(typeof(OneOrMore))] IReadOnlyList<string?>? Stop, int? N, string? User, string? Policy, bool? ParvtsTrace, bool? IgnoreEos)
{
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; set; }
}

internal sealed record StreamOptions(bool? IncludeUsage);

internal sealed record ChatTurn(string? Role, [property: JsonConverter(typeof(TextOrParts))] IReadOnlyList<TurnPart?>? Content);

internal sealed record TurnPart(string? Type, string? Text, ImageUrl? ImageUrl);

internal sealed record ImageUrl(string? Url);

/// <summary>A response, or a chunk of one.</summary>
internal sealed record Completion(string Id, string Object, long Created, string Model)
{
    public IReadOnlyList<Choice> Choices { get; init; } = [];

    public Usage? Usage { get; init; }

    public Answered? Parvts { get; init; }
}

internal sealed record Choice([property: JsonIgnore(Condition = JsonIgnoreCondition.Never)] string? FinishReason)
{
    public int Index => 0;

    public Said? Message { get; init; }

    public Said? Delta { get; init; }
}

internal sealed record Said(string? Content = null, string? Role = null);

internal sealed record Usage(int PromptTokens, int CompletionTokens, int TotalTokens);

internal sealed record ModelList(IReadOnlyList<ModelEntry> Data, string Object = "list");

internal sealed record ModelEntry(string Id, long Created, string Object = "model", string OwnedBy = "parvts");

internal sealed record ErrorBody(ErrorDetail Error);

internal sealed record ErrorDetail(string Message, string Type, [property: JsonIgnore(Condition = JsonIgnoreCondition.Never)] string? Param, string Code);

/// <summary>An answer; as JSON, what every host of the engine writes.</summary>
[JsonConverter(typeof(AnsweredWriter))]
internal sealed record Answered(GenerationResult Result, string Policy, string Device)
{
    public string Finish => ResultJson.NameOf(Result.Finish);

    public Usage Usage => new(Result.PromptTokens, Result.Tokens.Count, Result.PromptTokens + Result.Tokens.Count);
}

internal sealed class AnsweredWriter : JsonConverter<Answered>
{
    public override Answered Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => throw new NotSupportedException();

    public override void Write(Utf8JsonWriter writer, Answered value, JsonSerializerOptions options)
    {
        writer.WriteStartObject();
        ResultJson.WriteAnswer(writer, value.Result);
        writer.WriteString("device", value.Device);
        writer.WriteString("policy", value.Policy);
        writer.WriteStartObject("times_ms");
        ResultJson.WriteTimes(writer, value.Result.Times);
        writer.WriteEndObject();
        ResultJson.WriteTrace(writer, value.Result.Trace);
        writer.WriteEndObject();
    }
}

/// <summary>A text, or a list of them.</summary>
internal sealed class OneOrMore : JsonConverter<IReadOnlyList<string?>>
{
    public override IReadOnlyList<string?>? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String ? [reader.GetString()] : Json.List(ref reader, Json.Default.IReadOnlyListString);

    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string?> value, JsonSerializerOptions options) => throw new NotSupportedException();
}

/// <summary>A text, or a list of parts.</summary>
internal sealed class TextOrParts : JsonConverter<IReadOnlyList<TurnPart?>>
{
    public override IReadOnlyList<TurnPart?>? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String ? [new TurnPart("text", reader.GetString(), null)] : Json.List(ref reader, Json.Default.IReadOnlyListTurnPart);

    public override void Write(Utf8JsonWriter writer, IReadOnlyList<TurnPart?> value, JsonSerializerOptions options) => throw new NotSupportedException();
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, MaxDepth = Settings.MaxDepth,
    AllowDuplicateProperties = false)]
[JsonSerializable(typeof(ChatRequest))]
[JsonSerializable(typeof(Completion))]
[JsonSerializable(typeof(ModelList))]
[JsonSerializable(typeof(ErrorBody))]
internal sealed partial class Json : JsonSerializerContext
{
    /// <summary>For what is written: it is no part of a web page, so that only what JSON itself demands is escaped.</summary>
    public static Json Wire { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>A list within a converter; what is wrong in it is told by the place of the whole.</summary>
    public static IReadOnlyList<T>? List<T>(ref Utf8JsonReader reader, JsonTypeInfo<IReadOnlyList<T>> type)
    {
        try
        {
            return JsonSerializer.Deserialize(ref reader, type);
        }
        catch (JsonException error) when (error.InnerException is not JsonException)
        {
            throw new JsonException(null, error);
        }
    }
}

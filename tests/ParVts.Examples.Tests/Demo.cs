using System.Text.Json;
using System.Text.Json.Nodes;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Examples.Tests;

/// <summary>The demo model, asked directly, and requests about its pictures.</summary>
internal static class Demo
{
    /// <summary>What the server calls it.</summary>
    public const string Name = "demo";

    /// <summary>The model's folder.</summary>
    public static string Model { get; } = TestData.Own("demo-model/model");

    private static readonly Lazy<Engine.Generation.Engine> s_engine = new(() => Engine.Generation.Engine.Open(Model));

    /// <summary>One of its pictures.</summary>
    public static string Picture(int number = 0) => TestData.Own($"demo-model/eval/images/{number:0000}.png");

    /// <summary>A program that was built beside this one, to be run by <c>dotnet</c>.</summary>
    public static string Program(string project, string name)
    {
        string[] folder = AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar).Split(Path.DirectorySeparatorChar);
        return Path.Combine(TestData.Root, project, "bin", folder[^2], folder[^1], name + ".dll");
    }

    /// <summary>The engine's own answer.</summary>
    public static GenerationResult Ask(string policy, IReadOnlyList<ChatMessage> messages, IReadOnlyList<string> pictures, GenerationOptions options, TextSink? onText = null)
    {
        Engine.Generation.Engine engine = s_engine.Value;
        using Session session = engine.CreateSession(policy);
        return session.Generate(
            engine.CreatePrompt(messages, [.. pictures.Select(file => engine.PrepareImage(ImageDecoder.Load(file)))]), options, onText);
    }

    /// <summary>The engine's own answer to a question, about a picture or none.</summary>
    public static GenerationResult Ask(string policy, string? picture, string question, GenerationOptions options, TextSink? onText = null) => Ask(
        policy, [new ChatMessage("user", picture is null ? [ChatPart.OfText(question)] : [ChatPart.Image, ChatPart.OfText(question)])],
        picture is null ? [] : [picture], options, onText);

    /// <summary>A result's trace as JSON.</summary>
    public static JsonElement Trace(GenerationResult result)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            ResultJson.WriteTrace(json, result.Trace);
            json.WriteEndObject();
        }

        return JsonDocument.Parse(stream.ToArray()).RootElement.GetProperty("trace");
    }

    /// <summary>A request with one question, about a picture or none.</summary>
    public static JsonObject Request(string question, string? picture = null, string policy = "dense", int maxTokens = 16) => new()
    {
        ["model"] = Name,
        ["messages"] = new JsonArray(picture is null ? Turn("user", question) : Turn("user", ImagePart(DataUri(picture)), TextPart(question))),
        ["policy"] = policy,
        ["max_tokens"] = maxTokens,
    };

    /// <summary>A request whose answer takes long: so many tokens, whatever they are.</summary>
    public static JsonObject LongRequest(int tokens)
    {
        JsonObject request = Request("what is the top color?", maxTokens: tokens);
        request["ignore_eos"] = true;
        return request;
    }

    /// <summary>A message of a text.</summary>
    public static JsonObject Turn(string role, string text) => new() { ["role"] = role, ["content"] = text };

    /// <summary>A message of parts.</summary>
    public static JsonObject Turn(string role, params JsonNode[] parts) => new() { ["role"] = role, ["content"] = new JsonArray(parts) };

    /// <summary>A part that is text.</summary>
    public static JsonObject TextPart(string text) => new() { ["type"] = "text", ["text"] = text };

    /// <summary>A part that is a picture.</summary>
    public static JsonObject ImagePart(string url) => new() { ["type"] = "image_url", ["image_url"] = new JsonObject { ["url"] = url } };

    /// <summary>A picture's file as a data URI.</summary>
    public static string DataUri(string file) => DataUri(File.ReadAllBytes(file));

    /// <summary>A picture's bytes as a data URI.</summary>
    public static string DataUri(byte[] file) => "data:image/png;base64," + Convert.ToBase64String(file);

    /// <summary>A request that is to be streamed.</summary>
    public static JsonObject Streamed(this JsonObject request)
    {
        request["stream"] = true;
        return request;
    }

    /// <summary>A request with one more member.</summary>
    public static JsonObject With(this JsonObject request, string name, JsonNode? value)
    {
        request[name] = value;
        return request;
    }
}

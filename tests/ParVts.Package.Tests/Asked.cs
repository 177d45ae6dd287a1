using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Package.Tests;

/// <summary>The question that every package is asked, and the engine's answer to it.</summary>
internal static class Asked
{
    /// <summary>The question.</summary>
    public const string Question = "what color is the circle?";

    /// <summary>The policy.</summary>
    public const string Policy = "parvts:keep=36";

    /// <summary>New tokens at most.</summary>
    public const int Limit = 16;

    private static readonly Lazy<(string Text, JsonDocument Json)> s_expected = new(Answer);

    /// <summary>The demo model with its pictures.</summary>
    public static string Demo { get; } = TestData.Own("demo-model");

    /// <summary>The model.</summary>
    public static string Model { get; } = Path.Combine(Demo, "model");

    /// <summary>The picture.</summary>
    public static string Picture { get; } = Path.Combine(Demo, "eval/images/0000.png");

    /// <summary>The answer's text.</summary>
    public static string Text => s_expected.Value.Text;

    /// <summary>Text, tokens and trace in a host's JSON are the engine's.</summary>
    public static void Check(string json)
    {
        using JsonDocument found = JsonDocument.Parse(json);
        foreach (string member in new[] { "text", "tokens", "finish", "trace" })
        {
            Assert.That(
                JsonElement.DeepEquals(found.RootElement.GetProperty(member), s_expected.Value.Json.RootElement.GetProperty(member)), Is.True, $"{member}: {json}");
        }
    }

    private static (string Text, JsonDocument Json) Answer()
    {
        using var engine = Engine.Generation.Engine.Open(Model);
        using Session session = engine.CreateSession(Policy);
        GenerationResult result = session.Generate(
            engine.CreatePrompt(
                [new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)])], [engine.PrepareImage(ImageDecoder.Load(Picture))]),
            new GenerationOptions { MaxTokens = Limit });
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            ResultJson.WriteAnswer(json, result);
            ResultJson.WriteTrace(json, result.Trace);
            json.WriteEndObject();
        }

        return (result.Text, JsonDocument.Parse(bytes.ToArray()));
    }
}

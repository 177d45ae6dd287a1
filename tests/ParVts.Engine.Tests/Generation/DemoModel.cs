using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Engine.Tests.Generation;

/// <summary>The project's own small trained model, opened once for all tests, and its questions.</summary>
internal static class DemoModel
{
    public static string Folder => TestData.Own("demo-model/model");

    private static readonly Lazy<VlmEngine> s_engine = new(() => VlmEngine.Open(Folder));

    public static VlmEngine Engine => s_engine.Value;

    public static string EvaluationFile { get; } = TestData.Own("demo-model/eval/eval.jsonl");

    /// <summary>A question with its picture, as a user would ask it.</summary>
    public static Prompt Ask(string question, params string[] pictures) => Ask(Engine, question, pictures);

    public static Prompt Ask(VlmEngine engine, string question, params string[] pictures)
    {
        List<PromptImage> images = [.. pictures.Select(picture => engine.PrepareImage(ImageDecoder.Load(picture)))];
        List<ChatPart> parts = [.. images.Select(_ => ChatPart.Image), ChatPart.OfText(question)];
        return engine.CreatePrompt([new ChatMessage("user", parts)], images);
    }

    public static string Picture(int index) =>
        TestData.Own($"demo-model/eval/{Questions()[index].GetProperty("image").GetString()}");

    public static List<JsonElement> Questions() =>
        [.. File.ReadLines(EvaluationFile).Where(line => line.Length > 0).Select(line => JsonDocument.Parse(line).RootElement)];
}

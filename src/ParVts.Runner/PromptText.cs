using ParVts.Engine.Generation;
using ParVts.Engine.Text;

namespace ParVts.Runner;

/// <summary>What a user asks: a message for the model's template, or a whole prompt as it stands.</summary>
internal sealed record PromptText(string Text, bool IsRaw)
{
    private const string Placeholder = "<image>";

    /// <summary>The prompt of a single question.</summary>
    public Prompt Create(InferenceEngine engine, IReadOnlyList<PromptImage> images, string template) => IsRaw
        ? engine.CreateRawPrompt(Text, images)
        : engine.CreatePrompt([UserMessage(Text, images.Count)], images, template);

    /// <summary>
    /// A user's message: the pictures in front of the text, unless the text says itself, by <c>&lt;image&gt;</c>, where
    /// they belong.
    /// </summary>
    public static ChatMessage UserMessage(string text, int images)
    {
        if (text.Contains(Placeholder, StringComparison.Ordinal))
            return new ChatMessage("user", [ChatPart.OfTextWithPlaceholders(text)]);
        return new ChatMessage("user", [.. Enumerable.Repeat(ChatPart.Image, images), ChatPart.OfText(text)]);
    }

    /// <summary>What the model answered.</summary>
    public static ChatMessage AssistantMessage(string text) => new("assistant", [ChatPart.OfText(text)]);
}

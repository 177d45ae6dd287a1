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
        var parts = new List<ChatPart>();
        if (!text.Contains(Placeholder, StringComparison.Ordinal))
        {
            for (int image = 0; image < images; image++)
                parts.Add(ChatPart.Image);
            parts.Add(ChatPart.OfText(text));
            return new ChatMessage("user", parts);
        }

        string[] pieces = text.Split(Placeholder);
        for (int piece = 0; piece < pieces.Length; piece++)
        {
            if (piece > 0)
                parts.Add(ChatPart.Image);
            if (pieces[piece].Length > 0)
                parts.Add(ChatPart.OfText(pieces[piece]));
        }

        return new ChatMessage("user", parts);
    }

    /// <summary>What the model answered.</summary>
    public static ChatMessage AssistantMessage(string text) => new("assistant", [ChatPart.OfText(text)]);
}

using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace Ask;

/// <summary>Answers questions about pictures with the session of its scope.</summary>
internal sealed class Assistant(Engine engine, Session session)
{
    /// <summary>One question; the pieces of the answer come as they are made.</summary>
    /// <param name="question">The user's text.</param>
    /// <param name="pictures">Files, in the order in which they stand before the text.</param>
    /// <param name="deadline">How long it may take; null for any time.</param>
    /// <param name="cancellation">Ends the answer.</param>
    public AnswerStream Ask(string question, IReadOnlyList<string> pictures, TimeSpan? deadline, CancellationToken cancellation)
    {
        PromptImage[] images = [.. pictures.Select(file => engine.PrepareImage(ImageDecoder.Load(file)))];
        ChatPart[] parts = [.. images.Select(_ => ChatPart.Image), ChatPart.OfText(question)];
        Prompt prompt = engine.CreatePrompt([new ChatMessage("user", parts)], images);
        return session.StreamAsync(prompt, new GenerationOptions { Deadline = deadline }, cancellation);
    }
}

using ParVts.Engine;
using ParVts.Engine.Generation;
using ParVts.Engine.Text;

namespace ParVts.Native.Items;

/// <summary>A conversation that is being put together, or token ids. Not for several threads while it is changed.</summary>
internal sealed class PromptItem(Engine.Generation.Engine engine, string template) : IHandled
{
    private readonly List<(string Role, List<ChatPart> Parts)> _messages = [];
    private readonly List<PromptImage> _images = [];
    private Prompt? _made;
    private bool _hasTokens;

    public static HandleKind Kind => HandleKind.Prompt;

    /// <summary>Adds a text.</summary>
    public void AddText(string role, string text) => Add(role, ChatPart.OfText(text));

    /// <summary>Adds a picture.</summary>
    public void AddImage(string role, PromptImage image)
    {
        Add(role, ChatPart.Image);
        _images.Add(image);
    }

    /// <summary>Takes token ids in place of parts.</summary>
    /// <exception cref="RequestException">An id is outside the vocabulary, or pictures and image tokens do not match.</exception>
    public void SetTokens(ReadOnlySpan<int> tokens, IReadOnlyList<PromptImage> images)
    {
        if (_messages.Count > 0)
            throw new CallException(Status.InvalidArgument, "the prompt has parts already", "make another prompt for token ids");
        _made = engine.CreatePrompt(tokens, images);
        _hasTokens = true;
    }

    /// <summary>The prompt as the model takes it.</summary>
    /// <exception cref="RequestException">It is empty, or not one that the template takes.</exception>
    public Prompt Make() => _made ??= engine.CreatePrompt(
        [.. _messages.Select(message => new ChatMessage(message.Role, message.Parts))], _images, template);

    public void Dispose()
    {
    }

    private void Add(string role, ChatPart part)
    {
        if (_hasTokens)
            throw new CallException(Status.InvalidArgument, "the prompt was given as token ids", "make another prompt for parts");
        if (role is not ("system" or "user" or "assistant"))
            throw new CallException(Status.InvalidArgument, $"there is no role '{role}'", "roles are: system, user, assistant");
        _made = null;
        if (_messages.Count == 0 || _messages[^1].Role != role)
            _messages.Add((role, []));
        _messages[^1].Parts.Add(part);
    }
}

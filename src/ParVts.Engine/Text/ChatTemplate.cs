namespace ParVts.Engine.Text;

/// <summary>A part of a message: text, or a picture. Immutable.</summary>
/// <param name="IsImage">True for a picture.</param>
/// <param name="Text">The text; empty for a picture.</param>
public sealed record ChatPart(bool IsImage, string Text)
{
    /// <summary>A picture.</summary>
    public static ChatPart Image { get; } = new(true, "");

    /// <summary>Text.</summary>
    public static ChatPart OfText(string text) => new(false, text);
}

/// <summary>A turn of a conversation.</summary>
/// <param name="Role">"system", "user" or "assistant".</param>
/// <param name="Content">Its parts, in order.</param>
public sealed record ChatMessage(string Role, IReadOnlyList<ChatPart> Content);

/// <summary>A stretch of rendered text.</summary>
/// <param name="Text">The text.</param>
/// <param name="IsUserText">True where it came from a message, false where from the template.</param>
public readonly record struct RenderedSegment(string Text, bool IsUserText);

/// <summary>
/// A chat template: the Jinja text that published checkpoints carry, run by a small interpreter of the subset that they
/// use, with limits on time and size. Immutable; any thread.
/// </summary>
public sealed class ChatTemplate
{
    private const int LongestTemplate = 1 << 20;
    private readonly string _file;
    private readonly BlockNode _body;

    private ChatTemplate(string jinja, string file)
    {
        _file = file;
        if (jinja.Length > LongestTemplate)
            throw new ModelFormatException(file, "chat_template", $"is longer than {LongestTemplate} characters");
        _body = JinjaParser.Parse(jinja, file);
    }

    /// <summary>The names that <see cref="BuiltIn"/> knows.</summary>
    public static IReadOnlyList<string> BuiltInNames { get; } = [.. BuiltInTemplates.All.Keys];

    /// <summary>Parses a checkpoint's own template.</summary>
    /// <exception cref="ModelFormatException">It uses something that is not supported.</exception>
    public static ChatTemplate Parse(string jinja, string fileNameForErrors) => new(jinja, fileNameForErrors);

    /// <summary>A template of a supported family by name.</summary>
    /// <exception cref="RequestException">There is none of that name.</exception>
    public static ChatTemplate BuiltIn(string name) => BuiltInTemplates.All.TryGetValue(name, out string? jinja)
        ? new ChatTemplate(jinja, name)
        : throw new RequestException($"there is no chat template '{name}'; there are: auto, {string.Join(", ", BuiltInNames)}");

    /// <summary>The text of a conversation.</summary>
    /// <param name="messages">The turns.</param>
    /// <param name="addGenerationPrompt">End with what makes the model answer.</param>
    /// <param name="bosToken">The begin-of-sequence token's text, for templates that write it.</param>
    /// <param name="eosToken">The end-of-sequence token's text.</param>
    /// <exception cref="RequestException">The template refuses the conversation.</exception>
    /// <exception cref="ModelFormatException">The template cannot be run.</exception>
    public string Render(
        IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true, string? bosToken = null, string? eosToken = null) =>
        Run(messages, addGenerationPrompt, bosToken, eosToken, part => part.Text);

    /// <summary>
    /// The same, cut into what the template wrote and what the messages said, so that special tokens in a user's text
    /// can be kept from counting. The segments' texts make up <see cref="Render"/>'s.
    /// </summary>
    /// <inheritdoc cref="Render"/>
    public IReadOnlyList<RenderedSegment> RenderSegments(
        IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true, string? bosToken = null, string? eosToken = null)
    {
        string whole = Render(messages, addGenerationPrompt, bosToken, eosToken);
        List<string> texts = [.. messages.SelectMany(message => message.Content).Where(part => !part.IsImage).Select(part => part.Text)];

        // Rendered once more with marks for the texts; templates that trim are found by trimming as they would.
        int next = 0;
        string marked = Run(messages, addGenerationPrompt, bosToken, eosToken, _ => Mark(next++));
        foreach (Func<string, string> form in new Func<string, string>[] { text => text, text => text.Trim() })
        {
            List<RenderedSegment> segments = Cut(marked, [.. texts.Select(form)]);
            if (string.Concat(segments.Select(segment => segment.Text)) == whole)
                return segments;
        }

        return Search(whole, texts);
    }

    private static string Mark(int index) => $"\uE0F0{(char)(0xE100 + index % 0x700)}{(char)(0xE100 + index / 0x700)}\uE0F1";

    private static List<RenderedSegment> Cut(string marked, string[] texts)
    {
        var segments = new List<RenderedSegment>();
        int last = 0;
        for (int i = marked.IndexOf('\uE0F0'); i >= 0; i = marked.IndexOf('\uE0F0', i + 1))
        {
            if (i + 3 >= marked.Length || marked[i + 3] != '\uE0F1')
                continue;
            int index = marked[i + 1] - 0xE100 + (marked[i + 2] - 0xE100) * 0x700;
            if (index < 0 || index >= texts.Length)
                continue;
            segments.Add(new RenderedSegment(marked[last..i], false));
            segments.Add(new RenderedSegment(texts[index], true));
            last = i + 4;
        }

        segments.Add(new RenderedSegment(marked[last..], false));
        segments.RemoveAll(segment => segment.Text.Length == 0);
        return segments;
    }

    // For templates that rewrite texts: each is looked for behind the one before; what is not found as it stands is
    // taken with everything up to the end, so that nothing of it can count as a special token.
    private static List<RenderedSegment> Search(string whole, List<string> texts)
    {
        var segments = new List<RenderedSegment>();
        int last = 0;
        foreach (string text in texts.Select(text => text.Trim()).Where(text => text.Length > 0))
        {
            int place = whole.IndexOf(text, last, StringComparison.Ordinal);
            if (place < 0)
            {
                segments.Add(new RenderedSegment(whole[last..], true));
                return segments;
            }

            segments.Add(new RenderedSegment(whole[last..place], false));
            segments.Add(new RenderedSegment(text, true));
            last = place + text.Length;
        }

        segments.Add(new RenderedSegment(whole[last..], false));
        return segments;
    }

    private string Run(
        IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt, string? bosToken, string? eosToken, Func<ChatPart, string> text)
    {
        var context = new JinjaContext(_file)
        {
            ["messages"] = new List<object?>(messages.Select(message => (object?)new Dictionary<string, object?>
            {
                ["role"] = message.Role,
                ["content"] = new List<object?>(message.Content.Select(part => (object?)ToValue(part, text))),
            })),
            ["add_generation_prompt"] = addGenerationPrompt,
            ["bos_token"] = bosToken ?? "",
            ["eos_token"] = eosToken ?? "",
        };
        _body.Run(context);
        return context.Output.ToString();
    }

    private static Dictionary<string, object?> ToValue(ChatPart part, Func<ChatPart, string> text) => part.IsImage
        ? new Dictionary<string, object?> { ["type"] = "image" }
        : new Dictionary<string, object?> { ["type"] = "text", ["text"] = text(part) };
}

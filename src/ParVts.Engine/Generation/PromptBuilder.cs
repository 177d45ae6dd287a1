using ParVts.Engine.Formats;
using ParVts.Engine.Text;

namespace ParVts.Engine.Generation;

/// <summary>
/// Turns conversations into token ids. Special tokens count where the template puts them and nowhere else: what a user
/// wrote stays text, so that nobody can smuggle in an image or end a turn.
/// </summary>
internal sealed class PromptBuilder
{
    private readonly Tokenizer _tokenizer;
    private readonly ChatTemplate _own;
    private readonly string? _bos;
    private readonly string? _eos;

    private PromptBuilder(Tokenizer tokenizer, ChatTemplate own, string? bos, string? eos)
    {
        _tokenizer = tokenizer;
        _own = own;
        _bos = bos;
        _eos = eos;
    }

    public static PromptBuilder Create(string directory, Tokenizer tokenizer, ModelConfig config)
    {
        TokenizerConfig settings = TokenizerConfig.Read(directory);
        ChatTemplate own = settings.ChatTemplate is string jinja
            ? ChatTemplate.Parse(jinja, directory)
            : ChatTemplate.BuiltIn(config.Family switch { _ => "llava-1.5" });
        return new PromptBuilder(tokenizer, own, settings.BosToken, settings.EosToken);
    }

    /// <summary>The ids of a conversation that waits for an answer; one image id a picture.</summary>
    public int[] Encode(IReadOnlyList<ChatMessage> messages, string template)
    {
        if (messages.All(message => message.Content.All(part => part.IsImage is false && part.Text.Length == 0)))
            throw new RequestException("the prompt is empty: give a text or an image");
        ChatTemplate chosen = template == "auto" ? _own : ChatTemplate.BuiltIn(template);
        IReadOnlyList<RenderedSegment> segments = chosen.RenderSegments(messages, true, _bos, _eos);
        string text = string.Concat(segments.Select(segment => segment.Text));
        var plain = new List<Range>();
        int length = 0;
        foreach (RenderedSegment segment in segments)
        {
            if (segment.IsUserText)
                plain.Add(length..(length + segment.Text.Length));
            length += segment.Text.Length;
        }

        // A template that writes the begin-of-sequence token itself must not get a second one.
        bool addSpecial = _bos is null || !text.StartsWith(_bos, StringComparison.Ordinal);
        return _tokenizer.Encode(text, addSpecial, plain);
    }
}

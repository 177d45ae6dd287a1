using System.Text;
using ParVts.Engine.Formats;
using ParVts.Engine.Text;

namespace ParVts.Engine.Generation;

/// <summary>
/// Turns conversations into token ids. Special tokens count where the template puts them and nowhere else: what a user
/// wrote stays text, so that nobody can smuggle in an image or end a turn.
/// </summary>
internal sealed class PromptBuilder
{
    private const string Placeholder = "<image>";

    private readonly Tokenizer _tokenizer;
    private readonly ChatTemplate _own;
    private readonly string? _bos;
    private readonly string? _eos;
    private readonly string _imageToken;

    private PromptBuilder(Tokenizer tokenizer, ChatTemplate own, string? bos, string? eos, string imageToken)
    {
        _imageToken = imageToken;
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
            : ChatTemplate.BuiltIn(DefaultTemplate(config.Family));
        string imageToken = tokenizer.IdToToken(config.ImageTokenId) ?? Placeholder;
        return new PromptBuilder(tokenizer, own, settings.BosToken, settings.EosToken, imageToken);
    }

    /// <summary>The ids of a conversation that waits for an answer; one image id a picture.</summary>
    public int[] Encode(IReadOnlyList<ChatMessage> messages, string template)
    {
        if (messages.All(message => message.Content.All(part => part.IsImage is false && part.Text.Length == 0)))
            throw new RequestException("the prompt is empty: give a text or an image");
        ChatTemplate chosen = template == "auto" ? _own : ChatTemplate.BuiltIn(template);
        var text = new StringBuilder();
        var plain = new List<Range>();
        foreach (RenderedSegment segment in chosen.RenderSegments([.. messages.Select(WithModelsToken)], true, _bos, _eos))
        {
            if (segment.IsUserText)
                AddPlain(segment, text.Length, plain);
            text.Append(segment.Text);
        }

        // A template that writes the begin-of-sequence token itself must not get a second one.
        string whole = text.ToString();
        bool addSpecial = string.IsNullOrEmpty(_bos) || !whole.StartsWith(_bos, StringComparison.Ordinal);
        return _tokenizer.Encode(whole, addSpecial, plain);
    }

    private static string DefaultTemplate(ModelFamily family) => family switch
    {
        ModelFamily.Llava => "llava-1.5",
        _ => throw new ArgumentOutOfRangeException(nameof(family), family, "the family has no default template"),
    };

    private ChatMessage WithModelsToken(ChatMessage message) => message with
    {
        Content =
        [
            .. message.Content.Select(part => part.HasPlaceholders
                ? part with { Text = part.Text.Replace(Placeholder, _imageToken, StringComparison.Ordinal) }
                : part),
        ],
    };

    // What of a user's text is nothing but text: all of it, or all but the placeholders of pictures.
    private void AddPlain(RenderedSegment segment, int start, List<Range> plain)
    {
        int from = 0;
        while (segment.HasPlaceholders)
        {
            int place = segment.Text.IndexOf(_imageToken, from, StringComparison.Ordinal);
            if (place < 0)
                break;
            plain.Add((start + from)..(start + place));
            from = place + _imageToken.Length;
        }

        plain.Add((start + from)..(start + segment.Text.Length));
    }
}

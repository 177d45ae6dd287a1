using System.Text.RegularExpressions;

namespace ParVts.Engine.Text;

/// <summary>A step that rewrites text before it is split (tokenizer.json, "normalizer"). Immutable; any thread.</summary>
internal abstract record Normalizer
{
    public abstract string Apply(string text);
}

internal sealed record NormalizerSequence(Normalizer[] Steps) : Normalizer
{
    public override string Apply(string text) => Steps.Aggregate(text, (current, step) => step.Apply(current));
}

internal sealed record PrependNormalizer(string Prefix) : Normalizer
{
    public override string Apply(string text) => text.Length == 0 ? text : Prefix + text;
}

internal sealed record ReplaceNormalizer(string Pattern, string Content) : Normalizer
{
    public override string Apply(string text) => Pattern.Length == 0 ? text : text.Replace(Pattern, Content, StringComparison.Ordinal);
}

internal sealed record RegexReplaceNormalizer(Regex Pattern, string Content) : Normalizer
{
    // The content is literal: in .NET's replacement patterns a dollar sign would mean a group.
    public override string Apply(string text) => Pattern.Replace(text, _ => Content);
}

internal sealed record UnicodeNormalizer(bool Compose, bool Compatibility) : Normalizer
{
    public override string Apply(string text) => UnicodeNormalization.Normalize(text, Compose, Compatibility);
}

internal sealed record LowercaseNormalizer : Normalizer
{
    public override string Apply(string text) => text.ToLowerInvariant();
}

internal sealed record StripNormalizer(bool Left, bool Right) : Normalizer
{
    public override string Apply(string text)
    {
        if (Left)
            text = text.TrimStart();
        return Right ? text.TrimEnd() : text;
    }
}

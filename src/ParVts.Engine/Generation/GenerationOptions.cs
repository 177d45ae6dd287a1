namespace ParVts.Engine.Generation;

/// <summary>How to choose tokens, and when to stop. Immutable; any thread.</summary>
public sealed record GenerationOptions
{
    /// <summary>New tokens at most; the model's context may end sooner.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>0 chooses the most probable token; above 0, logits are divided by it and sampled.</summary>
    public float Temperature { get; init; }

    /// <summary>Sample among the k most probable; 0 for all.</summary>
    public int TopK { get; init; }

    /// <summary>Sample among the fewest tokens that hold this share of the probability; 1 for all.</summary>
    public float TopP { get; init; } = 1f;

    /// <summary>Leave out what is less probable than this share of the most probable token's probability.</summary>
    public float MinP { get; init; }

    /// <summary>Divides positive logits of tokens that occurred, and multiplies negative ones; 1 for none (arXiv 1909.05858).</summary>
    public float RepetitionPenalty { get; init; } = 1f;

    /// <summary>The same seed gives the same text.</summary>
    public ulong Seed { get; init; }

    /// <summary>Texts that end the answer; they are not part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Go on after end-of-sequence tokens.</summary>
    public bool IgnoreEndOfSequence { get; init; }

    /// <summary>Hand out the logits of the prompt's last row (<see cref="GenerationResult.PromptLogits"/>).</summary>
    public bool KeepLogits { get; init; }

    /// <summary>Time after which the answer is cut off, as if cancelled.</summary>
    public TimeSpan? Deadline { get; init; }

    /// <summary>Refuses values that are out of range; every call that takes options does so, too.</summary>
    /// <exception cref="RequestException">One is; the message says what is allowed.</exception>
    public void Validate()
    {
        Require(MaxTokens >= 1, $"the number of new tokens is {MaxTokens}; it must be at least 1");
        Require(Temperature >= 0 && float.IsFinite(Temperature), $"the temperature is {Temperature}; it must be 0 or more");
        Require(TopK >= 0, $"top-k is {TopK}; it must be 0 (all) or more");
        Require(TopP is > 0 and <= 1, $"top-p is {TopP}; it must be above 0 and at most 1");
        Require(MinP is >= 0 and <= 1, $"min-p is {MinP}; it must be from 0 to 1");
        Require(
            RepetitionPenalty > 0 && float.IsFinite(RepetitionPenalty),
            $"the repetition penalty is {RepetitionPenalty}; it must be above 0 (1 for none)");
        Require(Stop.All(text => text.Length > 0), "a stop text is empty");
        Require(Deadline is null || Deadline > TimeSpan.Zero, "the deadline must lie in the future");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
            throw new RequestException(message);
    }
}

/// <summary>Why an answer ended.</summary>
public enum FinishReason
{
    /// <summary>An end-of-sequence token or a stop text.</summary>
    Stop,

    /// <summary>The limit of new tokens, or the end of the model's context.</summary>
    Length,

    /// <summary>Cancellation, the deadline, or the session's disposal.</summary>
    Cancelled,
}

/// <summary>Receives pieces of an answer as they become certain: whole characters only. The span is valid during the call.</summary>
public delegate void TextSink(ReadOnlySpan<char> text);

/// <summary>What a session is doing: <paramref name="Done"/> of <paramref name="Total"/> steps of <paramref name="Phase"/>.</summary>
/// <param name="Phase">"vision" (pictures) or "prefill" (layers).</param>
/// <param name="Done">Steps done.</param>
/// <param name="Total">Steps in all.</param>
public readonly record struct GenerationProgress(string Phase, int Done, int Total);

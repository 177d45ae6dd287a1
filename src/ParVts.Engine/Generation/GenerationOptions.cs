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

    /// <summary>
    /// Hand out each new token's log-probability and those of the k most probable ones (<see cref="GenerationResult.LogProbabilities"/>):
    /// 0 for the chosen token's alone, at most <see cref="MostLogProbabilities"/>; null for none.
    /// </summary>
    public int? LogProbabilities { get; init; }

    /// <summary>
    /// Hand out the rows that enter these decoder layers in the prefill, 0-based; the number of layers stands for what leaves the last
    /// one (<see cref="GenerationResult.HiddenRows"/>). On a GPU the prefill then waits for the host at each layer.
    /// </summary>
    public IReadOnlyList<int> HiddenLayers { get; init; } = [];

    /// <summary>Time after which the answer is cut off, as if cancelled: looked at between tokens, and between the layers of the prefill.</summary>
    public TimeSpan? Deadline { get; init; }

    /// <summary>The most that <see cref="LogProbabilities"/> may be.</summary>
    public const int MostLogProbabilities = 100;

    // What a timer can wait.
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(49);

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
        Require(
            LogProbabilities is null or (>= 0 and <= MostLogProbabilities),
            $"log-probabilities of the {LogProbabilities} most probable tokens are asked for; it must be 0 (the chosen one's alone) to {MostLogProbabilities}");
        Require(Deadline is null || Deadline > TimeSpan.Zero, "the deadline must lie in the future");
        Require(Deadline is null || Deadline <= s_longest, $"the deadline is {Deadline}; it must be at most {s_longest.TotalDays} days, or null for none");
    }

    // What depends on the model.
    internal void Validate(int layers, int vocabulary)
    {
        Validate();
        Require(
            HiddenLayers.All(layer => layer >= 0 && layer <= layers),
            $"the rows that enter layers {string.Join(", ", HiddenLayers)} are asked for; the model has layers 0 to {layers - 1}, and {layers} stands for what leaves the last");
        Require(
            LogProbabilities is null || LogProbabilities <= vocabulary,
            $"log-probabilities of the {LogProbabilities} most probable tokens are asked for; the vocabulary has {vocabulary}");
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

/// <summary>
/// Receives the raw logits of a step, [vocabulary] float32, before repetition penalty, temperature and cuts. The span is valid during the
/// call.
/// </summary>
/// <param name="step">The new token that will be chosen of them, from 0.</param>
/// <param name="logits">The logits.</param>
public delegate void LogitsSink(int step, ReadOnlySpan<float> logits);

/// <summary>What a session is doing: <paramref name="Done"/> of <paramref name="Total"/> steps of <paramref name="Phase"/>.</summary>
/// <param name="Phase">"vision" (pictures) or "prefill" (layers).</param>
/// <param name="Done">Steps done.</param>
/// <param name="Total">Steps in all.</param>
public readonly record struct GenerationProgress(string Phase, int Done, int Total);

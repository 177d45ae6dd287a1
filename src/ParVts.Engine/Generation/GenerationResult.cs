using ParVts.Engine.Compute;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Generation;

/// <summary>Wall-clock times of one answer, in milliseconds.</summary>
/// <param name="Vision">Tower and projector.</param>
/// <param name="Prefill">The decoder over the prompt, up to the first logits.</param>
/// <param name="FirstToken">From the call to the first token.</param>
/// <param name="DecodePerToken">Mean of a step after the first token; 0 where there was none.</param>
/// <param name="Total">The whole call.</param>
public readonly record struct GenerationTimes(
    double Vision, double Prefill, double FirstToken, double DecodePerToken, double Total);

/// <summary>An answer and what it took.</summary>
public sealed record GenerationResult
{
    /// <summary>The answer, without special tokens and stop texts.</summary>
    public required string Text { get; init; }

    /// <summary>The new tokens, an end-of-sequence token included.</summary>
    public required IReadOnlyList<int> Tokens { get; init; }

    /// <summary>Why it ended.</summary>
    public required FinishReason Finish { get; init; }

    /// <summary>Rows of the prompt.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Of these, visual rows.</summary>
    public required int VisualTokens { get; init; }

    /// <summary>Of the prompt's rows, those that an earlier turn had left in the cache.</summary>
    public required int CachedTokens { get; init; }

    /// <summary>Times.</summary>
    public required GenerationTimes Times { get; init; }

    /// <summary>The memory plan of this call.</summary>
    public required MemoryPlan Memory { get; init; }

    /// <summary>[vocabulary] logits of the prompt's last row, where <see cref="GenerationOptions.KeepLogits"/> asked for them.</summary>
    public IReadOnlyList<float>? PromptLogits { get; init; }

    /// <summary>Of each new token, where <see cref="GenerationOptions.LogProbabilities"/> asked for them.</summary>
    public LogProbabilities? LogProbabilities { get; init; }

    /// <summary>
    /// The rows that entered the layers of <see cref="GenerationOptions.HiddenLayers"/>, layers ascending; of a prefill that was cancelled,
    /// those that it reached.
    /// </summary>
    public IReadOnlyList<HiddenRows> HiddenRows { get; init; } = [];

    /// <summary>What the policy did, layer by layer, in the prefill; the session's own object, overwritten by its next call.</summary>
    public required ScheduleTrace Trace { get; init; }
}

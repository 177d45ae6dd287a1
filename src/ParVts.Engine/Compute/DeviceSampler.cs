namespace ParVts.Engine.Compute;

/// <summary>How a token is chosen from logits; the order is that of transformers' processors. Immutable; any thread.</summary>
/// <param name="Temperature">0 chooses the most probable token.</param>
/// <param name="TopK">Among the k most probable; 0 for all.</param>
/// <param name="TopP">Among the fewest that hold this share; 1 for all.</param>
/// <param name="MinP">Not what is less probable than this share of the most probable token's probability.</param>
/// <param name="RepetitionPenalty">1 for none.</param>
public readonly record struct SamplingRules(float Temperature, int TopK, float TopP, float MinP, float RepetitionPenalty);

/// <summary>
/// Chooses tokens where the logits are, so that a step needs no word from the host: the same choices, id for id, as the CPU's
/// for the same seed. Disposed before its device. One caller at a time.
/// </summary>
public abstract class DeviceSampler : IDisposable
{
    /// <summary>[1, 1] I32: the token that was chosen last; always an id that can be looked up.</summary>
    public abstract Tensor Token { get; }

    /// <summary>Changes where what was recorded with this sampler is of no use any more.</summary>
    public abstract int Layout { get; }

    /// <summary>Begins an answer.</summary>
    /// <param name="rules">How tokens are chosen.</param>
    /// <param name="seed">The same seed gives the same choices.</param>
    /// <param name="most">Tokens that are chosen, at most.</param>
    /// <param name="stopIds">Ids after which nothing more is chosen.</param>
    /// <param name="seen">Ids that the repetition penalty counts as seen.</param>
    public abstract void Begin(in SamplingRules rules, ulong seed, int most, ReadOnlySpan<int> stopIds, ReadOnlySpan<int> seen);

    /// <summary>Queues a choice; may be recorded.</summary>
    /// <param name="logits">[1, vocabulary] F32.</param>
    public abstract void Choose(in Tensor logits);

    /// <summary>Waits for the choice queued last: its id, or −1 where no logit is a number; and whether one was none so far.</summary>
    public abstract (int Token, bool SawNaN) Read();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees its memory.</summary>
    protected abstract void Dispose(bool disposing);
}

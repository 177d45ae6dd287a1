namespace ParVts.Engine.Compute;

/// <summary>
/// What a queue's operations did, counted where they did it. Grows until read and subtracted; one caller at a time, as
/// the queue itself.
/// </summary>
public sealed class OperationCounters
{
    private long _attentionFlops;

    /// <summary>Floating-point operations of matrix products: 2 a multiply-add.</summary>
    public long MatMulFlops { get; internal set; }

    /// <summary>
    /// Floating-point operations of attention over the query-key pairs that were visible (scores and values, 2 a
    /// multiply-add each; values that a rule leaves out included), counted tile by tile after masking.
    /// </summary>
    public long AttentionFlops => Interlocked.Read(ref _attentionFlops);

    /// <summary>Both together.</summary>
    public long Flops => MatMulFlops + AttentionFlops;

    internal ref long AttentionFlopsReference => ref _attentionFlops;
}

using System.Threading.Channels;

namespace ParVts.Engine.Generation;

/// <summary>
/// An answer that is pulled piece by piece, whole characters only (<see cref="Session.StreamAsync"/>). The work begins with the first pull, on
/// a thread of its own, and waits where it is some pieces ahead of who pulls. It serves one enumeration; leaving that early, by
/// <c>break</c> or an exception, ends the work, and the session is free for its next call when the enumeration has ended.
/// <para>
/// A cancelled answer ends as <see cref="Session.Generate"/> ends it: without an exception, and <see cref="Result"/> says so. What else
/// goes wrong is thrown where the next piece is awaited.
/// </para>
/// </summary>
public sealed class AnswerStream : IAsyncEnumerable<string>
{
    // So many pieces may lie here before the computation waits.
    private const int Ahead = 16;

    private readonly Session _session;
    private readonly Prompt _prompt;
    private readonly GenerationOptions? _options;
    private readonly CancellationToken _cancellation;
    private GenerationResult? _result;
    private int _begun;

    internal AnswerStream(Session session, Prompt prompt, GenerationOptions? options, CancellationToken cancellation)
    {
        _session = session;
        _prompt = prompt;
        _options = options;
        _cancellation = cancellation;
    }

    /// <summary>The whole answer and what it took; there once the enumeration has ended, also where it was left early.</summary>
    /// <exception cref="InvalidOperationException">It has not ended yet, or it failed.</exception>
    public GenerationResult Result =>
        Volatile.Read(ref _result) ?? throw new InvalidOperationException("there is no result: the answer was not enumerated to its end, or it failed");

    /// <summary>Begins the work, and hands out its pieces.</summary>
    /// <param name="cancellationToken">Ends the answer, beside the token that <see cref="Session.StreamAsync"/> was given.</param>
    /// <exception cref="InvalidOperationException">It was enumerated already.</exception>
    public async IAsyncEnumerator<string> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Exchange(ref _begun, 1) != 0)
            throw new InvalidOperationException("an answer is enumerated once; ask again for another");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_cancellation, cancellationToken);
        Channel<string> pieces = Channel.CreateBounded<string>(new BoundedChannelOptions(Ahead) { SingleReader = true, SingleWriter = true });
        Task run = Task.Factory.StartNew(
            () => Run(pieces.Writer, stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        try
        {
            await foreach (string piece in pieces.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                yield return piece;
            await run.ConfigureAwait(false);
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Run(ChannelWriter<string> pieces, CancellationToken cancellation)
    {
        try
        {
            Volatile.Write(ref _result, _session.Answer(_prompt, _options, stop => piece => Offer(pieces, new string(piece), stop), cancellation));
        }
        finally
        {
            pieces.Complete();
        }
    }

    // Waits for room no longer than the answer is wanted: neither deadline nor disposal of the session may depend on who pulls.
    private static void Offer(ChannelWriter<string> pieces, string piece, CancellationToken stop)
    {
        if (pieces.TryWrite(piece))
            return;
        try
        {
            pieces.WriteAsync(piece, stop).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // The computation looks at the token itself; nobody waits for this piece.
        }
    }
}

using System.Threading.Channels;
using ParVts.Engine.Generation;

namespace ParVts.Native.Items;

/// <summary>
/// An answer that is pulled: computed on a thread of its own, which waits where nobody pulls. One puller at a time; closing comes from any
/// thread.
/// </summary>
internal sealed class StreamItem : IHandled
{
    // So many pieces may lie here before the computation waits.
    private const int Ahead = 16;

    private readonly Channel<string> _pieces = Channel.CreateBounded<string>(new BoundedChannelOptions(Ahead) { SingleReader = true, SingleWriter = true });
    private readonly CancellationTokenSource _closed = new();
    private readonly SessionItem _session;
    private readonly Task<ResultItem> _run;
    private string? _waiting;

    public StreamItem(SessionItem session, Prompt prompt, GenerationOptions options)
    {
        _session = session;
        _run = Task.Factory.StartNew(
            () =>
            {
                try
                {
                    return session.Generate(prompt, options, Offer);
                }
                finally
                {
                    _pieces.Writer.Complete();
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
    }

    public static HandleKind Kind => HandleKind.Stream;

    /// <summary>The next piece, which stays the next until <see cref="Take"/>; empty at the end. Waits.</summary>
    public string Peek()
    {
        while (_waiting is null)
        {
            if (_pieces.Reader.TryRead(out _waiting))
                break;
            if (!_pieces.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
                return "";
        }

        return _waiting;
    }

    /// <summary>The piece was handed out.</summary>
    public void Take() => _waiting = null;

    /// <summary>The whole answer; waits for its end, pieces that nobody pulled are dropped.</summary>
    public ResultItem Result()
    {
        while (_pieces.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
            _pieces.Reader.TryRead(out _);
        return _run.GetAwaiter().GetResult();
    }

    public void Dispose()
    {
        _closed.Cancel();
        if (!_run.IsCompleted)
            _session.Cancel();
        ((IAsyncResult)_run).AsyncWaitHandle.WaitOne();
        _ = _run.Exception;
        _closed.Dispose();
    }

    // True where nobody will pull any more.
    private bool Offer(string piece)
    {
        try
        {
            _pieces.Writer.WriteAsync(piece, _closed.Token).AsTask().GetAwaiter().GetResult();
            return false;
        }
        catch (OperationCanceledException)
        {
            return true;
        }
    }
}

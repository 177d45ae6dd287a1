using System.Runtime.ExceptionServices;
using ParVts.Engine.Generation;

namespace ParVts.Native.Items;

/// <summary>
/// An answer that is pulled: computed on a thread of its own, which waits where nobody pulls. One puller at a time; closing comes from any
/// thread. Nothing here runs on the runtime's thread pool: what goes wrong there ends the process.
/// </summary>
internal sealed class StreamItem : IHandled
{
    // So many pieces may lie here before the computation waits.
    private const int Ahead = 16;

    private readonly object _gate = new();
    private readonly Queue<string> _pieces = new(Ahead);
    private readonly SessionItem _session;
    private readonly Thread _thread;
    private ResultItem? _result;
    private Exception? _failure;
    private bool _ended;
    private bool _closed;

    public StreamItem(SessionItem session, Prompt prompt, GenerationOptions options)
    {
        _session = session;
        _thread = new Thread(() => Run(prompt, options)) { IsBackground = true, Name = "parvts stream" };
        _thread.Start();
    }

    public static HandleKind Kind => HandleKind.Stream;

    /// <summary>The computation waits, or will with its next piece, for somebody to pull.</summary>
    public bool IsFull
    {
        get
        {
            lock (_gate)
                return _pieces.Count >= Ahead;
        }
    }

    /// <summary>The next piece, which stays the next until <see cref="Take"/>; empty at the end. Waits.</summary>
    public string Peek()
    {
        lock (_gate)
        {
            while (_pieces.Count == 0 && !_ended)
                Monitor.Wait(_gate);
            return _pieces.Count > 0 ? _pieces.Peek() : "";
        }
    }

    /// <summary>The piece was handed out.</summary>
    public void Take()
    {
        lock (_gate)
        {
            _pieces.TryDequeue(out _);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>The whole answer; waits for its end, pieces that nobody pulled are dropped.</summary>
    public ResultItem Result()
    {
        lock (_gate)
        {
            while (!_ended)
            {
                _pieces.Clear();
                Monitor.PulseAll(_gate);
                Monitor.Wait(_gate);
            }

            _pieces.Clear();
            if (_failure is not null)
                ExceptionDispatchInfo.Throw(_failure);
            return _result!;
        }
    }

    public void Dispose()
    {
        bool runs;
        lock (_gate)
        {
            _closed = true;
            runs = !_ended;
            Monitor.PulseAll(_gate);
        }

        if (runs)
            _session.Cancel();
        _thread.Join();
    }

    private void Run(Prompt prompt, GenerationOptions options)
    {
        ResultItem? result = null;
        Exception? failure = null;
        try
        {
            result = _session.Generate(prompt, options, Offer);
        }
        catch (Exception error)
        {
            failure = error;
        }

        lock (_gate)
        {
            _result = result;
            _failure = failure;
            _ended = true;
            Monitor.PulseAll(_gate);
        }
    }

    // True where nobody will pull any more. Waits for room no longer than the session goes on.
    private bool Offer(string piece, CancellationToken stop)
    {
        using CancellationTokenRegistration wake = stop.UnsafeRegister(static item => ((StreamItem)item!).Wake(), this);
        lock (_gate)
        {
            while (_pieces.Count >= Ahead && !_closed && !stop.IsCancellationRequested)
                Monitor.Wait(_gate);
            if (!_closed)
                _pieces.Enqueue(piece);
            Monitor.PulseAll(_gate);
            return _closed;
        }
    }

    private void Wake()
    {
        lock (_gate)
            Monitor.PulseAll(_gate);
    }
}

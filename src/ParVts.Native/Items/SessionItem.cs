using System.Text.Json;
using ParVts.Engine;
using ParVts.Engine.Generation;

namespace ParVts.Native.Items;

/// <summary>A KV cache and the call that is under way in it. <see cref="Cancel"/> and closing come from any thread; else one call at a time.</summary>
internal sealed class SessionItem(Session session) : IHandled
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _closing = new();
    private CancellationTokenSource? _running;

    public static HandleKind Kind => HandleKind.Session;

    /// <summary>Answers a prompt.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="options">How.</param>
    /// <param name="onText">Receives the pieces, and what says that nobody wants more of them; true cancels.</param>
    public ResultItem Generate(Prompt prompt, GenerationOptions options, Func<string, CancellationToken, bool>? onText) => Use(stop =>
    {
        TextSink? sink = onText is null ? null : piece =>
        {
            if (onText(new string(piece), stop.Token))
                stop.Cancel();
        };
        GenerationResult result = session.Generate(prompt, options, sink, stop.Token);
        return new ResultItem(result, Caller.Json(json => WriteResult(json, result)));
    });

    /// <summary>Does something that nothing else may interrupt.</summary>
    public void Change(Action<Session> change) => Use(_ =>
    {
        change(session);
        return true;
    });

    /// <summary>Asks for something while no call is under way.</summary>
    public T Read<T>(Func<Session, T> read) => Use(_ => read(session));

    /// <summary>Ends the call that is under way, if there is one.</summary>
    public void Cancel()
    {
        lock (_gate)
            _running?.Cancel();
    }

    // Whoever waits in the middle of an answer is woken first: the session waits for that answer's end.
    public void Dispose()
    {
        _closing.Cancel();
        session.Dispose();
    }

    private T Use<T>(Func<CancellationTokenSource, T> use)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        lock (_gate)
        {
            if (_running is not null)
                throw new CallException(Status.Busy, "the session is in another call", "wait for it, cancel it, or open another session");
            _running = stop;
        }

        try
        {
            return use(stop);
        }
        catch (InvalidOperationException taken) when (_closing.IsCancellationRequested)
        {
            // Whoever closes the session came first, and has not gone yet.
            throw new ObjectDisposedException("the session is being closed", taken);
        }
        finally
        {
            lock (_gate)
                _running = null;
        }
    }

    private void WriteResult(Utf8JsonWriter json, GenerationResult result)
    {
        ResultJson.WriteAnswer(json, result);
        json.WriteString("policy", session.Policy);
        json.WriteStartObject("times_ms");
        ResultJson.WriteTimes(json, result.Times);
        json.WriteEndObject();
        json.WriteStartObject("memory_bytes");
        json.WriteNumber("kv", session.KeyValueBytes);
        json.WriteNumber("workspace", result.Memory.Workspace);
        json.WriteNumber("planned", result.Memory.Total);
        json.WriteEndObject();
        ResultJson.WriteTrace(json, result.Trace);
    }
}

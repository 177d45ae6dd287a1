using System.Diagnostics;

namespace ParVts.GpuSim.Driver;

// Streams, events and waiting. Streams that are not independent of the default stream share its queue: the driver may run them so.
public sealed unsafe partial class SimDriver
{
    private const uint NonBlocking = 1;
    private const uint NoTiming = 2;

    // CU_STREAM_LEGACY: the default stream by its other name.
    private const nint LegacyStream = 1;

    private int CreateStream(nint* stream, uint flags)
    {
        WorkQueue queue = _primary!.Legacy;
        if ((flags & NonBlocking) != 0)
            _queues.Add(queue = new WorkQueue());
        *stream = Make(new SimStream(queue));
        return DriverCode.Success;
    }

    // What is queued will still be done.
    private int DestroyStream(nint handle)
    {
        SimStream stream = Get<SimStream>(handle);
        if (stream.Capture is not null)
            stream.Capture.IsInvalid = true;
        _objects.Remove(handle);
        if (stream.Queue.Work.Count == 0 && stream.Queue != _primary!.Legacy)
            _queues.Remove(stream.Queue);
        return DriverCode.Success;
    }

    private int SynchronizeStream(nint handle)
    {
        WorkQueue queue = QueueOf(handle);
        RefuseCaptured(handle, "a wait for a stream that is being captured");
        return Wait("cuStreamSynchronize", () => queue.Run());
    }

    private int SynchronizeContext() => RefusedByCapture("cuCtxSynchronize") is int code and not 0 ? code : Wait("cuCtxSynchronize", RunAll);

    private int CreateEvent(nint* mark, uint flags)
    {
        *mark = Make(new SimEvent((flags & NoTiming) == 0));
        return DriverCode.Success;
    }

    private int RecordEvent(nint mark, nint stream)
    {
        SimEvent recorded = Get<SimEvent>(mark);
        WorkQueue queue = QueueOf(stream);
        recorded.Capture = CaptureOf(stream);
        if (recorded.Capture is not null)
        {
            // In a capture an event only orders; it does not happen when the graph runs.
            recorded.Record = null;
            return DriverCode.Success;
        }

        var record = new EventRecord(queue);
        recorded.Record = record;
        Submit(stream, () =>
        {
            record.IsDone = true;
            record.Timestamp = Stopwatch.GetTimestamp();
        });
        return DriverCode.Success;
    }

    private int WaitInStream(nint handle, nint mark)
    {
        SimEvent awaited = Get<SimEvent>(mark);
        SimCapture? capture = CaptureOf(handle);
        if (awaited.Capture is SimCapture source)
        {
            if (source.HasEnded)
                throw new DriverRefusal(DriverCode.CapturedEvent, "a wait for an event that was last recorded in a capture");
            if (capture is not null && capture != source)
                return Invalidate(capture, DriverCode.CaptureMerge, "a wait for an event of another capture");

            if (handle is 0 or LegacyStream)
                return Invalidate(source, DriverCode.CaptureImplicit, "the default stream waits for an event of a capture");

            // The stream joins the capture. Its work is put behind all that is recorded so far, which no order contradicts.
            Get<SimStream>(handle).Capture = source;
            return DriverCode.Success;
        }

        if (capture is not null && awaited.Record is not null)
            return Invalidate(capture, DriverCode.CaptureIsolation, "a captured stream waits for an event outside its capture");
        if (awaited.Record is EventRecord record)
            Submit(handle, () => record.Queue.Run(record));
        return DriverCode.Success;
    }

    private int SynchronizeEvent(nint mark)
    {
        SimEvent awaited = Get<SimEvent>(mark);
        if (awaited.Capture is not null)
            return Invalidate(awaited.Capture, DriverCode.CapturedEvent, "a wait of the host for an event that was recorded in a capture");
        EventRecord? record = awaited.Record;
        return Wait("cuEventSynchronize", () => record?.Queue.Run(record));
    }

    private int ElapsedTime(float* milliseconds, nint from, nint to)
    {
        SimEvent first = Get<SimEvent>(from);
        SimEvent second = Get<SimEvent>(to);
        if (!first.TakesTime || !second.TakesTime || first.Record is null || second.Record is null)
            throw new DriverRefusal(DriverCode.InvalidHandle, "the time between events that were not recorded, or take no time");
        if (!first.Record.IsDone || !second.Record.IsDone)
            throw new DriverRefusal(DriverCode.NotReady, "the time between events that have not happened yet");
        *milliseconds = (float)Stopwatch.GetElapsedTime(first.Record.Timestamp, second.Record.Timestamp).TotalMilliseconds;
        return DriverCode.Success;
    }

    /// <summary>The queue of a stream; 0 is the default stream.</summary>
    private WorkQueue QueueOf(nint stream) => stream is 0 or LegacyStream ? _primary!.Legacy : Get<SimStream>(stream).Queue;

    private SimCapture? CaptureOf(nint stream) => stream is 0 or LegacyStream ? null : Get<SimStream>(stream).Capture;

    /// <summary>Puts work into a stream, or into what captures it.</summary>
    internal void Submit(nint stream, Action work)
    {
        if (CaptureOf(stream) is SimCapture capture)
            capture.Work.Add(work);
        else
            QueueOf(stream).Work.Enqueue(work);
    }

    private void RunAll()
    {
        foreach (WorkQueue queue in _queues)
            queue.Run();
    }

    /// <summary>Does what the host waits for. A fault in it loses the context.</summary>
    private int Wait(string call, Action work)
    {
        _counters.Wait(call);
        try
        {
            work();
            return DriverCode.Success;
        }
        catch (SimFaultException fault)
        {
            _faults.Add(fault);
            foreach (WorkQueue queue in _queues)
                queue.Work.Clear();
            return _primary!.Lost = DriverCode.Of(fault.Kind);
        }
    }
}

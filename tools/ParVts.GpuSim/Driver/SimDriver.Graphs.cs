namespace ParVts.GpuSim.Driver;

// Captures and graphs. A graph is the list of what was submitted, in the order of submission.
public sealed unsafe partial class SimDriver
{
    private int BeginCapture(nint handle, int mode)
    {
        SimStream stream = Get<SimStream>(handle);
        if (mode is not (SimCapture.Global or SimCapture.ThreadLocal or SimCapture.Relaxed))
            throw new DriverRefusal(DriverCode.InvalidValue, $"capture mode {mode}");
        if (stream.Capture is not null)
            throw new DriverRefusal(DriverCode.IllegalState, "the stream is being captured already");
        stream.Capture = new SimCapture(stream, mode);
        _captures.Add(stream.Capture);
        return DriverCode.Success;
    }

    private int EndCapture(nint handle, nint* graph)
    {
        *graph = 0;
        SimCapture capture = CaptureOf(handle) ?? throw new DriverRefusal(DriverCode.IllegalState, "the stream is not being captured");
        if (capture.Origin.Handle != handle)
            return Invalidate(capture, DriverCode.CaptureUnmatched, "a capture is ended by the stream that began it");
        if (capture.Mode != SimCapture.Relaxed && capture.Thread != Environment.CurrentManagedThreadId)
            throw new DriverRefusal(DriverCode.CaptureWrongThread, "a capture is ended by the thread that began it");
        capture.HasEnded = true;
        _captures.Remove(capture);
        foreach (SimStream stream in _objects.Values.OfType<SimStream>().Where(stream => stream.Capture == capture))
            stream.Capture = null;
        if (capture.IsInvalid)
            return DriverCode.CaptureInvalidated;
        *graph = Make(new SimGraph(capture.Work));
        return DriverCode.Success;
    }

    private int Instantiate(nint* executable, nint graph)
    {
        *executable = Make(new SimExecutableGraph(Get<SimGraph>(graph).Work));
        return DriverCode.Success;
    }

    private int LaunchGraph(nint executable, nint stream)
    {
        IReadOnlyList<Action> work = Get<SimExecutableGraph>(executable).Work;
        Submit(stream, () =>
        {
            foreach (Action one in work)
                one();
        });
        _counters.GraphLaunches++;
        return DriverCode.Success;
    }

    /// <summary>Calls that may wait for the device, or change its memory, spoil a capture unless it is relaxed or another thread's own.</summary>
    private int RefusedByCapture(string call)
    {
        SimCapture? spoiled = _captures.Find(capture =>
            capture.Mode == SimCapture.Global || (capture.Mode == SimCapture.ThreadLocal && capture.Thread == Environment.CurrentManagedThreadId));
        return spoiled is null ? DriverCode.Success : Invalidate(spoiled, DriverCode.CaptureUnsupported, $"{call} during a capture");
    }

    private void RefuseCaptured(nint stream, string what)
    {
        if (CaptureOf(stream) is SimCapture capture)
            Invalidate(capture, DriverCode.CaptureUnsupported, what);
    }

    private static int Invalidate(SimCapture capture, int code, string misuse)
    {
        capture.IsInvalid = true;
        throw new DriverRefusal(code, misuse);
    }
}

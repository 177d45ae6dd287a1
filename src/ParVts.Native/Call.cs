namespace ParVts.Native;

/// <summary>
/// The frame of every call: nothing that is thrown leaves it, and whoever asked is told what went wrong. Any thread.
/// </summary>
internal static unsafe class Call
{
    private static int s_process;

    /// <summary>Runs a call.</summary>
    /// <param name="error">Where to say what went wrong, or null.</param>
    /// <param name="body">The call.</param>
    public static int Run(ErrorInfo* error, Action body) => Run(error, body, static run => run());

    /// <summary>The same without a closure, for calls that may not allocate.</summary>
    /// <param name="error">Where to say what went wrong, or null.</param>
    /// <param name="state">What the call works on.</param>
    /// <param name="body">The call.</param>
    public static int Run<T>(ErrorInfo* error, in T state, Action<T> body)
    {
        if (error != null && !ErrorInfo.IsKnown(error))
            return (int)Status.InvalidArgument;
        try
        {
            RequireSameProcess();
            body(state);
            if (error != null)
                error->Status = (int)Status.Ok;
            return (int)Status.Ok;
        }
        catch (Exception failure)
        {
            return Fail(error, failure);
        }
    }

    /// <summary>Refuses a pointer that must not be null.</summary>
    public static void Require(void* pointer, string name)
    {
        if (pointer == null)
            throw new CallException(Status.InvalidArgument, $"{name} is NULL");
    }

    private static int Fail(ErrorInfo* error, Exception failure)
    {
        Status status = Status.Internal;
        try
        {
            status = Failures.StatusOf(failure);
            if (error != null)
                ErrorInfo.Fill(error, status, Failures.MessageOf(failure), Failures.HintOf(failure));
        }
        catch (OutOfMemoryException)
        {
            // Not even the message could be made.
            status = Status.NoMemory;
            if (error != null)
                error->Status = (int)status;
        }

        return (int)status;
    }

    // A child of fork has the memory of its parent, but none of its threads: a lock may be held for ever there.
    private static void RequireSameProcess()
    {
        int now = Environment.ProcessId;
        int first = Interlocked.CompareExchange(ref s_process, now, 0);
        if (first != 0 && first != now)
        {
            throw new CallException(
                Status.Forked, $"the process was forked after the library was first used (by process {first})",
                "use the library in one process only, or begin the child with exec");
        }
    }
}

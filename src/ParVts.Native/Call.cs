namespace ParVts.Native;

/// <summary>
/// The frame of every call: nothing that is thrown leaves it, and whoever asked is told what went wrong. Any thread. A call of the table
/// begins with <c>try</c>, and holds no lambda that captures its parameters: the compiler would make the closure before the
/// <c>try</c>, and where there is no memory for it, nobody would catch that.
/// </summary>
internal static unsafe class Call
{
    private static int s_process;

    /// <summary>The beginning.</summary>
    /// <exception cref="CallException">The error object or the process is none that can be served.</exception>
    public static void Begin(ErrorInfo* error)
    {
        if (!IsUsable(error))
            throw new CallException(Status.InvalidArgument, "struct_size of pv_error is too small");
        RequireSameProcess();
    }

    /// <summary>The end of a call that succeeded.</summary>
    public static int Done(ErrorInfo* error)
    {
        if (error != null)
            error->Status = (int)Status.Ok;
        return (int)Status.Ok;
    }

    /// <summary>Refuses a pointer that must not be null.</summary>
    public static void Require(void* pointer, string name)
    {
        if (pointer == null)
            throw new CallException(Status.InvalidArgument, $"{name} is NULL");
    }

    /// <summary>The end of a call that failed: says why, as far as there is memory to say it.</summary>
    public static int Fail(ErrorInfo* error, Exception failure)
    {
        if (!IsUsable(error))
            return (int)Status.InvalidArgument;
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

    private static bool IsUsable(ErrorInfo* error) => error == null || ErrorInfo.IsKnown(error);

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

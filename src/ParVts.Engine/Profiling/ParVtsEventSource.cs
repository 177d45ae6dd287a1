using System.Diagnostics.Tracing;

namespace ParVts.Engine.Profiling;

/// <summary>
/// The engine's ranges as events, for dotnet-trace, PerfView and whoever listens in the process; on every device. Ranges nest on a
/// thread: a stop belongs to the thread's last start.
/// </summary>
[EventSource(Name = ProfileRanges.Domain)]
internal sealed class ParVtsEventSource : EventSource
{
    private const int Start = 1;
    private const int Stop = 2;

    private ParVtsEventSource()
    {
    }

    /// <summary>The one there is.</summary>
    public static ParVtsEventSource Log { get; } = new();

    /// <summary>A range begins.</summary>
    /// <param name="name">"prefill", "layer 3 fuse", …</param>
    /// <param name="count">Rows or tokens.</param>
    [Event(Start, Opcode = EventOpcode.Start, ActivityOptions = EventActivityOptions.Disable)]
    public void RangeStart(string name, long count)
    {
        if (IsEnabled())
            WriteEvent(Start, name, count);
    }

    /// <summary>It ends.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="count">Rows or tokens.</param>
    [Event(Stop, Opcode = EventOpcode.Stop, ActivityOptions = EventActivityOptions.Disable)]
    public void RangeStop(string name, long count)
    {
        if (IsEnabled())
            WriteEvent(Stop, name, count);
    }
}

using System.Diagnostics;
using System.Text.Json;

namespace ParVts.Engine.Profiling;

/// <summary>A range of time that was recorded.</summary>
/// <param name="Name">"prefill", "layer 3 fuse", …</param>
/// <param name="Count">Rows or tokens.</param>
/// <param name="Begin">When it began, since the recorder was made.</param>
/// <param name="Duration">How long it lasted.</param>
/// <param name="Thread">The managed thread that it ran on.</param>
public readonly record struct ProfileRange(string Name, long Count, TimeSpan Begin, TimeSpan Duration, int Thread);

/// <summary>
/// Records the engine's ranges (<see cref="Generation.EngineOptions.Profile"/>) and writes them as trace events, which Perfetto and
/// chrome://tracing show. Any thread.
/// </summary>
public sealed class ProfileRecorder
{
    /// <summary>Ranges that are kept; those after them are counted only.</summary>
    public const int Limit = 1 << 20;

    private readonly Lock _lock = new();
    private readonly List<ProfileRange> _ranges = [];
    private readonly long _origin = Stopwatch.GetTimestamp();

    /// <summary>Ranges that have ended, in the order in which they did. A copy.</summary>
    public IReadOnlyList<ProfileRange> Ranges
    {
        get
        {
            lock (_lock)
                return [.. _ranges];
        }
    }

    /// <summary>Ranges beyond the <see cref="Limit"/>.</summary>
    public long Dropped { get; private set; }

    /// <summary>Writes everything recorded so far as a JSON object of trace events (times in microseconds, <c>args.rows</c> the count).</summary>
    /// <param name="output">Where to.</param>
    /// <param name="notes">What else is to stand in the file: model, device, policy.</param>
    public void WriteTraceEvents(Stream output, params IEnumerable<KeyValuePair<string, string>> notes)
    {
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ms");
        json.WriteStartObject("otherData");
        foreach ((string name, string value) in notes)
            json.WriteString(name, value);
        json.WriteNumber("dropped", Dropped);
        json.WriteEndObject();
        json.WriteStartArray("traceEvents");
        int process = Environment.ProcessId;
        json.WriteStartObject();
        json.WriteString("name", "process_name");
        json.WriteString("ph", "M");
        json.WriteNumber("pid", process);
        json.WriteNumber("tid", 0);
        json.WriteStartObject("args");
        json.WriteString("name", "parvts");
        json.WriteEndObject();
        json.WriteEndObject();

        // Of two that begin at once the longer one is the outer one.
        foreach (ProfileRange range in Ranges.OrderBy(range => range.Begin).ThenByDescending(range => range.Duration))
        {
            json.WriteStartObject();
            json.WriteString("name", range.Name);
            json.WriteString("cat", range.Name.Split(' ')[0]);
            json.WriteString("ph", "X");
            json.WriteNumber("ts", range.Begin.TotalMicroseconds);
            json.WriteNumber("dur", range.Duration.TotalMicroseconds);
            json.WriteNumber("pid", process);
            json.WriteNumber("tid", range.Thread);
            json.WriteStartObject("args");
            json.WriteNumber("rows", range.Count);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
    }

    internal void Add(string name, long count, long begin, long end)
    {
        var range = new ProfileRange(
            name, count, Stopwatch.GetElapsedTime(_origin, begin), Stopwatch.GetElapsedTime(begin, end), Environment.CurrentManagedThreadId);
        lock (_lock)
        {
            if (_ranges.Count < Limit)
                _ranges.Add(range);
            else
                Dropped++;
        }
    }
}

using System.Globalization;

namespace ParVts.Runner.Benchmarking;

/// <summary>The most memory that the process held since a moment of one's choice; only Linux says it.</summary>
internal static class PeakMemory
{
    private const string Reset = "/proc/self/clear_refs";
    private const string Status = "/proc/self/status";

    /// <summary>Starts to look.</summary>
    /// <returns>False where the system cannot.</returns>
    public static bool Begin()
    {
        if (!OperatingSystem.IsLinux())
            return false;
        try
        {
            // "Reset the peak resident set size" (proc_pid_clear_refs).
            File.WriteAllText(Reset, "5");
            return true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>The peak since then, in bytes.</summary>
    public static long? Read()
    {
        const string Peak = "VmHWM:";
        string? line = File.ReadLines(Status).FirstOrDefault(line => line.StartsWith(Peak, StringComparison.Ordinal));
        return line?[Peak.Length..].Split(' ', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) is [string number, "kB"]
            ? long.Parse(number, CultureInfo.InvariantCulture) * 1024
            : null;
    }
}

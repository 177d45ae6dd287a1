using System.Runtime.InteropServices;

namespace ParVts.Runner;

/// <summary>What this machine is, as far as figures depend on it. Any thread.</summary>
internal static class MachineInfo
{
    /// <summary>This program's version.</summary>
    public static string Version => typeof(MachineInfo).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    /// <summary>The memory that a process may use, in bytes.</summary>
    public static long MemoryBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>The processor's name. .NET has none; the system's own file does.</summary>
    public static string Processor()
    {
        const string Information = "/proc/cpuinfo";
        if (File.Exists(Information))
        {
            string? line = File.ReadLines(Information)
                .FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal));
            if (line is not null)
                return line[(line.IndexOf(':') + 1)..].Trim();
        }

        return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}

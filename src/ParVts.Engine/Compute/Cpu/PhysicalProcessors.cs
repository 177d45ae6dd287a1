using System.Globalization;

namespace ParVts.Engine.Compute.Cpu;

/// <summary>Counts the cores that this process may use: the arithmetic gains nothing from a core's second hardware thread.</summary>
internal static class PhysicalProcessors
{
    /// <summary>At least 1, at most <see cref="Environment.ProcessorCount"/> (which knows affinity and container limits).</summary>
    public static int Count { get; } = Math.Clamp(CountLinux() ?? Environment.ProcessorCount, 1, Environment.ProcessorCount);

    /// <summary>Distinct (package, core) pairs among the allowed processors, or null where the kernel does not say.</summary>
    private static int? CountLinux()
    {
        if (!OperatingSystem.IsLinux())
            return null;
        try
        {
            string? allowed = null;
            foreach (string line in File.ReadLines("/proc/self/status"))
            {
                if (line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal))
                    allowed = line["Cpus_allowed_list:".Length..].Trim();
            }

            var cores = new HashSet<string>(StringComparer.Ordinal);
            foreach (string part in (allowed ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))
            {
                string[] ends = part.Split('-');
                int first = int.Parse(ends[0], CultureInfo.InvariantCulture);
                int last = int.Parse(ends[^1], CultureInfo.InvariantCulture);
                for (int cpu = first; cpu <= last; cpu++)
                {
                    string topology = $"/sys/devices/system/cpu/cpu{cpu}/topology/";
                    if (Directory.Exists(topology))
                        cores.Add(File.ReadAllText(topology + "physical_package_id").Trim() + ":" + File.ReadAllText(topology + "core_id").Trim());
                }
            }

            return cores.Count == 0 ? null : cores.Count;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            return null;
        }
    }
}

using System.Globalization;

namespace ParVts.Runner;

/// <summary>Whether Nsight Compute may read the GPU's performance counters here, and what to do where it may not.</summary>
/// <param name="IsPermitted">It may; null where that cannot be told.</param>
/// <param name="Explanation">Why, and what to do, in words.</param>
internal sealed record CounterPermission(bool? IsPermitted, string Explanation)
{
    private const string Parameters = "/proc/driver/nvidia/params";
    private const string Capabilities = "/proc/self/status";

    // CAP_SYS_ADMIN and CAP_PERFMON, as bits.
    private const ulong Administrator = 1UL << 21;
    private const ulong PerformanceMonitor = 1UL << 38;

    /// <summary>On this machine.</summary>
    public static CounterPermission Read()
    {
        if (OperatingSystem.IsWindows())
        {
            return new CounterPermission(
                null,
                "run Nsight as administrator, or allow all users in the NVIDIA control panel: Desktop > Enable Developer Settings, then Manage GPU Performance Counters");
        }

        return Judge(ReadText(Parameters), ReadText(Capabilities));
    }

    /// <summary>From what the system's files say.</summary>
    /// <param name="parameters">The NVIDIA kernel module's parameters; null where it is not loaded.</param>
    /// <param name="status">The process's status, with its capabilities; null where there is none.</param>
    internal static CounterPermission Judge(string? parameters, string? status)
    {
        if (parameters is null)
            return new CounterPermission(null, $"no NVIDIA kernel module is loaded ({Parameters} is not there)");
        switch (Field(parameters, "RmProfilingAdminOnly"))
        {
            case null:
                return new CounterPermission(null, $"{Parameters} does not say; drivers before 418 let everybody");
            case "0":
                return new CounterPermission(true, "for every user");
        }

        // What cannot be read is not held.
        if (!ulong.TryParse(Field(status ?? "", "CapEff"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong capabilities))
            capabilities = 0;
        if ((capabilities & Administrator) != 0)
            return new CounterPermission(true, "as administrator (CAP_SYS_ADMIN); other users may not");
        string remedy = "run as root; in a container, start it with --cap-add=SYS_ADMIN; or for every user: "
            + "echo 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' > /etc/modprobe.d/nvidia-profiling.conf, update-initramfs -u, restart";
        return (capabilities & PerformanceMonitor) != 0
            ? new CounterPermission(null, $"with CAP_PERFMON, which drivers from 565 on accept; before that, {remedy}")
            : new CounterPermission(false, $"for administrators alone: {remedy}");
    }

    private static string? ReadText(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    // "Name: value" on a line of its own.
    private static string? Field(string text, string name) => text.Split('\n')
        .Where(line => line.StartsWith(name + ":", StringComparison.Ordinal))
        .Select(line => line[(name.Length + 1)..].Trim())
        .FirstOrDefault();
}

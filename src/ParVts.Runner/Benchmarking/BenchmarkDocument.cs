using System.Globalization;
using System.Runtime.InteropServices;

namespace ParVts.Runner.Benchmarking;

/// <summary>What a run was made on.</summary>
internal sealed record BenchmarkMachine(string Processor, int Processors, string System, string Architecture, string Runtime, long MemoryBytes)
{
    /// <summary>This one.</summary>
    public static BenchmarkMachine Current() => new(
        MachineInfo.Processor(),
        Environment.ProcessorCount,
        RuntimeInformation.OSDescription,
        RuntimeInformation.OSArchitecture.ToString(),
        RuntimeInformation.FrameworkDescription,
        MachineInfo.MemoryBytes);
}

/// <summary>All that a run found, and everything that its figures depend on: the content of a result file.</summary>
internal sealed record BenchmarkDocument
{
    /// <summary>The program's version.</summary>
    public required string Version { get; init; }

    /// <summary>When it ended.</summary>
    public required DateTime Date { get; init; }

    /// <summary>The command line.</summary>
    public required string Command { get; init; }

    /// <summary>The machine.</summary>
    public required BenchmarkMachine Machine { get; init; }

    /// <summary>The model, see <see cref="BenchmarkModel.Identity"/>.</summary>
    public required string Model { get; init; }

    /// <summary>Rounds before those that count.</summary>
    public required int WarmUp { get; init; }

    /// <summary>Rounds that were asked for.</summary>
    public required int Repeats { get; init; }

    /// <summary>All of them ran.</summary>
    public required bool IsComplete { get; init; }

    /// <summary>The results; dense is the first of its group.</summary>
    public required IReadOnlyList<BenchmarkResult> Results { get; init; }

    /// <summary>The day, for titles.</summary>
    public string Day => Date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    /// <summary>The dense result beside which one stands; null where there is none.</summary>
    public BenchmarkResult? DenseOf(BenchmarkResult result) =>
        Results.FirstOrDefault(other => other.Group == result.Group && other.Policy == BenchmarkSettings.Dense);
}

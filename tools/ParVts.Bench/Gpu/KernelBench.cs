using ParVts.Cuda;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cuda;

namespace ParVts.Bench.Gpu;

/// <summary>What a case took on a GPU.</summary>
/// <param name="Median">Seconds.</param>
/// <param name="Least">Seconds of the fastest repeat.</param>
/// <param name="Most">Seconds of the slowest.</param>
internal readonly record struct GpuTime(double Median, double Least, double Most);

/// <summary>What the simulated GPU counted in one run of a case.</summary>
/// <param name="Bytes">Of sectors of global memory, each once for a launch and direction.</param>
/// <param name="MatrixFlops">Of mma.sync.</param>
internal readonly record struct SimulatedCounts(long Bytes, long MatrixFlops)
{
    /// <summary>What the case says must be moved and multiplied is what was, but for rows that stay, partial sums and the edges of tiles.</summary>
    public bool Fit(GpuCase one) =>
        Bytes > 0.95 * one.Bytes && Bytes < 1.1 * one.Bytes && (MatrixFlops == 0 || MatrixFlops >= one.Flops);
}

/// <summary>A case with what was found: its time on a GPU, or what the simulated one counted.</summary>
internal sealed record CaseResult(GpuCase Case, IReadOnlyList<string> Kernels, GpuTime? Time, SimulatedCounts? Counts)
{
    /// <summary>False where the simulated GPU counted something else than the case claims.</summary>
    public bool IsPlausible => Counts is not SimulatedCounts counts || counts.Fit(Case);
}

/// <summary>All that was found.</summary>
internal sealed record BenchResult(
    GpuModelShape Model, IReadOnlyList<CaseResult> Cases, int Repeats, double? CopyRate, double? EmptySeconds, GpuLimits? Limits);

/// <summary>Measures every operation on a GPU by events. On the simulated GPU each runs once, and nothing is timed.</summary>
internal static class KernelBench
{
    private static readonly Func<GpuBench, IEnumerable<GpuCase>>[] s_stages =
        [PrefillCases.Make, ScheduleCases.Make, DecodeCases.Make, TowerCases.Make];

    public static BenchResult Run(GpuTarget target, int repeats)
    {
        GpuModelShape model = target.Sim is null ? GpuModelShape.Llava7B : GpuModelShape.Small;
        var options = new CudaOptions { PtxOnly = target.Sim is not null };
        using CudaDevice device = CudaDevice.Open(target.Driver, target.Compiler, target.Info, target.Name, options);
        using GpuTimer? timer = target.Sim is null ? new GpuTimer(device.Context, device.Stream, repeats) : null;
        double? copied = timer?.CopyRate();
        double? empty = timer is null ? null : GpuTimer.Median(timer.Measure(() => { }));
        var results = new List<CaseResult>();
        foreach (Func<GpuBench, IEnumerable<GpuCase>> stage in s_stages)
        {
            using var memory = new GpuMemory(device);
            foreach (GpuCase one in stage(new GpuBench(device, memory, model)))
            {
                Console.Error.WriteLine($"{one.Stage}: {one.Name}, {one.Shape}");
                results.Add(Run(target, device, timer, one));
            }
        }

        return new BenchResult(model, results, repeats, copied, empty, copied is double rate ? GpuLimits.Find(target.Info.Name, rate) : null);
    }

    private static CaseResult Run(GpuTarget target, CudaDevice device, GpuTimer? timer, GpuCase one)
    {
        // Operands are there before anything is counted.
        device.Stream.Synchronize();
        Dictionary<string, long> before = Launches(device);
        GpuTime? time = null;
        if (timer is null)
        {
            one.Run();
            device.Stream.Synchronize();
        }
        else
        {
            double[] seconds = timer.Measure(one.Run);
            time = new GpuTime(GpuTimer.Median(seconds), seconds[0], seconds[^1]);
        }

        string[] kernels = [.. Launches(device).Where(pair => pair.Value > before.GetValueOrDefault(pair.Key)).Select(pair => pair.Key).Order(StringComparer.Ordinal)];
        return new CaseResult(one, kernels, time, target.Sim is null ? null : Counts(target, kernels));
    }

    private static SimulatedCounts Counts(GpuTarget target, string[] kernels)
    {
        if (target.Sim!.Faults.Count > 0)
            throw new InvalidOperationException($"the simulated GPU found a fault: {target.Sim.Faults[0].Message}");
        var last = kernels.Select(kernel => target.Sim.Counters.Kernels[kernel].Last).ToList();
        return new SimulatedCounts(last.Sum(one => one.Loaded.DistinctBytes + one.Stored.DistinctBytes), last.Sum(one => one.MatrixFlops));
    }

    // By kernel, whatever its specialisation.
    private static Dictionary<string, long> Launches(CudaDevice device) =>
        device.KernelUses.GroupBy(use => use.Kernel).ToDictionary(group => group.Key, group => group.Sum(use => use.Launches));
}

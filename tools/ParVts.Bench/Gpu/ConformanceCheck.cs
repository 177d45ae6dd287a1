using ParVts.Cuda;
using ParVts.GpuSim.Conformance;
using ParVts.GpuSim.Driver;

namespace ParVts.Bench.Gpu;

/// <summary>Records what a GPU does with single instructions, and holds the simulated one to it (contract G3).</summary>
internal static class ConformanceCheck
{
    /// <summary>0 where both agree.</summary>
    public static int Run(GpuTarget target, string output)
    {
        IReadOnlyDictionary<string, uint[]> answers;
        using (var context = new CudaContext(target.Driver, target.Info))
            answers = ConformanceVectors.Run(context, target.Compiler, ptxOnly: target.Sim is not null);
        var record = new ConformanceRecord(target.Info.Name, target.Info.Architecture, target.Compiler.Version.ToString(2), answers);
        record.Write(output);

        using var sim = new SimDriver();
        IReadOnlyDictionary<string, uint[]> simulated;
        using (var context = new CudaContext(sim.Api, CudaDeviceInfo.All(sim.Api)[0]))
            simulated = ConformanceVectors.Run(context, target.Compiler, ptxOnly: true);
        string[] differences = [.. record.Differences(simulated)];
        foreach (string difference in differences)
            Console.WriteLine(difference);
        Console.WriteLine(
            $"{answers.Count} kinds of instruction, {answers.Values.Sum(words => words.Length)} words of {target.Info.Name}: "
            + (differences.Length == 0 ? "the simulator agrees" : $"the simulator differs in {differences.Length} kinds"));
        return differences.Length == 0 ? 0 : 1;
    }
}

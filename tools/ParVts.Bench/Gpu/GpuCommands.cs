using System.CommandLine;
using ParVts.Cuda;

namespace ParVts.Bench.Gpu;

/// <summary>The verbs that need a GPU; each also runs on the simulated one.</summary>
internal static class GpuCommands
{
    private const int MissingDevice = 4;

    public static IEnumerable<Command> Create()
    {
        var device = new Option<string>("--device") { DefaultValueFactory = _ => "cuda:0", Description = "cuda:N, or sim, the simulated GPU." };
        var repeats = new Option<int>("--repeats") { DefaultValueFactory = _ => 50, Description = "Measured repeats." };
        var output = new Option<string>("--out") { Required = true, Description = "Where the JSON goes." };
        var page = new Option<string?>("--markdown") { Description = "Where the table goes." };

        var gpu = new Command("gpu", "Every operation of a GPU on LLaVA-1.5-7B's shapes: time, GB/s, TFLOP/s, share of the limit.")
        {
            device, repeats, output, page,
        };
        gpu.SetAction(parse => Open(parse.GetValue(device)!, target =>
        {
            BenchResult result = KernelBench.Run(target, parse.GetValue(repeats));
            KernelReport.WriteJson(parse.GetRequiredValue(output), target, result);
            if (parse.GetValue(page) is string markdown)
                KernelReport.WriteMarkdown(markdown, target, result);
            string[] odd = [.. result.Cases.Where(one => !one.IsPlausible).Select(one => $"{one.Case.Stage}: {one.Case.Name}")];
            foreach (string one in odd)
                Console.Error.WriteLine($"{one}: the simulated GPU counted other bytes or operations than the benchmark claims");
            return odd.Length == 0 ? 0 : 1;
        }));
        yield return gpu;

        var conformance = new Command("conformance", "Records what the GPU does with single instructions, and compares the simulator.") { device, output };
        conformance.SetAction(parse => Open(parse.GetValue(device)!, target => ConformanceCheck.Run(target, parse.GetRequiredValue(output))));
        yield return conformance;

        var name = new Command("gpu-name", "The GPU's name, as file names have it.") { device };
        name.SetAction(parse => Open(parse.GetValue(device)!, target =>
        {
            Console.WriteLine(target.Slug);
            return 0;
        }));
        yield return name;
    }

    private static int Open(string device, Func<GpuTarget, int> run)
    {
        try
        {
            using GpuTarget target = GpuTarget.Open(device);
            return run(target);
        }
        catch (CudaErrorException error)
        {
            Console.Error.WriteLine(error.Message);
            return MissingDevice;
        }
    }
}

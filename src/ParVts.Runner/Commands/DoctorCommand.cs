using System.CommandLine;
using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Imaging;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts doctor</c>: what this machine has, what is missing and how to install it.</summary>
internal static class DoctorCommand
{
    public static Command Create()
    {
        var command = new CommandWithExamples(
            "doctor",
            "Show what this machine offers: processor, memory, image libraries, CUDA; and how to install what is missing.",
            "parvts doctor");
        command.SetAction(parse => Run(parse));
        return command;
    }

    private static int Run(ParseResult parse)
    {
        IReadOnlyList<Library> libraries =
        [
            .. NativeCodecs.Probe().Select(codec => new Library(codec.Reads, codec.LoadedAs, codec.Version, codec.Install)),
            Driver(),
            Compiler(),
            new Library("PNG plots", SvgRasterizer.LoadedAs, null, $"optional: plots are SVG otherwise; {SvgRasterizer.Hint}"),
            new Library("cuBLAS", FindFile(CublasApi.FileNames), null, "optional: our own kernels multiply without it; comes with the CUDA toolkit"),
            Tool("Nsight Systems", "nsys"),
            Tool("Nsight Compute", "ncu"),
        ];
        if (parse.GetValue(CommonOptions.Json))
            WriteJson(libraries);
        else
            WriteText(libraries);
        return (int)ExitCode.Done;
    }

    private static void WriteText(IReadOnlyList<Library> libraries)
    {
        WriteLine("parvts", MachineInfo.Version);
        WriteLine("system", $"{RuntimeInformation.OSDescription} ({RuntimeInformation.OSArchitecture})");
        WriteLine(".NET", RuntimeInformation.FrameworkDescription);
        WriteLine("processor", $"{MachineInfo.Processor()}, {Environment.ProcessorCount} logical processors");
        WriteLine("SIMD", $"{string.Join(" ", InstructionSets.Names)}; vectors of {InstructionSets.VectorBits} bits");
        WriteLine("memory", Sizes.Mebibytes(MachineInfo.MemoryBytes));
        foreach (Library library in libraries)
            WriteLine(library.Name, library.Describe());
        var counters = CounterPermission.Read();
        WriteLine("GPU counters", counters.IsPermitted switch
        {
            true => $"permitted: {counters.Explanation}",
            false => $"not permitted: {counters.Explanation}",
            null => counters.Explanation,
        });
    }

    private static void WriteLine(string name, string value) => Console.Out.WriteLine($"{name,-16}{value}");

    private static void WriteJson(IReadOnlyList<Library> libraries) => JsonOutput.Write(json =>
    {
        json.WriteString("version", MachineInfo.Version);
        json.WriteString("os", RuntimeInformation.OSDescription);
        json.WriteString("architecture", RuntimeInformation.OSArchitecture.ToString());
        json.WriteString("dotnet", RuntimeInformation.FrameworkDescription);
        json.WriteString("processor", MachineInfo.Processor());
        json.WriteNumber("logical_processors", Environment.ProcessorCount);
        json.WriteStrings("simd", InstructionSets.Names);
        json.WriteNumber("vector_bits", InstructionSets.VectorBits);
        json.WriteNumber("memory_bytes", MachineInfo.MemoryBytes);
        json.WriteStartArray("libraries");
        foreach (Library library in libraries)
        {
            json.WriteStartObject();
            json.WriteString("name", library.Name);
            json.WriteBoolean("found", library.Found is not null);
            json.WriteString("file", library.Found);
            json.WriteString("version", library.Version);
            json.WriteString("hint", library.Hint);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        var counters = CounterPermission.Read();
        json.WriteStartObject("gpu_counters");
        if (counters.IsPermitted is bool permitted)
            json.WriteBoolean("permitted", permitted);
        else
            json.WriteNull("permitted");
        json.WriteString("hint", counters.Explanation);
        json.WriteEndObject();
    });

    private static Library Driver()
    {
        const string Name = "CUDA driver";
        try
        {
            string[] devices = [.. CudaDeviceInfo.All(DriverApi.Load()).Select(device =>
                $"{device.Name} (sm_{device.Architecture}, {Sizes.Mebibytes(device.TotalBytes)})")];
            return new Library(Name, devices.Length > 0 ? string.Join(", ", devices) : "no GPU", null, "");
        }
        catch (CudaErrorException error)
        {
            return new Library(Name, null, null, error.Message);
        }
    }

    private static Library Compiler()
    {
        const string Name = "NVRTC";
        try
        {
            var compiler = new KernelCompiler(NvrtcApi.Load());
            return new Library(
                Name, $"sm_{compiler.Architectures.Min()} to sm_{compiler.Architectures.Max()}", compiler.Version.ToString(2), "");
        }
        catch (CudaErrorException error)
        {
            return new Library(Name, null, null, error.Message);
        }
    }

    private static string? FindFile(IEnumerable<string> files) => files.FirstOrDefault(file =>
    {
        if (!NativeLibrary.TryLoad(file, out nint handle))
            return false;
        NativeLibrary.Free(handle);
        return true;
    });

    private static Library Tool(string name, string program)
    {
        string file = OperatingSystem.IsWindows() ? program + ".exe" : program;
        string? found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .Select(folder => Path.Combine(folder, file)).FirstOrDefault(File.Exists);
        return new Library(name, found, null, $"optional: '{program}' is not in PATH; docs/profiling.md says where it comes from");
    }

    /// <summary>A native library or a program: the file that was found, or how to get one.</summary>
    private sealed record Library(string Name, string? Found, string? Version, string Hint)
    {
        public string Describe() => Found is null
            ? $"missing: {Hint}"
            : Version is null ? $"found ({Found})" : $"found ({Found}, version {Version})";
    }
}

using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Runner.Options;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary><c>parvts warm</c>: compiles the GPU's kernels beforehand, on a machine with or without a GPU.</summary>
internal static partial class WarmCommand
{
    public static Command Create()
    {
        var architectures = new Option<string[]>("--arch")
        {
            Description = "Architectures: sm_80, sm_86, sm_89, sm_90 …, with commas between.",
            HelpName = "LIST",
            Required = true,
            AllowMultipleArgumentsPerToken = true,
        };
        architectures.Validators.Add(Check);
        var model = new Option<string?>("--model")
        {
            Description = "Only what this checkpoint's runs launch; else what models of the family have in common.",
            HelpName = "DIR",
        };
        var cache = new Option<string>("--cache")
        {
            Description = "The folder to fill; another machine's cache may be filled this way.",
            HelpName = "DIR",
            DefaultValueFactory = _ => KernelCache.DefaultFolder,
        };
        var command = new CommandWithExamples(
            "warm",
            "Compile the GPU's kernels and keep them, so that the first run on a GPU need not. Needs NVRTC, no GPU.",
            """
            parvts warm --arch sm_90
            parvts warm --model llava-1.5-7b --arch sm_80,sm_90 --cache image/root/.cache/parvts/kernels
            """);
        command.Options.Add(architectures);
        command.Options.Add(model);
        command.Options.Add(cache);
        command.SetAction(parse => Run(parse, Architectures(parse.GetRequiredValue(architectures)), parse.GetValue(model), parse.GetRequiredValue(cache)));
        return command;
    }

    private static int Run(ParseResult parse, IReadOnlyList<int> architectures, string? model, string folder)
    {
        ModelConfig? config = model is null ? null : ModelConfigReader.Read(model);
        var compiler = new KernelCompiler(NvrtcApi.Load());
        var cache = new KernelCache(compiler, folder, text => Terminal.Note($"warning: {text}"));
        var watch = Stopwatch.StartNew();
        int files = 0;
        foreach (int architecture in architectures)
        {
            using var progress = new ProgressDisplay(string.Create(CultureInfo.InvariantCulture, $"compiling for sm_{architecture}"));
            files += KernelCatalog.Warm(cache, architecture, config, new CudaOptions());
        }

        if (parse.GetValue(CommonOptions.Json))
        {
            JsonOutput.Write(json =>
            {
                json.WriteNumbers("architectures", architectures);
                json.WriteNumber("kernels", files);
                json.WriteNumber("compiled", cache.Compiled);
                json.WriteString("nvrtc", compiler.Version.ToString());
                json.WriteString("folder", folder);
                json.WriteMilliseconds("time_ms", watch.Elapsed.TotalMilliseconds);
            });
            return (int)ExitCode.Done;
        }

        Console.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{files} kernel files in {folder}, {cache.Compiled} of them compiled now by NVRTC {compiler.Version} ({watch.Elapsed.TotalSeconds:0.0} s)"));
        return (int)ExitCode.Done;
    }

    private static void Check(OptionResult result)
    {
        foreach (Token token in result.Tokens)
        {
            foreach (string name in token.Value.Split(','))
            {
                if (!Architecture().IsMatch(name))
                    result.AddError($"'{name}' is no architecture; write for example sm_80,sm_90");
                else if (int.Parse(name.AsSpan(3), CultureInfo.InvariantCulture) < CudaDeviceInfo.OldestArchitecture)
                    result.AddError($"the kernels need sm_{CudaDeviceInfo.OldestArchitecture} or newer, not {name}");
            }
        }
    }

    private static int[] Architectures(IEnumerable<string> lists) =>
        [.. lists.SelectMany(list => list.Split(',')).Select(name => int.Parse(name.AsSpan(3), CultureInfo.InvariantCulture)).Distinct()];

    [GeneratedRegex("^sm_[0-9]{2,3}$", RegexOptions.None, 1000)]
    private static partial Regex Architecture();
}

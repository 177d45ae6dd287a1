using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.RegularExpressions;
using ParVts.Cuda.Compilation;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Generation;
using ParVts.Engine.Profiling;
using ParVts.Runner.Output;

namespace ParVts.Runner.Options;

/// <summary>Which model, on which device, with how much of the machine.</summary>
internal sealed partial class ModelOptions
{
    private readonly Option<string> _model = new("--model")
    {
        Description = "The checkpoint's folder: config.json, tokenizer.json and safetensors weights.",
        HelpName = "DIR",
        Required = true,
    };

    private readonly Option<string> _device = new("--device")
    {
        Description = "auto, cpu, cuda:N, cuda:UUID, GPU-UUID or sim; one asked for by name is never replaced by another.",
        HelpName = "DEVICE",
        DefaultValueFactory = _ => "auto",
    };

    private readonly Option<int> _threads = new("--threads")
    {
        Description = "Threads that compute on the CPU; 0 for one a physical core.",
        HelpName = "N",
    };

    private readonly Option<bool> _noGraphs = new("--no-graphs")
    {
        Description = "On a GPU, launch every kernel of a decode step by itself, as profilers want it.",
    };

    private readonly Option<bool> _profileKernels = new("--profile-kernels")
    {
        Description = "On a GPU, compile kernels with line numbers and put their sources on disk, where profilers find them.",
    };

    private readonly Option<bool> _noMap = new("--no-map")
    {
        Description = "Read the weights instead of mapping them: for files that may change or vanish meanwhile.",
    };

    private readonly Option<long?> _memoryCap = new("--memory-cap")
    {
        Description = "Refuse, with numbers, what would take more than this, of device memory on a GPU: bytes, or with a suffix K, M or G.",
        HelpName = "BYTES",
        CustomParser = ParseBytes,
    };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        _device.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string>() is string name && !DeviceName().IsMatch(name))
                result.AddError(NoDevice(name));
        });
        _threads.Validators.Add(result =>
        {
            // A value that is no number was reported already.
            if (result.Tokens.Count == 1 && int.TryParse(result.Tokens[0].Value, out int threads) && threads < 0)
                result.AddError($"--threads is {threads}; it must be 0 (one a physical core) or more");
        });
        command.Options.Add(_model);
        command.Options.Add(_device);
        command.Options.Add(_threads);
        command.Options.Add(_noMap);
        command.Options.Add(_memoryCap);
        command.Options.Add(_noGraphs);
        command.Options.Add(_profileKernels);
    }

    /// <summary>The memory cap in bytes, or null for none.</summary>
    public long? MemoryCap(ParseResult parse) => parse.GetValue(_memoryCap);

    /// <summary>Opens the model; warnings go to standard error.</summary>
    public InferenceEngine Open(ParseResult parse, bool capped = true, ProfileRecorder? profile = null)
    {
        string device = parse.GetRequiredValue(_device);
        var cuda = new CudaOptions
        {
            Graphs = !parse.GetValue(_noGraphs),
            LineInfo = parse.GetValue(_profileKernels),
            SourceFolder = parse.GetValue(_profileKernels) ? Path.Combine(KernelCache.DefaultFolder, "sources") : null,
            Warning = Warn,
        };
        var options = new EngineOptions
        {
            Device = device,
            Cuda = cuda,
            OpenDevice = device == SimulatedGpu.Name ? () => SimulatedGpu.Open(cuda) : null,
            Threads = parse.GetValue(_threads),
            Map = !parse.GetValue(_noMap),
            MemoryCap = capped ? parse.GetValue(_memoryCap) : null,
            Warning = Warn,
            Profile = profile,
        };
        using var progress = new ProgressDisplay("loading");
        return InferenceEngine.Open(parse.GetRequiredValue(_model), options);
    }

    /// <summary>Refuses what is no device's name.</summary>
    public static string RequireDevice(string name) => DeviceName().IsMatch(name) ? name : throw new UsageException(NoDevice(name));

    private static string NoDevice(string name) => $"there is no device '{name}'; there are: auto, cpu, cuda:N, cuda:UUID, GPU-UUID, sim";

    private static void Warn(string text) => Terminal.Note($"warning: {text}");

    private static long? ParseBytes(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        int shift = text.Length == 0 ? 0 : char.ToUpperInvariant(text[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, _ => 0 };
        string digits = shift == 0 ? text : text[..^1];
        if (double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double count)
            && count * (1L << shift) is > 0 and < long.MaxValue)
        {
            return (long)(count * (1L << shift));
        }

        result.AddError($"'{text}' is not a number of bytes; write for example 6000000000, 800M or 6.5G");
        return null;
    }

    [GeneratedRegex("^(auto|cpu|sim|(cuda:|GPU-)[0-9A-Za-z-]{1,64})$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex DeviceName();
}

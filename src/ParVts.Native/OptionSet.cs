using System.Globalization;
using ParVts.Engine;
using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Generation;

namespace ParVts.Native;

/// <summary>Options that are set by name, each checked when it is set. Not for several threads while it is changed.</summary>
internal abstract class OptionSet : IHandled
{
    private protected const long MostThreads = 1024;

    public static HandleKind Kind => HandleKind.Options;

    /// <summary>Makes one of the kinds that there are.</summary>
    public static OptionSet Create(string kind) => kind switch
    {
        "engine" => new EngineOptionSet(),
        "generation" => new GenerationOptionSet(),
        "kernels" => new KernelOptionSet(),
        _ => throw new CallException(Status.InvalidArgument, $"there are no options of kind '{kind}'", "kinds are: engine, generation, kernels"),
    };

    /// <summary>The options of a kind; those of handle 0 are the defaults.</summary>
    public static T Get<T>(ulong handle, string kind)
        where T : OptionSet, new()
    {
        if (handle == 0)
            return new T();
        return Handles.Get<OptionSet>(handle) as T
            ?? throw new CallException(Status.InvalidArgument, $"the options of handle 0x{handle:x} are not of kind '{kind}'");
    }

    /// <summary>Sets a text, a whole number or a real one.</summary>
    /// <exception cref="CallException">There is no such option, or the value is not allowed.</exception>
    public void Set(string name, object value)
    {
        if (!Names.Contains(name))
            throw new CallException(Status.InvalidArgument, $"there is no option '{name}' here", $"options are: {string.Join(", ", Names)}");
        try
        {
            Apply(name, value);
        }
        catch (RequestException refused)
        {
            throw new CallException(Status.InvalidArgument, refused.Message);
        }
    }

    public void Dispose()
    {
    }

    /// <summary>All names.</summary>
    protected abstract IReadOnlyList<string> Names { get; }

    /// <summary>Takes a value of a name that there is.</summary>
    protected abstract void Apply(string name, object value);

    protected static string AsText(string name, object value) =>
        value as string ?? throw new CallException(Status.InvalidArgument, $"'{name}' is a text", "use options_set_text");

    protected static long AsWhole(string name, object value, long least, long most)
    {
        if (value is not long number)
            throw new CallException(Status.InvalidArgument, $"'{name}' is a whole number", "use options_set_int");
        if (number < least || number > most)
            throw new CallException(Status.InvalidArgument, $"'{name}' is {number}; it must lie in {least} to {most}");
        return number;
    }

    protected static bool AsFlag(string name, object value) => AsWhole(name, value, 0, 1) != 0;

    protected static double AsReal(string name, object value)
    {
        double number = value switch
        {
            double real => real,
            long whole => whole,
            _ => throw new CallException(Status.InvalidArgument, $"'{name}' is a number", "use options_set_real"),
        };
        if (!double.IsFinite(number))
            throw new CallException(Status.InvalidArgument, $"'{name}' is {number.ToString(CultureInfo.InvariantCulture)}; it must be finite");
        return number;
    }
}

/// <summary>How a model is opened.</summary>
internal sealed class EngineOptionSet : OptionSet
{
    /// <summary>As they are set now.</summary>
    public EngineOptions Options { get; private set; } = new();

    protected override IReadOnlyList<string> Names => ["device", "threads", "map", "memory_cap", "log"];

    /// <summary>Where warnings go.</summary>
    public void SetLog(Action<string>? log) => Options = Options with { Warning = log };

    protected override void Apply(string name, object value) => Options = name switch
    {
        "device" => Options with { Device = AsText(name, value) },
        "threads" => Options with { Threads = (int)AsWhole(name, value, 0, MostThreads) },
        "map" => Options with { Map = AsFlag(name, value) },
        "memory_cap" => Options with { MemoryCap = AsWhole(name, value, 1, long.MaxValue) },
        _ => throw new CallException(Status.InvalidArgument, $"'{name}' is a callback", "use options_set_log"),
    };
}

/// <summary>How kernels are called alone.</summary>
internal sealed class KernelOptionSet : OptionSet
{
    /// <summary>Threads of the CPU; 0 for one a physical core.</summary>
    public int Threads { get; private set; }

    /// <summary>Of a GPU.</summary>
    public CudaOptions Cuda { get; private set; } = new();

    protected override IReadOnlyList<string> Names => ["threads", "cache_folder"];

    protected override void Apply(string name, object value)
    {
        if (name == "threads")
            Threads = (int)AsWhole(name, value, 0, MostThreads);
        else
            Cuda = Cuda with { CacheFolder = AsText(name, value) };
    }
}

/// <summary>How an answer is made.</summary>
internal sealed class GenerationOptionSet : OptionSet
{
    /// <summary>As they are set now.</summary>
    public GenerationOptions Options { get; private set; } = new();

    protected override IReadOnlyList<string> Names =>
    [
        "max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop", "ignore_eos", "keep_logits", "deadline_ms",
        "log_probabilities", "hidden_layer",
    ];

    protected override void Apply(string name, object value)
    {
        GenerationOptions changed = name switch
        {
            "max_tokens" => Options with { MaxTokens = (int)AsWhole(name, value, 1, int.MaxValue) },
            "temperature" => Options with { Temperature = (float)AsReal(name, value) },
            "top_k" => Options with { TopK = (int)AsWhole(name, value, 0, int.MaxValue) },
            "top_p" => Options with { TopP = (float)AsReal(name, value) },
            "min_p" => Options with { MinP = (float)AsReal(name, value) },
            "repetition_penalty" => Options with { RepetitionPenalty = (float)AsReal(name, value) },
            "seed" => Options with { Seed = unchecked((ulong)AsWhole(name, value, long.MinValue, long.MaxValue)) },
            "stop" => Options with { Stop = [.. Options.Stop, AsText(name, value)] },
            "ignore_eos" => Options with { IgnoreEndOfSequence = AsFlag(name, value) },
            "keep_logits" => Options with { KeepLogits = AsFlag(name, value) },
            "log_probabilities" => Options with { LogProbabilities = (int)AsWhole(name, value, 0, GenerationOptions.MostLogProbabilities) },
            "hidden_layer" => Options with { HiddenLayers = [.. Options.HiddenLayers, (int)AsWhole(name, value, 0, int.MaxValue)] },
            _ => Options with { Deadline = TimeSpan.FromMilliseconds(AsWhole(name, value, 1, int.MaxValue)) },
        };
        changed.Validate();
        Options = changed;
    }
}

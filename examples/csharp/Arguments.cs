using System.Globalization;

namespace Ask;

/// <summary>The command line.</summary>
internal sealed record Arguments
{
    /// <summary>What may be typed.</summary>
    public const string Usage =
        "usage: Ask --model DIR [--image FILE]... --prompt TEXT [--policy P] [--device auto|cpu|cuda:N] [--deadline SECONDS] [--json]";

    /// <summary>A checkpoint folder.</summary>
    public string Model { get; private init; } = "";

    /// <summary>Picture files.</summary>
    public IReadOnlyList<string> Images { get; private init; } = [];

    /// <summary>The question.</summary>
    public string Prompt { get; private init; } = "";

    /// <summary>What becomes of visual tokens.</summary>
    public string Policy { get; private init; } = "dense";

    /// <summary>Where to compute.</summary>
    public string Device { get; private init; } = "auto";

    /// <summary>How long the answer may take.</summary>
    public TimeSpan? Deadline { get; private init; }

    /// <summary>One object at the end, and nothing else.</summary>
    public bool Json { get; private init; }

    /// <summary>Reads it.</summary>
    /// <exception cref="ArgumentException">An option is unknown, lacks its value, or is missing.</exception>
    public static Arguments Parse(string[] args)
    {
        var read = new Arguments();
        for (int i = 0; i < args.Length; i++)
        {
            read = args[i] switch
            {
                "--json" => read with { Json = true },
                "--model" => read with { Model = Value() },
                "--image" => read with { Images = [.. read.Images, Value()] },
                "--prompt" => read with { Prompt = Value() },
                "--policy" => read with { Policy = Value() },
                "--device" => read with { Device = Value() },
                "--deadline" => read with { Deadline = Seconds(Value()) },
                string other => throw new ArgumentException($"unknown option '{other}'"),
            };

            string Value() => ++i < args.Length ? args[i] : throw new ArgumentException($"{args[^1]} needs a value");
        }

        return read is { Model: "" } or { Prompt: "" } ? throw new ArgumentException("--model and --prompt are needed") : read;
    }

    private static TimeSpan Seconds(string text) =>
        double.TryParse(text, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and < 1e6
            ? TimeSpan.FromSeconds(seconds)
            : throw new ArgumentException($"--deadline: '{text}' is no number of seconds");
}

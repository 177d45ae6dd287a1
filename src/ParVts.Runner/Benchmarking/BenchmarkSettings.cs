using ParVts.Engine.Compute.Cuda;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Benchmarking;

/// <summary>What is measured: a checkpoint, or a config alone with random weights.</summary>
/// <param name="Path">The checkpoint's folder; or a config.json, or its folder.</param>
/// <param name="IsRandom">Random weights are made for it.</param>
/// <param name="Seed">Of the weights, the prompts and the pictures.</param>
internal sealed record BenchmarkModel(string Path, bool IsRandom, int Seed)
{
    /// <summary>Its config.</summary>
    public ModelConfig ReadConfig() => IsRandom ? ModelConfigReader.ReadFile(Path) : ModelConfigReader.Read(Path);

    /// <summary>What tells it from other models: figures of two runs are of the same one where these are equal.</summary>
    public string Identity() => IsRandom
        ? $"{ModelFingerprint.OfConfig(Path)}, random weights of seed {Seed}"
        : ModelFingerprint.Of(Path);

    /// <summary>Opens it.</summary>
    public InferenceEngine Open(EngineOptions options) =>
        IsRandom ? InferenceEngine.OpenRandom(Path, Seed, options) : InferenceEngine.Open(Path, options);
}

/// <summary>A prompt and an answer whose length is fixed.</summary>
/// <param name="Text">The prompt's text.</param>
/// <param name="Images">Its pictures.</param>
/// <param name="NewTokens">Tokens that are generated.</param>
internal sealed record BenchmarkCase(PromptShape Text, int Images, int NewTokens)
{
    /// <summary>Refuses a prompt for which the model has no room.</summary>
    /// <exception cref="UsageException">Prompt and answer are longer than the context.</exception>
    public void Require(ModelConfig config)
    {
        long rows = Text.Rows(Images, config.VisualTokensPerImage);
        if (rows + NewTokens > config.Text.MaxPositions)
        {
            throw new UsageException(
                $"--prompt-tokens {Text.Name} with {Images} pictures makes {rows} tokens, and {NewTokens} new ones: more than the model's context of {config.Text.MaxPositions}");
        }
    }
}

/// <summary>What <c>parvts bench</c> measures, and how often.</summary>
internal sealed record BenchmarkSettings
{
    /// <summary>The policy that every other one is set beside.</summary>
    public const string Dense = "dense";

    /// <summary>The model.</summary>
    public required BenchmarkModel Model { get; init; }

    /// <summary>Every combination of prompt, pictures and new tokens.</summary>
    public required IReadOnlyList<BenchmarkCase> Cases { get; init; }

    /// <summary>The policies; dense is the first.</summary>
    public required IReadOnlyList<string> Policies { get; init; }

    /// <summary>Devices, by name.</summary>
    public required IReadOnlyList<string> Devices { get; init; }

    /// <summary>Threads on the CPU; 0 for one a physical core.</summary>
    public required IReadOnlyList<int> Threads { get; init; }

    /// <summary>Rounds before those that count.</summary>
    public required int WarmUp { get; init; }

    /// <summary>Rounds that count; in each, everything runs once.</summary>
    public required int Repeats { get; init; }

    /// <summary>How a GPU is used.</summary>
    public required CudaOptions Cuda { get; init; }
}

using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Evaluation;

/// <summary>A policy's answer to a question, and what it took.</summary>
internal sealed record EvaluationAnswer
{
    /// <summary>What was answered.</summary>
    public required string Text { get; init; }

    /// <summary>What it is worth, 0 to 1, as its benchmark scores; most know only right and wrong.</summary>
    public required double Score { get; init; }

    /// <summary>It is wholly right.</summary>
    public bool IsCorrect => Score >= 1;

    /// <summary>It equals the dense model's answer.</summary>
    public required bool Agrees { get; init; }

    /// <summary>New tokens.</summary>
    public required int Tokens { get; init; }

    /// <summary>KL(dense || policy) of the first new token's distribution, in nats.</summary>
    public required double Divergence { get; init; }

    /// <summary>Visual tokens that are there, mean of the layers.</summary>
    public required double TokensKept { get; init; }

    /// <summary>Visual tokens that are there after the last layer.</summary>
    public required int TokensLastLayer { get; init; }

    /// <summary>FLOPs of the prefill, as a share of dense.</summary>
    public required double FlopsShare { get; init; }

    /// <summary>Rows in the KV store after the prefill, as a share of dense; all layers together.</summary>
    public required double KvShare { get; init; }

    /// <summary>What the visual rows that enter the decoder have lost (<see cref="VisualFeatures.LossIn"/>); not a number where it was not asked for.</summary>
    public double ReconstructionLoss { get; init; } = double.NaN;

    /// <summary>Tower and projector, in milliseconds.</summary>
    public required double Vision { get; init; }

    /// <summary>The decoder's prefill, in milliseconds.</summary>
    public required double Prefill { get; init; }

    /// <summary>Dense's prefill of the same question, run beside this one, in milliseconds.</summary>
    public required double DensePrefill { get; init; }

    /// <summary>A token after the first, in milliseconds; 0 where there was none.</summary>
    public required double Decode { get; init; }

    /// <summary>Bytes in the KV store when the answer was done.</summary>
    public required long KvBytes { get; init; }

    /// <summary>Bytes that the call may have taken at any one time beside the weights: KV store and workspace, as planned for it.</summary>
    public required long PeakBytes { get; init; }

    /// <summary>From the call to the first token, in milliseconds.</summary>
    public required double FirstToken { get; init; }

    /// <summary>The whole call, in milliseconds.</summary>
    public required double Total { get; init; }

    /// <summary>Judges what a policy answered against what is right and what dense answered; both with their logits.</summary>
    /// <param name="score">What the answer is worth.</param>
    /// <param name="result">The answer.</param>
    /// <param name="kvBytes">Bytes in the KV store after it.</param>
    /// <param name="dense">Dense's answer.</param>
    public static EvaluationAnswer Of(double score, GenerationResult result, long kvBytes, GenerationResult dense)
    {
        ScheduleTrace trace = result.Trace;
        int layers = trace.KvRowsByLayer.Length;
        return new EvaluationAnswer
        {
            Text = result.Text,
            Score = score,
            Agrees = AnswerMatch.Equal(result.Text, dense.Text),
            Tokens = result.Tokens.Count,
            Divergence = TokenDistribution.Divergence(dense.PromptLogits!, result.PromptLogits!),
            TokensKept = Enumerable.Range(0, layers).Average(layer => trace.KeptAt(layer).Count),
            TokensLastLayer = trace.KeptAt(layers).Count,
            FlopsShare = (double)trace.Flops / trace.FlopsDense,
            KvShare = trace.KvRowsByLayer.Sum(rows => (long)rows) / ((double)layers * result.PromptTokens),
            Vision = result.Times.Vision,
            Prefill = result.Times.Prefill,
            DensePrefill = dense.Times.Prefill,
            Decode = result.Times.DecodePerToken,
            KvBytes = kvBytes,
            PeakBytes = result.Memory.KeyValues + result.Memory.Workspace,
            FirstToken = result.Times.FirstToken,
            Total = result.Times.Total,
        };
    }
}

/// <summary>When an answer counts as right.</summary>
internal static class AnswerMatch
{
    private static readonly char[] Punctuation = ['.', ',', ';', ':', '!', '?', ' '];

    /// <summary>Equal after trimming, lower-casing and dropping punctuation at the end.</summary>
    public static bool Equal(string answer, string expected) => Normalise(answer) == Normalise(expected);

    private static string Normalise(string text) => text.Trim().ToLowerInvariant().TrimEnd(Punctuation);
}

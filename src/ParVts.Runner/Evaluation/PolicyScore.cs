namespace ParVts.Runner.Evaluation;

/// <summary>What an evaluation found.</summary>
/// <param name="Dense">The reference, asked for or not.</param>
/// <param name="Policies">The policies that were asked for, in that order.</param>
internal sealed record EvaluationScores(PolicyScore Dense, IReadOnlyList<PolicyScore> Policies)
{
    /// <summary>What the questions are, which has figures of its own.</summary>
    public required Benchmarks.Benchmark Benchmark { get; init; }

    /// <summary>What a reader has to know of the policies, a sentence each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>The policies, with dense in front of them where nobody asked for it.</summary>
    public IReadOnlyList<PolicyScore> WithDense() => Policies.Contains(Dense) ? Policies : [Dense, .. Policies];

    /// <summary>Every pair of the policies; dense is one of them, asked for or not.</summary>
    public IEnumerable<PairedScore> Pairs()
    {
        IReadOnlyList<PolicyScore> all = WithDense();
        for (int a = 0; a < all.Count; a++)
        {
            for (int b = a + 1; b < all.Count; b++)
                yield return PairedScore.Of(all[a], all[b]);
        }
    }
}

/// <summary>A policy's answers.</summary>
/// <param name="Policy">The policy, as it was asked for.</param>
/// <param name="Questions">All questions.</param>
/// <param name="ByQuestion">An answer to each; null where the evaluation was cancelled before.</param>
internal sealed record PolicyScore(
    string Policy, IReadOnlyList<EvaluationQuestion> Questions, IReadOnlyList<EvaluationAnswer?> ByQuestion)
{
    /// <summary>The answers that there are.</summary>
    public IReadOnlyList<EvaluationAnswer> Answers { get; } = [.. ByQuestion.OfType<EvaluationAnswer>()];

    /// <summary>How many are wholly right.</summary>
    public int Correct => Answers.Count(answer => answer.IsCorrect);

    /// <summary>Mean of the scores, 0 to 1.</summary>
    public double Accuracy => Mean(answer => answer.Score);

    /// <summary>The 95 % interval of the accuracy.</summary>
    public (double Low, double High) AccuracyInterval => EvaluationStatistics.Interval([.. Answers.Select(answer => answer.Score)]);

    /// <summary>Answers equal to the dense model's, 0 to 1.</summary>
    public double Agreement => Mean(answer => answer.Agrees ? 1 : 0);

    /// <summary>
    /// Time of the prefills, as a share of dense's. Of the sums, so that long prompts count for what they take; against
    /// the dense runs that alternated with these, since a machine's speed changes from hour to hour.
    /// </summary>
    public double PrefillShare => Answers.Sum(answer => answer.Prefill) / Answers.Sum(answer => answer.DensePrefill);

    /// <summary>Mean loss of the visual features over the answers for which it was measured; not a number where there are none.</summary>
    public double ReconstructionLoss =>
        Answers.Select(answer => answer.ReconstructionLoss).Where(double.IsFinite).DefaultIfEmpty(double.NaN).Average();

    /// <summary>Accuracy by kind of question, in alphabetical order.</summary>
    public IEnumerable<(string Kind, double Accuracy, int Questions)> ByKind() =>
        Questions.Zip(ByQuestion)
            .Where(pair => pair.First.Kind is not null && pair.Second is not null)
            .GroupBy(pair => pair.First.Kind!)
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => (group.Key, group.Average(pair => pair.Second!.Score), group.Count()));

    /// <summary>Each question that was answered, with its answer.</summary>
    public IEnumerable<(EvaluationQuestion Question, EvaluationAnswer Answer)> Answered() =>
        Questions.Zip(ByQuestion).Where(pair => pair.Second is not null).Select(pair => (pair.First, pair.Second!));

    /// <summary>The mean of something over the answers.</summary>
    public double Mean(Func<EvaluationAnswer, double> value) => Answers.Count == 0 ? 0 : Answers.Average(value);
}

/// <summary>Two policies on the questions that both have answered.</summary>
/// <param name="A">The first.</param>
/// <param name="B">The second.</param>
/// <param name="OnlyA">Questions that the first has right and the second has not; of soft scores: for which it has more.</param>
/// <param name="OnlyB">The other way round.</param>
/// <param name="Difference">Mean score of the first less the second's.</param>
/// <param name="Probability">p, exact and two-sided; where answers are right or wrong, McNemar's.</param>
internal sealed record PairedScore(string A, string B, int OnlyA, int OnlyB, double Difference, double Probability)
{
    /// <summary>Compares two policies.</summary>
    public static PairedScore Of(PolicyScore a, PolicyScore b)
    {
        double[] differences =
        [
            .. a.ByQuestion.Zip(b.ByQuestion)
                .Where(pair => pair.First is not null && pair.Second is not null)
                .Select(pair => pair.First!.Score - pair.Second!.Score),
        ];
        return new PairedScore(
            a.Policy, b.Policy, differences.Count(one => one > 0), differences.Count(one => one < 0),
            differences.DefaultIfEmpty().Average(), EvaluationStatistics.SignFlip(differences));
    }
}

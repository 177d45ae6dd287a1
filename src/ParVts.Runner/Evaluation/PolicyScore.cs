namespace ParVts.Runner.Evaluation;

/// <summary>What an evaluation found.</summary>
/// <param name="Dense">The reference, asked for or not.</param>
/// <param name="Policies">The policies that were asked for, in that order.</param>
internal sealed record EvaluationScores(PolicyScore Dense, IReadOnlyList<PolicyScore> Policies)
{
    /// <summary>Every pair of the policies; dense is one of them, asked for or not.</summary>
    public IEnumerable<PairedScore> Pairs()
    {
        PolicyScore[] all = Policies.Contains(Dense) ? [.. Policies] : [Dense, .. Policies];
        for (int a = 0; a < all.Length; a++)
        {
            for (int b = a + 1; b < all.Length; b++)
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

    /// <summary>How many are correct.</summary>
    public int Correct => Answers.Count(answer => answer.IsCorrect);

    /// <summary>Correct answers, 0 to 1.</summary>
    public double Accuracy => Mean(answer => answer.IsCorrect ? 1 : 0);

    /// <summary>The 95 % interval of the accuracy.</summary>
    public (double Low, double High) AccuracyInterval => EvaluationStatistics.Wilson(Correct, Answers.Count);

    /// <summary>Answers equal to the dense model's, 0 to 1.</summary>
    public double Agreement => Mean(answer => answer.Agrees ? 1 : 0);

    /// <summary>
    /// Time of the prefills, as a share of dense's. Of the sums, so that long prompts count for what they take; against
    /// the dense runs that alternated with these, since a machine's speed changes from hour to hour.
    /// </summary>
    public double PrefillShare => Answers.Sum(answer => answer.Prefill) / Answers.Sum(answer => answer.DensePrefill);

    /// <summary>Accuracy by kind of question, in alphabetical order.</summary>
    public IEnumerable<(string Kind, double Accuracy, int Questions)> ByKind() =>
        Questions.Zip(ByQuestion)
            .Where(pair => pair.First.Kind is not null && pair.Second is not null)
            .GroupBy(pair => pair.First.Kind!)
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => (group.Key, group.Average(pair => pair.Second!.IsCorrect ? 1.0 : 0.0), group.Count()));

    /// <summary>The mean of something over the answers.</summary>
    public double Mean(Func<EvaluationAnswer, double> value) => Answers.Count == 0 ? 0 : Answers.Average(value);
}

/// <summary>Two policies on the questions that both have answered.</summary>
/// <param name="A">The first.</param>
/// <param name="B">The second.</param>
/// <param name="OnlyA">Questions that only the first has right.</param>
/// <param name="OnlyB">Questions that only the second has right.</param>
internal sealed record PairedScore(string A, string B, int OnlyA, int OnlyB)
{
    /// <summary>McNemar's exact p, two-sided.</summary>
    public double Probability => EvaluationStatistics.McNemar(OnlyA, OnlyB);

    /// <summary>Compares two policies.</summary>
    public static PairedScore Of(PolicyScore a, PolicyScore b)
    {
        (bool A, bool B)[] both =
        [
            .. a.ByQuestion.Zip(b.ByQuestion)
                .Where(pair => pair.First is not null && pair.Second is not null)
                .Select(pair => (pair.First!.IsCorrect, pair.Second!.IsCorrect)),
        ];
        return new PairedScore(
            a.Policy, b.Policy, both.Count(right => right.A && !right.B), both.Count(right => right.B && !right.A));
    }
}

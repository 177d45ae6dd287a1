using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;

namespace ParVts.Runner.Evaluation;

/// <summary>What is measured, and how the questions are put.</summary>
internal sealed record EvaluationSettings(
    IReadOnlyList<string> Policies, GenerationOptions Options, string Template, ImageAspect Aspect);

/// <summary>An answer to a question.</summary>
/// <param name="Text">What was answered.</param>
/// <param name="IsCorrect">It equals the expected answer.</param>
/// <param name="Agrees">It equals the first policy's answer.</param>
/// <param name="Tokens">New tokens.</param>
/// <param name="Times">Times.</param>
/// <param name="FlopsShare">FLOPs of the prefill, as a share of dense.</param>
internal sealed record EvaluationAnswer(
    string Text, bool IsCorrect, bool Agrees, int Tokens, GenerationTimes Times, double FlopsShare);

/// <summary>A policy's answers, in the order of the questions; fewer where the evaluation was cancelled.</summary>
internal sealed record PolicyScore(string Policy, IReadOnlyList<EvaluationQuestion> Questions)
{
    /// <summary>The answers so far.</summary>
    public List<EvaluationAnswer> Answers { get; } = [];

    /// <summary>Correct answers, 0 to 1.</summary>
    public double Accuracy => Share(answer => answer.IsCorrect);

    /// <summary>Answers equal to the first policy's, 0 to 1.</summary>
    public double Agreement => Share(answer => answer.Agrees);

    /// <summary>Accuracy by kind of question, in alphabetical order.</summary>
    public IEnumerable<(string Kind, double Accuracy, int Questions)> ByKind() =>
        Questions.Zip(Answers)
            .Where(pair => pair.First.Kind is not null)
            .GroupBy(pair => pair.First.Kind!)
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => (group.Key, group.Average(pair => pair.Second.IsCorrect ? 1.0 : 0.0), group.Count()));

    /// <summary>The mean of something over the answers.</summary>
    public double Mean(Func<EvaluationAnswer, double> value) => Answers.Count == 0 ? 0 : Answers.Average(value);

    private double Share(Func<EvaluationAnswer, bool> holds) => Mean(answer => holds(answer) ? 1 : 0);
}

/// <summary>Asks every question under every policy.</summary>
internal static class Evaluator
{
    // Questions about one picture mostly stand together in a file; this many pictures are kept.
    private const int KeptImages = 64;

    /// <summary>Runs until done or cancelled; greedy, each question on its own.</summary>
    public static IReadOnlyList<PolicyScore> Run(
        InferenceEngine engine, IReadOnlyList<EvaluationQuestion> questions, EvaluationSettings settings,
        Action<int> progress, CancellationToken cancellation)
    {
        PolicyScore[] scores = [.. settings.Policies.Select(policy => new PolicyScore(policy, questions))];
        Session[] sessions = [.. settings.Policies.Select(engine.CreateSession)];
        try
        {
            var images = new Dictionary<string, PromptImage>();
            for (int done = 0; done < questions.Count && !cancellation.IsCancellationRequested; done++)
            {
                PromptImage image = Load(engine, questions[done], settings.Aspect, images);
                AskAll(engine, questions[done], image, settings, sessions, scores, cancellation);
                progress(done + 1);
            }
        }
        finally
        {
            foreach (Session session in sessions)
                session.Dispose();
        }

        return scores;
    }

    private static PromptImage Load(
        InferenceEngine engine, EvaluationQuestion question, ImageAspect aspect, Dictionary<string, PromptImage> images)
    {
        if (images.TryGetValue(question.Image, out PromptImage? image))
            return image;
        if (images.Count == KeptImages)
            images.Clear();
        image = engine.PrepareImage(Picture.Load(question.Image).Image, aspect);
        images.Add(question.Image, image);
        return image;
    }

    private static void AskAll(
        InferenceEngine engine, EvaluationQuestion question, PromptImage image, EvaluationSettings settings,
        Session[] sessions, PolicyScore[] scores, CancellationToken cancellation)
    {
        Prompt prompt = engine.CreatePrompt([PromptText.UserMessage(question.Question, 1)], [image], settings.Template);
        var answers = new EvaluationAnswer[sessions.Length];
        for (int policy = 0; policy < sessions.Length; policy++)
        {
            // What one question left in the cache must not change the next one's figures.
            sessions[policy].Reset();
            GenerationResult result = sessions[policy].Generate(prompt, settings.Options, cancellation: cancellation);
            if (result.Finish == FinishReason.Cancelled)
                return;
            answers[policy] = new EvaluationAnswer(
                result.Text,
                AnswerMatch.Equal(result.Text, question.Answer),
                policy == 0 || AnswerMatch.Equal(result.Text, answers[0].Text),
                result.Tokens.Count,
                result.Times,
                result.Trace.FlopsDense == 0 ? 1 : (double)result.Trace.Flops / result.Trace.FlopsDense);
        }

        for (int policy = 0; policy < sessions.Length; policy++)
            scores[policy].Answers.Add(answers[policy]);
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

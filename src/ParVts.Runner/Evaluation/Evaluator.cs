using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;

namespace ParVts.Runner.Evaluation;

/// <summary>What is measured, and how the questions are put.</summary>
/// <param name="Policies">The policies to report.</param>
/// <param name="MaxTokens">New tokens at most.</param>
/// <param name="Template">The chat template.</param>
/// <param name="Aspect">How a picture becomes square.</param>
/// <param name="Reconstruction">Measure how well the visual rows that enter the decoder stand for dense's; one more prefill a question and policy.</param>
internal sealed record EvaluationSettings(
    IReadOnlyList<string> Policies, int MaxTokens, string Template, ImageAspect Aspect, bool Reconstruction);

/// <summary>
/// Asks every question under every policy and, as the reference, under dense. One caller at a time.
/// </summary>
internal sealed class Evaluator : IDisposable
{
    private const string Reference = "dense";

    private readonly InferenceEngine _engine;
    private readonly EvaluationData _data;
    private readonly QuestionPrompts _prompts;
    private readonly GenerationOptions _options;
    private readonly bool _reconstruction;
    private readonly List<Session> _sessions = [];
    private readonly Session _dense;
    private readonly List<(string Policy, string FullName)> _policies = [];
    private bool _warm;

    /// <summary>Opens a session for each policy.</summary>
    /// <exception cref="ParVts.Engine.PolicyException">A policy does not fit the model.</exception>
    public Evaluator(InferenceEngine engine, EvaluationData data, QuestionPrompts prompts, EvaluationSettings settings)
    {
        _engine = engine;
        _data = data;
        _prompts = prompts;
        _options = new GenerationOptions { MaxTokens = settings.MaxTokens, KeepLogits = true };
        _options.Validate();
        _reconstruction = settings.Reconstruction;
        _dense = Open(Reference);
        foreach (string policy in settings.Policies)
            _policies.Add((policy, Open(policy).Policy));
    }

    /// <summary>Asks what the table does not hold yet, until done or cancelled; greedy, each question on its own.</summary>
    public void Run(
        IReadOnlyList<EvaluationQuestion> questions, AnswerTable table, Action<int> progress, CancellationToken cancellation)
    {
        for (int done = 0; done < questions.Count && !cancellation.IsCancellationRequested; done++)
        {
            AskAll(questions[done], done, table, cancellation);
            progress(done + 1);
        }
    }

    /// <summary>What the table says of these questions.</summary>
    public EvaluationScores Score(IReadOnlyList<EvaluationQuestion> questions, AnswerTable table)
    {
        PolicyScore dense = Score(Reference, Reference);
        return new EvaluationScores(
            dense, [.. _policies.Select(policy => policy.FullName == Reference ? dense : Score(policy.Policy, policy.FullName))])
        {
            Benchmark = _data.Benchmark,
        };

        PolicyScore Score(string policy, string fullName) =>
            new(policy, questions, [.. questions.Select(question => table.Find(fullName, question))]);
    }

    public void Dispose()
    {
        foreach (Session session in _sessions)
            session.Dispose();
    }

    /// <summary>An order for each question: every policy takes its turn at being first, which may be slower than the others.</summary>
    public static IEnumerable<T> Rotate<T>(IReadOnlyList<T> items, int by) =>
        Enumerable.Range(0, items.Count).Select(i => items[(by + i) % items.Count]);

    // Two ways to write a policy are one policy.
    private Session Open(string policy)
    {
        Session session = _engine.CreateSession(policy);
        if (_sessions.Find(other => other.Policy == session.Policy) is Session same)
        {
            session.Dispose();
            return same;
        }

        _sessions.Add(session);
        return session;
    }

    private void AskAll(EvaluationQuestion question, int number, AnswerTable table, CancellationToken cancellation)
    {
        Session[] missing = [.. _sessions.Where(session => table.Find(session.Policy, question) is null)];
        if (missing.Length == 0)
            return;

        // The others are compared with dense's logits and times, which no table holds for them.
        Session[] asked = missing.Contains(_dense) ? missing : [_dense, .. missing];
        Prompt prompt = _prompts.Create(question);
        WarmUp(prompt, cancellation);
        var results = new Dictionary<Session, GenerationResult>();
        var kvBytes = new Dictionary<Session, long>();
        var features = new Dictionary<Session, VisualFeatures>();
        foreach (Session session in Rotate(asked, number))
        {
            // What one question left in the cache must not change the next one's figures.
            session.Reset();
            GenerationResult result = session.Generate(prompt, _options, cancellation: cancellation);
            if (result.Finish == FinishReason.Cancelled)
                return;
            results.Add(session, result);
            kvBytes.Add(session, session.KeyValueBytes);
            if (_reconstruction)
                features.Add(session, Features(session, prompt));
        }

        table.Add(
            question,
            [.. missing.Select(session => (session.Policy, Judge(session)))]);

        EvaluationAnswer Judge(Session session) => EvaluationAnswer.Of(
            _data.Benchmark.Score(question, results[session].Text), results[session], kvBytes[session], results[_dense]) with
        {
            ReconstructionLoss = _reconstruction ? features[_dense].LossIn(features[session]) : double.NaN,
        };
    }

    // In a run of its own: watching a prefill takes time, and keeps a GPU from running ahead.
    private VisualFeatures Features(Session session, Prompt prompt)
    {
        session.Reset();
        return VisualFeatures.During(session, () => session.Generate(prompt, _options with { MaxTokens = 1 }));
    }

    // The first run of all maps the weights in and compiles the code; it would count against whoever made it.
    private void WarmUp(Prompt prompt, CancellationToken cancellation)
    {
        if (!_warm)
            _dense.Generate(prompt, _options with { MaxTokens = 1 }, cancellation: cancellation);
        _warm = true;
    }
}

using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;

namespace ParVts.Runner.Analyzing;

/// <summary>A request that is analysed.</summary>
/// <param name="Id">What it is called in tables.</param>
/// <param name="Prompt">What is asked.</param>
/// <param name="Expected">The right answer, or null where nobody knows it.</param>
internal sealed record AnalysisRequest(string Id, Prompt Prompt, string? Expected);

/// <summary>What a knock-out does to an answer.</summary>
/// <param name="Text">The answer with it.</param>
/// <param name="Divergence">KL(without || with) of the first new token's distribution, in nats.</param>
/// <param name="IsSame">All new tokens are those without it.</param>
internal sealed record KnockedOutAnswer(string Text, double Divergence, bool IsSame);

/// <summary>What was found about a request.</summary>
/// <param name="Request">The request.</param>
/// <param name="Text">The answer.</param>
/// <param name="Layers">The figures, layer by layer.</param>
/// <param name="FilterLayer">The layer in which VisiPruner filters; null where it never does.</param>
/// <param name="ExitLayer">The first layer without visual tokens under VisiPruner; null where they stay to the end.</param>
/// <param name="KnockedOut">With each knock-out, in the order in which they were asked for.</param>
internal sealed record RequestAnalysis(
    AnalysisRequest Request, string Text, IReadOnlyList<LayerFigures> Layers, int? FilterLayer, int? ExitLayer,
    IReadOnlyList<KnockedOutAnswer> KnockedOut);

/// <summary>
/// Measures requests layer by layer, lets VisiPruner say where its stages end, and asks again with knock-outs; decoding is greedy. One
/// caller at a time.
/// </summary>
internal sealed class Analyzer : IDisposable
{
    private readonly AnalysisPolicy _measuring;
    private readonly Session _measured;
    private readonly Session _pruned;
    private readonly List<Session> _knockedOut = [];
    private readonly GenerationOptions _options;

    /// <summary>Opens a session for each way in which the requests are asked.</summary>
    /// <param name="engine">The model.</param>
    /// <param name="policy">The policy under which figures are measured.</param>
    /// <param name="visiPruner">VisiPruner, with the thresholds that count.</param>
    /// <param name="knockOuts">Knock-outs to try.</param>
    /// <param name="maxTokens">New tokens of an answer, at most.</param>
    /// <exception cref="ParVts.Engine.PolicyException">A policy does not fit the model, or cannot be knocked out.</exception>
    public Analyzer(InferenceEngine engine, string policy, VisiPrunerPolicy visiPruner, IReadOnlyList<KnockOut> knockOuts, int maxTokens)
    {
        _options = new GenerationOptions { MaxTokens = maxTokens, KeepLogits = true };
        _options.Validate();
        KnockOuts = knockOuts;
        _measuring = new AnalysisPolicy(PolicyRegistry.Create(policy));
        _measured = engine.CreateSession(_measuring);
        try
        {
            _pruned = engine.CreateSession(visiPruner);
            foreach (KnockOut knockOut in knockOuts)
                _knockedOut.Add(engine.CreateSession(knockOut.With(policy)));
        }
        catch
        {
            _pruned?.Dispose();
            Close();
            throw;
        }
    }

    /// <summary>The policy, defaults filled in.</summary>
    public string Policy => _measuring.Name;

    /// <summary>The knock-outs that are tried.</summary>
    public IReadOnlyList<KnockOut> KnockOuts { get; }

    /// <summary>Analyses a request; null where it was cancelled.</summary>
    public RequestAnalysis? Ask(AnalysisRequest request, CancellationToken cancellation)
    {
        GenerationResult? plain = Ask(_measured, request, _options, cancellation);
        LayerFigures[] figures = [.. _measuring.Figures];
        GenerationResult? pruned = Ask(_pruned, request, _options with { MaxTokens = 1 }, cancellation);
        if (plain is null || pruned is null)
            return null;
        var knocked = new List<KnockedOutAnswer>();
        foreach (Session session in _knockedOut)
        {
            if (Ask(session, request, _options, cancellation) is not GenerationResult result)
                return null;
            double divergence = TokenDistribution.Divergence(plain.PromptLogits!, result.PromptLogits!);
            knocked.Add(new KnockedOutAnswer(result.Text, divergence, result.Tokens.SequenceEqual(plain.Tokens)));
        }

        // Whatever leaves first leaves behind the layer that filters.
        ScheduleEvent? filtered = pruned.Trace.Events.FirstOrDefault(e => e.Kind is ScheduleEventKind.Select or ScheduleEventKind.Leave);
        ScheduleEvent? left = pruned.Trace.Events.FirstOrDefault(e => e.Kind == ScheduleEventKind.Leave);
        return new RequestAnalysis(request, plain.Text, figures, filtered?.Layer - 1, left?.Layer, knocked);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pruned.Dispose();
        Close();
    }

    private void Close()
    {
        _measured.Dispose();
        foreach (Session session in _knockedOut)
            session.Dispose();
    }

    private static GenerationResult? Ask(Session session, AnalysisRequest request, GenerationOptions options, CancellationToken cancellation)
    {
        // What one request left in the cache must not change the next one's figures.
        session.Reset();
        GenerationResult result = session.Generate(request.Prompt, options, cancellation: cancellation);
        return result.Finish == FinishReason.Cancelled ? null : result;
    }
}

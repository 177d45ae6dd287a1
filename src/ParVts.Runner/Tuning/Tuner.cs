using ParVts.Engine.Generation;

namespace ParVts.Runner.Tuning;

/// <summary>A setting that was tried.</summary>
/// <param name="Policy">The policy string.</param>
/// <param name="FlopsShare">FLOPs of its prefill, as a share of dense, over all prompts.</param>
/// <param name="Divergence">
/// KL(dense || policy) of the first token, in nats, summed over the prompts that were asked and divided by all: the mean, or
/// where not all were asked a bound that the mean cannot be below.
/// </param>
/// <param name="Prompts">How many were asked: fewer than all where it could not get below the threshold any more.</param>
/// <param name="IsMean">All were asked.</param>
internal sealed record TuningTrial(string Policy, double FlopsShare, double Divergence, int Prompts, bool IsMean);

/// <summary>
/// Finds the cheapest setting of a policy whose first tokens stay close to the dense model's (SCHEDULES.md, section 5): no
/// labels, only pictures and prompts. Settings are tried from the cheapest on; the first cost at which one stays under the
/// threshold ends the search, and of its settings the closest wins.
/// </summary>
internal sealed class Tuner(InferenceEngine engine, IReadOnlyList<Prompt> prompts, double threshold)
{
    // Two settings cost the same where only rounding tells them apart.
    private const double SameCost = 1e-9;

    private readonly List<TuningTrial> _trials = [];

    /// <summary>Every setting that was tried, in order.</summary>
    public IReadOnlyList<TuningTrial> Trials => _trials;

    /// <summary>
    /// Sets to try, where settings do not exclude each other: the one that stays closest alone, then the two that do, and so on
    /// (ShortV, arXiv 2504.00502). Ties go to the setting that is named first.
    /// </summary>
    /// <param name="settings">Policy strings of one part each.</param>
    /// <param name="together">Makes one policy string of several.</param>
    /// <param name="progress">Is told (ranked, of how many).</param>
    /// <param name="cancellation">Ends the ranking with an <see cref="OperationCanceledException"/>.</param>
    public IReadOnlyList<string> Sets(
        IReadOnlyList<string> settings, Func<IReadOnlyList<string>, string> together, Action<int, int> progress, CancellationToken cancellation)
    {
        if (settings.Count < 2)
            return settings;
        IReadOnlyList<float>[] dense = Dense(cancellation);
        double[] alone = new double[settings.Count];
        for (int i = 0; i < alone.Length; i++)
        {
            alone[i] = Divergence(settings[i], dense, cancellation);
            progress(i + 1, alone.Length);
        }

        string[] ranked = [.. Enumerable.Range(0, alone.Length).OrderBy(i => alone[i]).Select(i => settings[i])];
        return [.. Enumerable.Range(1, ranked.Length).Select(count => together(ranked[..count]))];
    }

    /// <summary>The winner; null where no setting stays under the threshold.</summary>
    /// <param name="settings">Policy strings.</param>
    /// <param name="progress">Is told (tried, of how many at most).</param>
    /// <param name="cancellation">Ends the search with an <see cref="OperationCanceledException"/>.</param>
    public TuningTrial? Run(IReadOnlyList<string> settings, Action<int, int> progress, CancellationToken cancellation)
    {
        (string Policy, double Cost)[] sorted = [.. settings.Select(policy => (policy, Cost(policy))).OrderBy(setting => setting.Item2)];
        IReadOnlyList<float>[] dense = Dense(cancellation);
        TuningTrial? best = null;
        for (int i = 0; i < sorted.Length; i++)
        {
            if (best is not null && sorted[i].Cost > best.FlopsShare + SameCost)
                break;
            TuningTrial trial = Try(sorted[i].Policy, sorted[i].Cost, dense, cancellation);
            _trials.Add(trial);
            progress(i + 1, sorted.Length);
            if (trial.IsMean && trial.Divergence < threshold && !(trial.Divergence >= best?.Divergence))
                best = trial;
        }

        return best;
    }

    /// <summary>The trial with every prompt asked, whatever the threshold.</summary>
    public TuningTrial Finish(TuningTrial trial, CancellationToken cancellation)
    {
        double mean = Divergence(trial.Policy, Dense(cancellation), cancellation);
        return trial with { Divergence = mean, Prompts = prompts.Count, IsMean = true };
    }

    private IReadOnlyList<float>[] Dense(CancellationToken cancellation) => [.. prompts.Select(prompt => Logits("dense", prompt, cancellation))];

    // The mean over all prompts.
    private double Divergence(string policy, IReadOnlyList<float>[] dense, CancellationToken cancellation)
    {
        double sum = 0;
        for (int i = 0; i < prompts.Count; i++)
            sum += TokenDistribution.Divergence(dense[i], Logits(policy, prompts[i], cancellation));
        return sum / prompts.Count;
    }

    private TuningTrial Try(string policy, double cost, IReadOnlyList<float>[] dense, CancellationToken cancellation)
    {
        double sum = 0;
        for (int i = 0; i < prompts.Count; i++)
        {
            sum += TokenDistribution.Divergence(dense[i], Logits(policy, prompts[i], cancellation));

            // A divergence is never negative: the mean cannot come back under the threshold.
            if (!(sum < threshold * prompts.Count))
                return new TuningTrial(policy, cost, sum / prompts.Count, i + 1, i + 1 == prompts.Count);
        }

        return new TuningTrial(policy, cost, sum / prompts.Count, prompts.Count, IsMean: true);
    }

    // FLOPs are planned, not measured: a setting need not run to be put in its place.
    private double Cost(string policy)
    {
        using Session session = engine.CreateSession(policy);
        double flops = 0;
        double whole = 0;
        foreach (Prompt prompt in prompts)
        {
            ParVts.Engine.Scheduling.ScheduleTrace trace = session.PlanTrace(prompt);
            flops += trace.Flops;
            whole += trace.FlopsDense;
        }

        return flops / whole;
    }

    private IReadOnlyList<float> Logits(string policy, Prompt prompt, CancellationToken cancellation)
    {
        using Session session = engine.CreateSession(policy);
        GenerationResult result = session.Generate(
            prompt, new GenerationOptions { MaxTokens = 1, KeepLogits = true }, cancellation: cancellation);
        cancellation.ThrowIfCancellationRequested();
        return result.PromptLogits!;
    }
}

using ParVts.Engine.Generation;
using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Evaluation;

/// <summary>A policy that was set to a budget.</summary>
/// <param name="Policy">The policy string to run.</param>
/// <param name="Note">What a reader has to know: that it was not set, or how near it came; null where it meets the budget.</param>
internal sealed record BudgetedPolicy(string Policy, string? Note);

/// <summary>
/// Sets policies to a budget, each by its one budget parameter (<see cref="PolicyInfo.Budget"/>): a search between the least and the
/// most that it can be set to, over what some questions take. Sizes come from the plan; where a policy finds them out while it runs,
/// from runs. The same questions give the same settings. One caller at a time.
/// </summary>
/// <param name="engine">The model.</param>
/// <param name="prompts">The questions that are measured, at least one, each with a picture.</param>
internal sealed class BudgetSolver(InferenceEngine engine, IReadOnlyList<Prompt> prompts)
{
    /// <summary>Questions worth measuring; a policy that has to run is measured on fewer.</summary>
    public const int Sample = 8;
    private const int Runs = 2;

    private const int Steps = 30;

    // Nearer than this counts as equal: parameters have steps.
    private const double Near = 0.02;

    private readonly Dictionary<string, (double Tokens, double Flops)> _costs = [];

    /// <summary>Sets a policy to a budget.</summary>
    /// <exception cref="ParVts.Engine.PolicyException">The policy does not fit the model.</exception>
    public BudgetedPolicy Solve(string policy, EvaluationBudget budget)
    {
        if (PolicyRegistry.Create(policy) is { Name: "dense" })
            return new BudgetedPolicy(policy, null);
        if (Write(policy, 0) is null)
            return new BudgetedPolicy(policy, $"{policy} is not set to {budget}: it runs as it is written (its sizes follow from what it measures, or are given)");

        (string Policy, double Cost) low = At(0);
        (string Policy, double Cost) high = At(1);

        // The budget itself as a share comes first: of settings that take the same, it is the one that people would write.
        (string Policy, double Cost) best = Nearer(Nearer(At(budget.IsTokens ? budget.Value / prompts[0].TokensPerImage : budget.Value), low), high);
        double from = 0;
        double to = 1;
        for (int step = 0; step < Steps && low.Policy != high.Policy && low.Cost <= budget.Value && high.Cost >= budget.Value; step++)
        {
            double middle = (from + to) / 2;
            (string Policy, double Cost) tried = At(middle);
            best = Nearer(best, tried);
            if (tried.Cost <= budget.Value)
                (from, low) = (middle, tried);
            else
                (to, high) = (middle, tried);
        }

        bool met = Math.Abs(best.Cost - budget.Value) <= Near * budget.Value;
        return new BudgetedPolicy(best.Policy, met ? null : $"{best.Policy} takes {budget.Amount(best.Cost)}: it can be set no nearer to {budget}");

        (string, double) At(double share)
        {
            string written = Write(policy, share)!;
            return (written, Cost(written, budget));
        }

        (string Policy, double Cost) Nearer((string Policy, double Cost) a, (string Policy, double Cost) b) =>
            Math.Abs(b.Cost - budget.Value) < Math.Abs(a.Cost - budget.Value) ? b : a;
    }

    private string? Write(string policy, double share) =>
        PolicyRegistry.WithBudget(policy, share, engine.PolicyModel, prompts[0].TokensPerImage);

    private double Cost(string policy, EvaluationBudget budget)
    {
        if (!_costs.TryGetValue(policy, out (double Tokens, double Flops) cost))
        {
            cost = Measure(policy);
            _costs.Add(policy, cost);
        }

        return budget.IsTokens ? cost.Tokens : cost.Flops;
    }

    private (double Tokens, double Flops) Measure(string policy)
    {
        using Session session = engine.CreateSession(policy);
        bool known = PolicyRegistry.Create(policy).SizesAreKnown;
        int count = Math.Min(known ? Sample : Runs, prompts.Count);
        double tokens = 0;
        double flops = 0;
        foreach (Prompt prompt in prompts.Take(count))
        {
            session.Reset();
            ScheduleTrace trace = known ? session.PlanTrace(prompt) : session.Generate(prompt, new GenerationOptions { MaxTokens = 1 }).Trace;
            int layers = trace.RowsByLayer.Length;
            tokens += Enumerable.Range(0, layers).Average(layer => trace.KeptAt(layer).Count) / count;
            flops += (double)trace.Flops / trace.FlopsDense / count;
        }

        return (tokens, flops);
    }
}

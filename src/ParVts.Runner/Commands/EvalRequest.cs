using ParVts.Engine.Scheduling;
using ParVts.Runner.Evaluation;
using ParVts.Runner.Output;

namespace ParVts.Runner.Commands;

/// <summary>What <c>parvts eval</c> is to do.</summary>
internal sealed record EvalRequest
{
    /// <summary>The questions.</summary>
    public EvaluationData Data { get; init; } = null!;

    /// <summary>How they are put; without policies, which may have to be set to a budget.</summary>
    public EvaluationSettings Settings { get; init; } = null!;

    /// <summary>The policies, as they were written.</summary>
    public required IReadOnlyList<string> Policies { get; init; }

    /// <summary>What each of them is set to; empty where they run as they are written.</summary>
    public required IReadOnlyList<EvaluationBudget> Budgets { get; init; }

    /// <summary>Only so many questions.</summary>
    public required int Limit { get; init; }

    /// <summary>Of these, this part.</summary>
    public required Shard Shard { get; init; }

    /// <summary>The table of answers, or null.</summary>
    public required string? Output { get; init; }

    /// <summary>Drop what the table holds.</summary>
    public required bool Restart { get; init; }

    /// <summary>The page of figures, or null.</summary>
    public required string? Markdown { get; init; }

    /// <summary>The plot, or null.</summary>
    public required string? Plot { get; init; }

    /// <summary>Refuses what can be refused without reading a file.</summary>
    public void Require()
    {
        foreach (string policy in Policies)
            _ = PolicyRegistry.Create(policy);
        if (this is { Restart: true, Output: null })
            throw new UsageException("--restart starts a table over; name it with --out");
        OutputFile.Require("--markdown", Markdown);
        PlotFile.Require("--plot", Plot);
    }
}

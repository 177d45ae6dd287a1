namespace ParVts.Engine.Scheduling;

/// <summary>
/// What a policy's page says beside its parameters and source: <c>docs/methods/NAME.md</c> and <c>parvts policies NAME</c> are made of
/// it. Markdown of one level: lists, emphasis, code.
/// </summary>
public sealed record PolicyPage
{
    /// <summary>The method's own name.</summary>
    public required string Title { get; init; }

    /// <summary>Where it acts, in a few words.</summary>
    public required string Acts { get; init; }

    /// <summary>Positions run without gaps among the rows that are left, anew at each cut; otherwise survivors keep theirs.</summary>
    public bool CompactPositions { get; init; }

    /// <summary>What the KV cache holds after the prefill, in a few words.</summary>
    public required string Cache { get; init; }

    /// <summary>Why it should work, in a sentence or two.</summary>
    public required string Idea { get; init; }

    /// <summary>Exactly what it does, as a list.</summary>
    public required string Rule { get; init; }

    /// <summary>What the publication does not say and was decided here, or was left out.</summary>
    public required string Ours { get; init; }

    /// <summary>The licence of the source's code. Nothing of it is used.</summary>
    public required string Licence { get; init; }

    /// <summary>What the rule was held against.</summary>
    public required string Checked { get; init; }
}

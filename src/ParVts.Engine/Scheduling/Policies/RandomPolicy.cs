namespace ParVts.Engine.Scheduling.Policies;

/// <summary>Keeps a seeded random choice of visual tokens; the others never enter the decoder. The same seed keeps the same places.</summary>
internal sealed class RandomPolicy : VisualTokenPolicy
{
    private readonly VisualChoice _choice;
    private readonly ulong _seed;

    private RandomPolicy(PolicyParameters parameters)
    {
        _choice = new VisualChoice(parameters);
        _seed = parameters.Seed("seed");
    }

    public static PolicyInfo Info { get; } = new(
        "random",
        "keeps visual tokens by a seeded lottery; the others never enter the decoder",
        "a baseline (ours)",
        [
            VisualChoice.Parameters[0],
            new("seed", "0", "a whole number from 0", "the same seed keeps the same places"),
            VisualChoice.Parameters[1],
        ],
        parameters => new RandomPolicy(parameters))
    {
        Budget = budget => $"keep={budget.Count}",
        Page = new()
        {
            Title = "Random choice",
            Acts = "before the decoder",
            Cache = "prefix, the tokens that stay and text in every layer",
            Idea = """
                What a method gains over chance, at the same number of tokens.
                """,
            Rule = """
                - Each visual token draws a number from SplitMix64, seeded with `seed`; the `keep` lowest stay. The same seed keeps
                  the same places on every machine.
                """,
            Ours = "All of it: a baseline.",
            Licence = "ours",
            Checked = "a reference of our own alone",
        },
    };

    public override string Name => $"random:keep={_choice.Keep},seed={_seed}{_choice.Suffix}";

    public override IReadOnlyList<PolicySpan> Spans => [new(-1, -1, PolicyEffect.Select)];

    public override void Bind(PolicyModel model) => _choice.Bind(model);

    public override void OnVisionTokens(ScheduleState state)
    {
        if (state.Rows.CountOf(RowRole.Visual) == 0)
            return;
        ulong lottery = _seed;
        state.Keep(_choice.Choose(state, (first, count, keep) =>
        {
            var tickets = new ulong[count];
            int[] places = new int[count];
            for (int i = 0; i < count; i++)
            {
                tickets[i] = SplitMix(ref lottery);
                places[i] = first + i;
            }

            Array.Sort(tickets, places);
            int[] kept = places[..keep];
            Array.Sort(kept);
            return kept;
        }));
    }

    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same numbers on every machine and runtime.
    private static ulong SplitMix(ref ulong state)
    {
        ulong z = state += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}

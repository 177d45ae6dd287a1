using ParVts.Engine.Scheduling;

namespace ParVts.Runner.Explaining;

/// <summary>What a visual token is at the entry of a layer.</summary>
internal enum TokenState
{
    /// <summary>It is there.</summary>
    Alive,

    /// <summary>It is there, in path A of two.</summary>
    Subject,

    /// <summary>It is there, in path B of two.</summary>
    Rest,

    /// <summary>It has left.</summary>
    Dropped,
}

/// <summary>Follows the visual tokens through the policy's decisions.</summary>
internal static class TokenStates
{
    /// <summary>The state of every visual token at the entry of a layer; after the last where it is the number of layers.</summary>
    public static TokenState[] At(ExplainData data, int layer) => At(data.Events, data.Visual, layer);

    /// <summary>The same from the policy's decisions and the number of visual tokens.</summary>
    public static TokenState[] At(IEnumerable<ScheduleEvent> events, int visual, int layer)
    {
        var states = new TokenState[visual];
        ScheduleEvent[] past = [.. events.Where(done => done.Layer <= layer)];
        if (past.Length == 0)
            return states;
        IReadOnlyList<int>? subject = SubjectAfter(past);
        Array.Fill(states, TokenState.Dropped);
        // A class token's row and a merged one are no patch of a picture.
        foreach (int token in past[^1].Kept.Where(token => token >= 0))
            states[token] = subject is null ? TokenState.Alive : TokenState.Rest;
        foreach (int token in subject ?? [])
            states[token] = states[token] == TokenState.Dropped ? TokenState.Dropped : TokenState.Subject;
        return states;
    }

    /// <summary>The first layer of each run of layers whose states are the same, 0 first.</summary>
    public static IEnumerable<(int Layer, TokenState[] States)> Stages(ExplainData data)
    {
        TokenState[]? before = null;
        for (int layer = 0; layer <= data.Layers.Count; layer++)
        {
            TokenState[] states = At(data, layer);
            if (before is null || !states.AsSpan().SequenceEqual(before))
                yield return (layer, states);
            before = states;
        }
    }

    /// <summary>Path A's tokens while two paths run; null where there is one path.</summary>
    private static IReadOnlyList<int>? SubjectAfter(ScheduleEvent[] past)
    {
        IReadOnlyList<int>? subject = null;
        foreach (ScheduleEvent done in past)
        {
            subject = done.Kind switch
            {
                ScheduleEventKind.Split => done.Subject,
                ScheduleEventKind.Fuse or ScheduleEventKind.Leave => null,
                _ => subject,
            };
        }

        return subject;
    }
}

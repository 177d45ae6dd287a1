using System.Runtime.InteropServices;

namespace ParVts.Engine.Scheduling;

/// <content>Choices by rank, which a device may make while the host runs ahead (contract P2).</content>
public sealed partial class ScheduleState
{
    private readonly List<RankedChoice> _pending = [];
    private readonly List<int> _template = [];
    private readonly List<Row> _visualRows = [];

    /// <summary>The choice that changes the rows now; null where these were named one by one.</summary>
    internal RankedChoice? Choice { get; private set; }

    /// <summary>
    /// Of <see cref="Choice"/>, for each new row: the old row that it is, or −1 − p where it is the visual token of place p of
    /// <see cref="RankedChoice.Places"/>.
    /// </summary>
    internal ReadOnlySpan<int> Template => CollectionsMarshal.AsSpan(_template);

    /// <summary>Choices whose outcome is not known here yet, in order.</summary>
    internal IReadOnlyList<RankedChoice> Pending => _pending;

    /// <summary>Reads back what the device chose: calls <see cref="Resolve"/>. Null in a plan.</summary>
    internal Action? ReadBack { get; set; }

    /// <summary>
    /// Keeps, of each group, the visual tokens of the highest scores (ties go to the lower index, a NaN ranks below every
    /// number) and drops the others' rows. Sizes are known at once; which tokens these are need not be.
    /// </summary>
    /// <param name="source">What is ranked.</param>
    /// <param name="groups">Who is ranked among whom: in order, together every visual token that is there.</param>
    /// <param name="score">What is ranked, in words.</param>
    /// <exception cref="PolicyException">The groups are not all visual tokens, or the scores are not there.</exception>
    public void KeepHighest(TokenScore source, ReadOnlySpan<RankGroup> groups, string score)
    {
        int[] kept = BeginChoice(source, groups);
        if (Choice is null)
        {
            Keep(kept, score, AliveVisual(), ScoresOf(source));
            return;
        }

        KeepRows(kept);
        FinishChoice(new ScheduleEvent
        {
            Layer = Math.Max(0, Layer),
            Kind = KindOf(kept.Length),
            Kept = kept,
            Score = score,
            Note = NoteOf(kept.Length, Choice.RankedTokens.Length),
        });
    }

    /// <summary><see cref="Split"/> by rank: the visual tokens of the highest scores are the subject.</summary>
    /// <inheritdoc cref="KeepHighest"/>
    public void SplitHighest(TokenScore source, ReadOnlySpan<RankGroup> groups, string score)
    {
        int[] subject = BeginChoice(source, groups);
        if (Choice is null)
        {
            float[] scores = ScoresOf(source);
            int[] ranked = AliveVisual();
            Split(subject, score, ranked, scores);
            _share = ShareOf(scores, [.. subject.Select(token => Array.IndexOf(ranked, token))]);
            return;
        }

        SplitRows(subject);
        FinishChoice(new ScheduleEvent
        {
            Layer = Math.Max(0, Layer),
            Kind = ScheduleEventKind.Split,
            Kept = StandIns(),
            Subject = subject,
            Score = score,
        });
        _splitChoice = _pending.Count - 1;
    }

    /// <summary>The weights of a fusion are known; those of a share are all one.</summary>
    internal void ReceiveShare()
    {
        if (FusionRule == FusionRule.Share && FusionWeights.Length > 0)
            _shareWeight[0] = FusionWeights[0];
    }

    /// <summary>Every outcome is known: rows and events get their tokens.</summary>
    internal void Resolve()
    {
        if (_pending.Count == 0)
            return;
        int[] real = new int[_visualRows.Count];
        for (int token = 0; token < real.Length; token++)
            real[token] = token;
        int next = 0;
        for (int place = _pending[0].Event; place < _trace.Numbered.Count; place++)
        {
            ScheduleEvent told = _trace.Numbered[place];
            if (next < _pending.Count && _pending[next].Event == place)
                told = Apply(_pending[next++], told, real);
            else
                told = told with { Kept = [.. told.Kept.Select(token => real[token])] };
            _trace.Replace(place, told);
        }

        if (_splitChoice >= 0)
        {
            RankedChoice split = _pending[_splitChoice];
            _share = ShareOf(split.Scores, split.Places.AsSpan(0, split.Kept));
        }

        _splitChoice = -1;
        _pending.Clear();
        Rows.ReadBack = null;
        Rows.Rename(real, CollectionsMarshal.AsSpan(_visualRows));
    }

    // Stand-ins of a choice become what was chosen.
    private static ScheduleEvent Apply(RankedChoice choice, ScheduleEvent told, int[] real)
    {
        int[] ranked = [.. choice.RankedTokens.Select(token => real[token])];
        for (int i = 0; i < ranked.Length; i++)
            real[choice.RankedTokens[i]] = ranked[choice.Places[choice.PlaceOf(i)]];
        int[] chosen = [.. choice.Places.Take(choice.Kept).Select(place => ranked[place])];
        return told with
        {
            Kept = [.. told.Kept.Select(token => real[token])],
            Subject = told.Subject is null ? null : chosen,
            Ranked = ranked,
            Scores = choice.Scores,
            Margin = Selection.Margin(ranked, choice.Scores, chosen),
        };
    }

    // Those who stay, or who stand for them while Choice tells of it. Where other rows stand among a group's, the order of rows
    // depends on who stays: then it is decided here and now, and Choice is null.
    private int[] BeginChoice(TokenScore source, ReadOnlySpan<RankGroup> groups)
    {
        Choice = null;
        int[] ranked = StandIns();
        int covered = 0;
        var kept = new List<int>();
        foreach (RankGroup group in groups)
        {
            if (group.First != covered || group.Count < 0 || (uint)group.Keep > (uint)group.Count)
                throw new PolicyException($"a policy ranks visual tokens {group.First} to {group.First + group.Count} and keeps {group.Keep}, behind {covered} others");
            covered += group.Count;
            kept.AddRange(ranked.AsSpan(group.First, group.Keep));
        }

        if (covered != ranked.Length)
            throw new PolicyException($"a policy ranks {covered} visual tokens of {ranked.Length}");
        bool measured = source == TokenScore.ClassAttention ? _classScores == ranked.Length : _scoredRows == Rows.Count;
        if (!measured)
            throw new PolicyException($"a policy ranks {ranked.Length} visual tokens by scores that were not measured for them");
        int[] rows = new int[ranked.Length];
        int next = 0;
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) == RowRole.Visual)
                rows[next++] = row;
        }

        foreach (RankGroup group in groups)
        {
            if (group.Count > 0 && rows[group.First + group.Count - 1] - rows[group.First] != group.Count - 1)
                return Decide(source, groups);
        }

        Choice = new RankedChoice(source, groups.ToArray(), ranked, rows, _trace.Numbered.Count);
        return [.. kept];
    }

    private int[] Decide(TokenScore source, ReadOnlySpan<RankGroup> groups)
    {
        int[] ranked = AliveVisual();
        float[] scores = ScoresOf(source);
        var kept = new List<int>();
        foreach (RankGroup group in groups)
        {
            foreach (int place in Selection.Top(scores.AsSpan(group.First, group.Count), group.Keep))
                kept.Add(ranked[group.First + place]);
        }

        return [.. kept];
    }

    // The scores of the visual tokens that are there.
    private float[] ScoresOf(TokenScore source)
    {
        if (source == TokenScore.ClassAttention)
            return ClassAttention.ToArray();
        ReadOnlySpan<float> all = RowScores;
        var scores = new List<float>();
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) == RowRole.Visual)
                scores.Add(all[row]);
        }

        return [.. scores];
    }

    private static float ShareOf(ReadOnlySpan<float> scores, ReadOnlySpan<int> places)
    {
        double held = 0;
        double all = 0;
        foreach (int place in places)
            held += scores[place];
        foreach (float score in scores)
            all += score;
        return (float)(held / all);
    }

    private void FinishChoice(ScheduleEvent told)
    {
        RankedChoice choice = Choice!;
        int[] rankOf = new int[_sourceRows];
        for (int i = 0; i < choice.RankedRows.Length; i++)
            rankOf[choice.RankedRows[i]] = i + 1;
        _template.Clear();
        foreach (int row in _sources)
            _template.Add(rankOf[row] == 0 ? row : -1 - choice.PlaceOf(rankOf[row] - 1));
        _pending.Add(choice);
        _trace.Add(told);
        Rows.ReadBack = ReadBack;
    }

    // Visual tokens in row order; of a choice that is not known here yet, those that stand for it.
    private int[] StandIns()
    {
        int[] alive = new int[Rows.CountOf(RowRole.Visual)];
        int next = 0;
        for (int row = 0; row < Rows.Count; row++)
        {
            if (Rows.RoleOf(row) == RowRole.Visual)
                alive[next++] = Rows.TokenOf(row);
        }

        return alive;
    }
}

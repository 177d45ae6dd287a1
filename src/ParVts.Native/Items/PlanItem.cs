using ParVts.Engine.Compute;

namespace ParVts.Native.Items;

/// <summary>A plan that is not changed any more. Any thread.</summary>
internal sealed class PlanItem(AttentionPlan plan) : IHandled
{
    public static HandleKind Kind => HandleKind.Plan;

    /// <summary>It.</summary>
    public AttentionPlan Plan => plan;

    /// <summary>Copies a host's arrays.</summary>
    /// <exception cref="CallException">They are not a plan: what is wrong is named.</exception>
    public static unsafe PlanItem Create(PlanInfo* info)
    {
        Call.Require(info, "description");
        HostMemory.RequireSize(info->StructSize, (uint)sizeof(PlanInfo), "description");
        ReadOnlySpan<QuerySegment> segments = Caller.Read(info->Segments, info->SegmentCount, "description.segments");
        ReadOnlySpan<KeyRange> ranges = Caller.Read(info->Ranges, info->RangeCount, "description.ranges");
        var plan = new AttentionPlan();
        AddHeadMasks(plan, info);
        if (info->KeyMaskWords > 0)
            plan.SetKeyMask(Caller.Read(info->KeyMask, info->KeyMaskWords, "description.key_mask"));
        if (info->KeyBiasCount > 0)
            plan.SetKeyBias(Caller.Read(info->KeyBias, info->KeyBiasCount, "description.key_bias"));
        for (int i = 0; i < segments.Length; i++)
        {
            QuerySegment segment = segments[i];
            Require(segment.Start >= 0 && segment.End >= segment.Start, $"segment {i} is rows {segment.Start} to {segment.End}");
            Require(
                segment.FirstRange >= 0 && segment.RangeCount >= 0 && (long)segment.FirstRange + segment.RangeCount <= ranges.Length,
                $"segment {i} has {segment.RangeCount} ranges from {segment.FirstRange} on; there are {ranges.Length}");
            plan.AddSegment(segment.Start, segment.End);
            ReadOnlySpan<KeyRange> own = ranges.Slice(segment.FirstRange, segment.RangeCount);
            for (int place = 0; place < own.Length; place++)
            {
                RequireRange(own[place], segment.FirstRange + place, info->HeadMaskCount);
                plan.AddRange(own[place]);
            }

            RequireApart(own, i);
        }

        RequireApart(segments);
        return new PlanItem(plan);
    }

    public void Dispose()
    {
    }

    private static unsafe void AddHeadMasks(AttentionPlan plan, PlanInfo* info)
    {
        if (info->HeadMaskCount == 0)
            return;
        const uint mostWords = 1 << 16;
        Require(info->HeadMaskWords is > 0 and <= mostWords, $"head_mask_words is {info->HeadMaskWords}");
        Require(info->HeadMaskCount <= (nuint)Array.MaxLength / info->HeadMaskWords, $"{info->HeadMaskCount} masks of heads are more than can be");
        ReadOnlySpan<uint> masks = Caller.Read(info->HeadMasks, info->HeadMaskCount * info->HeadMaskWords, "description.head_masks");
        for (; masks.Length > 0; masks = masks[(int)info->HeadMaskWords..])
            plan.AddHeadMask(masks[..(int)info->HeadMaskWords]);
    }

    private static void RequireRange(in KeyRange range, int number, nuint masks)
    {
        Require(range.Start >= 0 && range.End >= range.Start, $"range {number} is keys {range.Start} to {range.End}");
        Require(Enum.IsDefined(range.Rule), $"range {number} has rule {(int)range.Rule}");
        Require(Enum.IsDefined(range.Value), $"range {number} has value {(int)range.Value}");
        Require(range.SinkRow >= 0, $"range {number} has sink_row {range.SinkRow}");
        Require(
            range.Rule != KeyRule.Window || (range.Window >= 1 && range.GridWidth >= 1),
            $"range {number} has a window of {range.Window} in a grid of {range.GridWidth} columns");
        Require(range.Heads == -1 || (range.Heads >= 0 && (nuint)range.Heads < masks), $"range {number} names mask {range.Heads} of {masks}");
    }

    // A key that is counted twice gives wrong sums; ranges that different heads skip may share keys.
    private static void RequireApart(ReadOnlySpan<KeyRange> ranges, int segment)
    {
        KeyRange[] sorted = ranges.ToArray();
        Array.Sort(sorted, static (a, b) => a.Start.CompareTo(b.Start));
        int end = 0;
        int masked = -1;
        foreach (ref readonly KeyRange range in sorted.AsSpan())
        {
            Require(range.Start >= end || range.End == range.Start || (masked >= 0 && range.Heads >= 0), $"ranges of segment {segment} overlap at key {range.Start}");
            if (range.End <= end)
                continue;
            (end, masked) = (range.End, range.Heads);
        }
    }

    private static void RequireApart(ReadOnlySpan<QuerySegment> segments)
    {
        QuerySegment[] sorted = segments.ToArray();
        Array.Sort(sorted, static (a, b) => a.Start.CompareTo(b.Start));
        for (int i = 1; i < sorted.Length; i++)
            Require(sorted[i].Start >= sorted[i - 1].End, $"segments overlap at row {sorted[i].Start}");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
            throw new CallException(Status.InvalidArgument, $"attention plan: {message}");
    }
}

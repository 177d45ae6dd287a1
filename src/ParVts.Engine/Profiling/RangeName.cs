using System.Globalization;
using ParVts.Cuda;

namespace ParVts.Engine.Profiling;

/// <summary>What a range is about. The names that profilers show are these, in lower case.</summary>
internal enum RangeKind
{
    /// <summary>Opening a model.</summary>
    Load,

    /// <summary>Preparing a picture: resize, crop, normalise.</summary>
    Image,

    /// <summary>A picture through the vision tower.</summary>
    Vision,

    /// <summary>A block of it, numbered.</summary>
    Block,

    /// <summary>Its features through the projector.</summary>
    Project,

    /// <summary>The prompt through the decoder, logits included.</summary>
    Prefill,

    /// <summary>The policy decides: before the decoder, or numbered at a layer's entry.</summary>
    Policy,

    /// <summary>Rows follow what the policy decided before the decoder; its name is the stage alone.</summary>
    Rows,

    /// <summary>A decoder layer, numbered, with what the policy does in it.</summary>
    Layer,

    /// <summary>The logits of the last row.</summary>
    Logits,

    /// <summary>A decode step.</summary>
    Decode,

    /// <summary>Choosing a token; where the device chooses, waiting for it.</summary>
    Sample,
}

/// <summary>What a policy does in a layer, in the order of the name.</summary>
[Flags]
internal enum RangeStage
{
    None = 0,

    /// <summary>Visual tokens are split into two paths.</summary>
    Split = 1,

    /// <summary>Some visual tokens leave.</summary>
    Select = 2,

    /// <summary>All of them leave.</summary>
    Leave = 4,

    /// <summary>Rows merge.</summary>
    Merge = 8,

    /// <summary>Two paths become one.</summary>
    Fuse = 16,

    /// <summary>Two paths run.</summary>
    Paths = 32,

    /// <summary>Visual rows are not computed.</summary>
    Frozen = 64,

    /// <summary>Rows see other keys, or fewer MLP channels, than they would.</summary>
    View = 128,

    /// <summary>Attention is measured.</summary>
    Probe = 256,
}

/// <summary>Which range it is.</summary>
internal readonly record struct RangeKey(RangeKind Kind, int Number, RangeStage Stage)
{
    /// <summary>The number of a range that has none.</summary>
    public const int None = -1;

    /// <summary>"prefill", "layer 3", "layer 3 fuse probe": letters, digits and spaces alone, which every profiler's filter takes.</summary>
    public override string ToString()
    {
        string name = Kind == RangeKind.Rows ? "" : Lower(Kind);
        if (Number != None)
            name += " " + Number.ToString(CultureInfo.InvariantCulture);
        foreach (RangeStage stage in Enum.GetValues<RangeStage>())
        {
            if (stage != RangeStage.None && Stage.HasFlag(stage))
                name += " " + Lower(stage);
        }

        return name.TrimStart();
    }

    private static string Lower<T>(T word)
        where T : struct, Enum => word.ToString().ToLowerInvariant();
}

/// <summary>A range's name as its listeners know it. Immutable; any thread.</summary>
/// <param name="Text">In words.</param>
/// <param name="Nvtx">As NVTX knows it.</param>
internal sealed record RangeName(string Text, NvtxName Nvtx);

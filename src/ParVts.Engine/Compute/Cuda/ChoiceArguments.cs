using System.Runtime.InteropServices;

namespace ParVts.Engine.Compute.Cuda;

/// <summary>The arguments of <c>select_top</c> (kernels/select.cu). Addresses are of device memory.</summary>
internal struct SelectTopArguments
{
    public ulong Scores;
    public int Count;
    public int Keep;

    /// <summary>Is added to every place.</summary>
    public int First;
    public ulong Kept;
    public ulong Rest;
    public ulong Margin;
}

/// <summary>The arguments of <c>select_threshold</c> (kernels/select.cu).</summary>
internal struct SelectThresholdArguments
{
    public ulong Scores;
    public int Count;
    public float Least;
    public ulong Kept;
    public ulong KeptCount;
}

/// <summary>The arguments of <c>sample_greedy</c> (kernels/sample.cu).</summary>
internal struct SampleGreedyArguments
{
    public ulong Logits;
    public int Vocabulary;
    public ulong Seen;
    public float Penalty;
    public ulong StopIds;
    public int StopCount;
    public ulong State;
    public ulong Token;
    public ulong Output;
    public int Capacity;
}

/// <summary>The arguments of <c>sample</c> (kernels/sample.cu).</summary>
internal struct SampleArguments
{
    public ulong Logits;
    public int Vocabulary;
    public ulong Seen;
    public float Penalty;

    /// <summary><see cref="SampleWeight.Inverse"/> of the temperature.</summary>
    public float Inverse;

    /// <summary>0 for all.</summary>
    public int TopK;

    /// <summary><see cref="SampleWeight.Share"/>; 0 for all.</summary>
    public ulong TopP;

    /// <summary><see cref="SampleWeight.Least"/>; 0 for all.</summary>
    public ulong Least;

    public ulong StopIds;
    public int StopCount;
    public ulong State;
    public ulong Token;
    public ulong Output;
    public int Capacity;
}

/// <summary>What a sampler keeps in device memory from step to step (kernels/sample.cu).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SampleState
{
    /// <summary>The generator; the seed at first.</summary>
    public ulong Generator;

    /// <summary>Ids in the output.</summary>
    public int Produced;

    /// <summary>0 goes on, 1 an end-of-sequence id, 2 no logit is a number, 3 the output is full.</summary>
    public int Stop;

    /// <summary>1 once a logit was no number.</summary>
    public int SawNaN;

    public int Unused;
}

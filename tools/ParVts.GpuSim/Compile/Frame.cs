using ParVts.GpuSim.Ptx;

namespace ParVts.GpuSim.Compile;

/// <summary>A function's body at one place where it is put in: the kernel itself, or a call in it.</summary>
internal sealed class Frame(PtxFunction function, int number, Frame? caller)
{
    public PtxFunction Function => function;

    public Frame? Caller => caller;

    /// <summary>For each instruction of the body where its code begins.</summary>
    public int[] Starts { get; } = new int[function.Body.Count + 1];

    /// <summary>Parameters' names here, and the caller's for them.</summary>
    public Dictionary<string, string> Aliases { get; } = [];

    /// <summary>Addresses of .local and .shared variables.</summary>
    public Dictionary<string, ulong> Variables { get; } = [];

    /// <summary>A register's name in the whole kernel.</summary>
    public string Unique(string register) => $"{number}:{register}";

    /// <summary>A call parameter's name in the whole kernel: the caller's and the called function's are one.</summary>
    public string UniqueParameter(string name) =>
        caller is not null && Aliases.TryGetValue(name, out string? outer) ? caller.UniqueParameter(outer) : $"{number}:param {name}";
}

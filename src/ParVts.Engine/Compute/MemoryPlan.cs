using System.Globalization;

namespace ParVts.Engine.Compute;

/// <summary>
/// What a run takes, decided before its first operation (contract D4): bytes by category, of the process where the CPU computes, of
/// device memory where a GPU does. Immutable.
/// </summary>
/// <param name="Weights">Bytes of the weights: those that a run touches, on the CPU; as they lie in device memory, on a GPU.</param>
/// <param name="KeyValues">Bytes of the KV store.</param>
/// <param name="Workspace">Bytes of activations and of the device's scratch memory.</param>
/// <param name="Process">Bytes that the process holds beside: the runtime, the tokenizer, pictures; 0 on a GPU.</param>
public sealed record MemoryPlan(long Weights, long KeyValues, long Workspace, long Process)
{
    /// <summary>All of it.</summary>
    public long Total => Weights + KeyValues + Workspace + Process;

    /// <summary>Refuses, with numbers, where the plan does not fit the cap.</summary>
    /// <exception cref="InsufficientMemoryException">It does not fit.</exception>
    public void Require(long? cap)
    {
        if (cap is long limit && Total > limit)
            throw new InsufficientMemoryException(this, limit);
    }

    /// <summary>Refuses, with numbers, where what is still to be allocated is more than a device has free.</summary>
    /// <param name="missing">Bytes of the plan that are not allocated yet.</param>
    /// <param name="device">The device.</param>
    /// <exception cref="InsufficientMemoryException">It is more.</exception>
    internal void RequireFree(long missing, ComputeDevice device)
    {
        if (missing > 0 && device.FreeBytes is long free && missing > free)
            throw new InsufficientMemoryException(this, missing, free, device.Name);
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"weights {Mebibytes(Weights)}, KV {Mebibytes(KeyValues)}, workspace {Mebibytes(Workspace)}, "
        + $"process {Mebibytes(Process)}: {Mebibytes(Total)} in all";

    internal static string Mebibytes(long bytes) =>
        (bytes / 1048576.0).ToString("0.0", CultureInfo.InvariantCulture) + " MiB";
}

/// <summary>A run does not fit into the memory that it may use, or that there is.</summary>
public sealed class InsufficientMemoryException : ParVtsException
{
    /// <summary>A plan against the cap that it exceeds.</summary>
    public InsufficientMemoryException(MemoryPlan plan, long cap)
        : base($"the run needs {MemoryPlan.Mebibytes(plan.Total)} but the memory cap is {MemoryPlan.Mebibytes(cap)} ({plan}). "
            + "Raise the cap, shorten the prompt or lower the number of new tokens.")
    {
        Plan = plan;
        Cap = cap;
    }

    /// <summary>A plan against the memory that a device has free.</summary>
    public InsufficientMemoryException(MemoryPlan plan, long missing, long free, string device)
        : base($"{device}: {MemoryPlan.Mebibytes(missing)} of device memory are needed but {MemoryPlan.Mebibytes(free)} are free ({plan}). "
            + "Shorten the prompt, lower the number of new tokens, use a smaller model, or end what else uses the GPU.")
    {
        Plan = plan;
        Cap = free;
    }

    /// <summary>An allocation that the system refused.</summary>
    public InsufficientMemoryException(long bytes, string device, Exception? inner = null)
        : base($"{device}: {MemoryPlan.Mebibytes(bytes)} of memory could not be allocated. "
            + "Shorten the prompt, lower the number of new tokens, or free memory.", inner) => Cap = bytes;

    /// <summary>The plan that did not fit, or null where an allocation failed.</summary>
    public MemoryPlan? Plan { get; }

    /// <summary>The cap, or what was free; where there is no plan, the bytes that could not be allocated.</summary>
    public long Cap { get; }
}

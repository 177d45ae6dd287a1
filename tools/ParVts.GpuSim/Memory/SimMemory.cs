namespace ParVts.GpuSim;

/// <summary>
/// Device memory. Addresses lie where no process can have memory (above bit 52), with a gap behind each allocation; allocations and frees
/// are for one thread at a time and not for the time of a launch.
/// </summary>
public sealed unsafe class SimMemory : IDisposable
{
    /// <summary>The first device address.</summary>
    public const ulong Base = 0x00D0_0000_0000_0000;

    private const ulong Alignment = 256;
    private const ulong Gap = 4096;

    private readonly List<Allocation> _allocations = [];
    private ulong _next = Base;

    /// <summary>Bytes that may be allocated at once; beyond it <see cref="Allocate"/> gives 0, as a full GPU would.</summary>
    public long Capacity { get; set; } = 4L << 30;

    /// <summary>Bytes in use.</summary>
    public long InUse { get; private set; }

    /// <summary>Allocates; the address is a multiple of 256, 0 where the capacity is used up.</summary>
    public ulong Allocate(long bytes, string name = "") => Allocate(bytes, name, readOnly: false)?.Address ?? 0;

    internal Allocation? Allocate(long bytes, string name, bool readOnly)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        if (InUse + bytes > Capacity)
            return null;
        Allocation allocation = new(_next, bytes, name, readOnly);
        _next += ((ulong)bytes + Gap + Alignment - 1) / Alignment * Alignment;
        _allocations.Add(allocation);
        InUse += bytes;
        return allocation;
    }

    /// <summary>Frees what begins at an address.</summary>
    /// <exception cref="SimFaultException">Nothing begins there, or it was freed before.</exception>
    public void Free(ulong address)
    {
        Allocation? allocation = Find(address);
        if (allocation is null || allocation.Address != address)
            throw new SimFaultException(FaultKind.InvalidFree, $"no allocation begins at 0x{address:x}", address);
        if (allocation.IsFreed)
            throw new SimFaultException(FaultKind.DoubleFree, $"{Describe(allocation)} was freed before", address);
        InUse -= allocation.Bytes;
        allocation.Dispose();
    }

    /// <summary>Writes bytes from the host.</summary>
    public void Write(ulong address, ReadOnlySpan<byte> data)
    {
        if (data.IsEmpty)
            return;
        Allocation allocation = Range(address, data.Length, "host write");
        data.CopyTo(new Span<byte>(allocation.Data + (address - allocation.Address), data.Length));
        new Span<byte>(allocation.Written + (address - allocation.Address), data.Length).Fill(1);
    }

    /// <summary>Sets bytes from the host.</summary>
    public void Fill(ulong address, long bytes, byte value)
    {
        if (bytes == 0)
            return;
        Allocation allocation = Range(address, bytes, "host fill");
        new Span<byte>(allocation.Data + (address - allocation.Address), checked((int)bytes)).Fill(value);
        new Span<byte>(allocation.Written + (address - allocation.Address), checked((int)bytes)).Fill(1);
    }

    /// <summary>Reads bytes to the host; those that nobody wrote are a fault unless <paramref name="allowUnwritten"/>.</summary>
    public void Read(ulong address, Span<byte> data, bool allowUnwritten = false)
    {
        if (data.IsEmpty)
            return;
        Allocation allocation = Range(address, data.Length, "host read");
        ulong offset = address - allocation.Address;
        int hole = new ReadOnlySpan<byte>(allocation.Written + offset, data.Length).IndexOf((byte)0);
        if (hole >= 0 && !allowUnwritten)
            throw new SimFaultException(FaultKind.UnwrittenRead, $"host read of byte {(long)offset + hole} of {Describe(allocation)}, which nobody wrote", address + (ulong)hole);
        new ReadOnlySpan<byte>(allocation.Data + offset, data.Length).CopyTo(data);
    }

    /// <summary>Copies inside device memory; what was never written stays so.</summary>
    public void Copy(ulong to, ulong from, long bytes)
    {
        if (bytes == 0)
            return;
        Allocation source = Range(from, bytes, "copy"), target = Range(to, bytes, "copy");
        ulong s = from - source.Address, t = to - target.Address;
        Buffer.MemoryCopy(source.Data + s, target.Data + t, bytes, bytes);
        Buffer.MemoryCopy(source.Written + s, target.Written + t, bytes, bytes);
        if ((long)s + bytes > source.WrittenBefore)
            target.Unwrite((long)t);
    }

    /// <summary>What is still allocated, in the order of allocation; modules' own variables do not count.</summary>
    public IReadOnlyList<(ulong Address, long Bytes, string Name)> Leaks() =>
        [.. _allocations.Where(a => !a.IsFreed && !a.Name.StartsWith("module ", StringComparison.Ordinal)).Select(a => (a.Address, a.Bytes, a.Name))];

    /// <summary>Frees everything without a word.</summary>
    public void Dispose()
    {
        foreach (Allocation allocation in _allocations)
            allocation.Dispose();
    }

    /// <summary>The allocation that an address lies in, freed or not, or that it lies in the gap behind; null before the first.</summary>
    internal Allocation? Find(ulong address)
    {
        int low = 0, high = _allocations.Count - 1;
        Allocation? found = null;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (_allocations[middle].Address <= address)
            {
                found = _allocations[middle];
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }
        return found;
    }

    internal static string Describe(Allocation a) =>
        $"allocation 0x{a.Address:x} of {a.Bytes} bytes{(a.Name.Length > 0 ? $" '{a.Name}'" : "")}";

    /// <summary>Checks that a range lies in one allocation that is alive.</summary>
    internal void CheckRange(ulong address, long bytes, string what) => Range(address, bytes, what);

    private Allocation Range(ulong address, long bytes, string what)
    {
        Allocation? a = Find(address);
        if (a is null || bytes < 0 || address - a.Address > (ulong)a.Bytes || (ulong)bytes > (ulong)a.Bytes - (address - a.Address))
            throw new SimFaultException(FaultKind.OutOfBounds, $"{what} of {bytes} bytes at 0x{address:x}{(a is null ? "" : $", {address - a.Address} bytes into {Describe(a)}")}", address);
        if (a.IsFreed)
            throw new SimFaultException(FaultKind.UseAfterFree, $"{what} of {bytes} bytes in {Describe(a)}, which was freed", address);
        return a;
    }
}

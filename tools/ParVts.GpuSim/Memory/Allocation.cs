using System.Runtime.InteropServices;

namespace ParVts.GpuSim;

/// <summary>
/// One allocation of device memory: its bytes, and for each byte whether somebody wrote it. The address range is never given out again,
/// so that a stale pointer is always known for what it is.
/// </summary>
internal sealed unsafe class Allocation : IDisposable
{
    public Allocation(ulong address, long bytes, string name, bool readOnly)
    {
        Address = address;
        Bytes = bytes;
        Name = name;
        ReadOnly = readOnly;
        // Eight spare bytes, since the widest access may look at the shadow of a whole word.
        Data = (byte*)NativeMemory.AlignedAlloc((nuint)bytes + 8, 256);
        Written = (byte*)NativeMemory.AllocZeroed((nuint)bytes + 8);
        // What nobody wrote is a bit pattern that no test takes for a result (a NaN as float).
        NativeMemory.Fill(Data, (nuint)bytes, 0xFF);
    }

    public ulong Address { get; }

    public long Bytes { get; }

    public string Name { get; }

    public bool ReadOnly { get; }

    public byte* Data { get; private set; }

    public byte* Written { get; private set; }

    /// <summary>Who touched it last, while launches look for races.</summary>
    public RaceShadow? Races { get; set; }

    public bool IsFreed { get; private set; }

    public void Dispose()
    {
        if (IsFreed)
            return;
        IsFreed = true;
        NativeMemory.AlignedFree(Data);
        NativeMemory.Free(Written);
        Data = Written = null;
        Races?.Dispose();
        Races = null;
    }
}

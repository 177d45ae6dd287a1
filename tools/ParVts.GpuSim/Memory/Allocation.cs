using System.Runtime.InteropServices;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim;

/// <summary>
/// One allocation of device memory: its bytes, and for each byte whether somebody wrote it. The address range is never given out again,
/// so that a stale pointer is always known for what it is.
/// </summary>
internal sealed unsafe class Allocation : IDisposable
{
    private readonly Lock _lock = new();
    private RaceShadow? _races;
    private Launch? _racesOf;

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

    /// <summary>Who touched it last in this launch; made or cleared when a launch first touches it.</summary>
    public RaceShadow? RacesOf(Launch launch)
    {
        if (!launch.DetectRaces)
            return null;
        if (!ReferenceEquals(Volatile.Read(ref _racesOf), launch))
            PrepareRaces(launch);
        return _races;
    }

    public bool IsFreed { get; private set; }

    public void Dispose()
    {
        if (IsFreed)
            return;
        IsFreed = true;
        NativeMemory.AlignedFree(Data);
        NativeMemory.Free(Written);
        Data = Written = null;
        _races?.Dispose();
        _races = null;
    }

    private void PrepareRaces(Launch launch)
    {
        lock (_lock)
        {
            if (ReferenceEquals(_racesOf, launch))
                return;
            int granule = launch.Kernel.GranuleLog.Global;
            if (_races?.GranuleLog == granule)
            {
                _races.Clear();
            }
            else
            {
                _races?.Dispose();
                _races = new RaceShadow(Bytes, granule);
            }
            Volatile.Write(ref _racesOf, launch);
        }
    }
}

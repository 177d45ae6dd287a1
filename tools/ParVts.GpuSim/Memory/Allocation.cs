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
    private uint _era;
    private Launch? _preparedFor;
    private bool _shadowed;
    private uint* _loaded;
    private uint* _stored;

    public Allocation(ulong address, long bytes, string name, bool readOnly)
    {
        Address = address;
        Bytes = bytes;
        Name = name;
        ReadOnly = readOnly;
        // Spare bytes, since the widest access may look at the shadow of a whole word.
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

    /// <summary>Bytes at the beginning that are known to be written, so that nobody has to look.</summary>
    public long WrittenBefore { get; private set; }

    public bool IsFreed { get; private set; }

    /// <summary>Who touched it last in this launch; null where the launch does not look for races, or only reads this allocation.</summary>
    public RaceShadow? RacesOf(Launch launch, bool write)
    {
        if (!ReferenceEquals(Volatile.Read(ref _preparedFor), launch))
            Prepare(launch);
        if (!_shadowed && (!write || !launch.DetectRaces))
            return null;
        if (!_shadowed)
        {
            // Written through a pointer that could not be foreseen.
            MakeRaces(launch);
            _shadowed = true;
        }
        return _races;
    }

    /// <summary>For each 32-byte sector the launch that loaded it last, and that stored to it last.</summary>
    public uint* Sectors(bool write)
    {
        uint* found = write ? _stored : _loaded;
        return found != null ? found : MakeSectors(write);
    }

    /// <summary>Bytes from an offset on may again be unwritten (copied from such).</summary>
    public void Unwrite(long offset) => WrittenBefore = Math.Min(WrittenBefore, offset);

    public void Dispose()
    {
        if (IsFreed)
            return;
        IsFreed = true;
        NativeMemory.AlignedFree(Data);
        NativeMemory.Free(Written);
        NativeMemory.Free(_loaded);
        NativeMemory.Free(_stored);
        Data = Written = null;
        _loaded = _stored = null;
        _races?.Dispose();
        _races = null;
    }

    private void Prepare(Launch launch)
    {
        lock (_lock)
        {
            if (ReferenceEquals(_preparedFor, launch))
                return;
            _shadowed = launch.DetectRaces && launch.MayWrite(this);
            if (_shadowed)
                MakeRaces(launch);
            while (WrittenBefore < Bytes)
            {
                ReadOnlySpan<byte> next = new(Written + WrittenBefore, (int)Math.Min(Bytes - WrittenBefore, 1 << 20));
                int hole = next.IndexOfAnyExcept((byte)1);
                WrittenBefore += hole < 0 ? next.Length : hole;
                if (hole >= 0)
                    break;
            }
            Volatile.Write(ref _preparedFor, launch);
        }
    }

    private RaceShadow MakeRaces(Launch launch)
    {
        lock (_lock)
        {
            int granule = launch.Kernel.GranuleLog.Global;
            if (_races is null || _races.GranuleLog != granule)
            {
                _races?.Dispose();
                _races = new RaceShadow(Bytes, granule);
            }
            else if (_era != launch.Era)
            {
                _races.Clear();
            }
            _era = launch.Era;
            return _races;
        }
    }

    private uint* MakeSectors(bool write)
    {
        lock (_lock)
        {
            ref uint* made = ref write ? ref _stored : ref _loaded;
            if (made == null)
                made = (uint*)NativeMemory.AllocZeroed((nuint)((Bytes >> 5) + 8) * 4);
            return made;
        }
    }
}

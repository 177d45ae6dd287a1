using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Run;

/// <summary>
/// One block at a time on one core: its shared memory and warps, which run in turn from barrier to barrier. A core reuses it for block after block
/// and launch after launch.
/// </summary>
internal sealed unsafe class Block : IDisposable
{
    /// <summary>Shared addresses begin here, as the hardware keeps the first kilobyte: a null pointer is out of bounds.</summary>
    public const int SharedBase = 1024;

    private Warp[] _warps = [];
    private bool[] _done = [];
    private int _warpCount;
    private int _sharedCapacity;
    private uint _era;
    private long _instructionsLeft;
    private uint _fencedEpoch;
    private (uint Block, uint Epoch, int Warp)[]? _taken;
    private (uint Epoch, int Warp) _takenAt;

    public Launch Launch { get; private set; } = null!;

    public CompiledKernel Kernel { get; private set; } = null!;

    public int SharedBytes { get; private set; }

    public byte* Shared { get; private set; }

    public byte* SharedWritten { get; private set; }

    public RaceShadow? SharedRaces { get; private set; }

    /// <summary>The allocation that each instruction touched last: it mostly touches the same again.</summary>
    public Allocation?[] Cache { get; private set; } = [];

    /// <summary>What each instruction did in the launch.</summary>
    public InstrCounts[] Counts { get; private set; } = [];

    public Dim3 Position { get; private set; }

    public uint Number { get; private set; }

    /// <summary>The block's number among those of all launches.</summary>
    public uint UniqueNumber => Launch.FirstBlock + Number;

    /// <summary>Barriers so far.</summary>
    public uint Epoch { get; private set; }

    /// <summary>Gets ready for blocks of a launch; memory of earlier ones is used again.</summary>
    public void Begin(Launch launch)
    {
        Launch = launch;
        Kernel = launch.Kernel;
        SharedBytes = Kernel.SharedEnd - SharedBase + launch.DynamicSharedBytes;
        if (Shared == null || SharedBytes > _sharedCapacity)
        {
            _sharedCapacity = Math.Max(SharedBytes, 16 * 1024);
            NativeMemory.AlignedFree(Shared);
            NativeMemory.AlignedFree(SharedWritten);
            Shared = (byte*)NativeMemory.AlignedAlloc((nuint)_sharedCapacity + 64, 256);
            SharedWritten = (byte*)NativeMemory.AlignedAlloc((nuint)_sharedCapacity + 64, 256);
            SharedRaces?.Dispose();
            SharedRaces = null;
        }
        if (!launch.DetectRaces || SharedRaces?.GranuleLog != Kernel.GranuleLog.Shared)
        {
            SharedRaces?.Dispose();
            SharedRaces = launch.DetectRaces && SharedBytes > 0 ? new RaceShadow(_sharedCapacity, Kernel.GranuleLog.Shared) : null;
        }
        else if (_era != launch.Era)
        {
            SharedRaces.Clear();
        }
        _era = launch.Era;
        _warpCount = ((int)launch.BlockSize.Count + 31) / 32;
        if (_warps.Length < _warpCount)
        {
            int made = _warps.Length;
            Array.Resize(ref _warps, _warpCount);
            for (int w = made; w < _warpCount; w++)
                _warps[w] = new Warp(this, w);
            _done = new bool[_warpCount];
        }
        for (int w = 0; w < _warpCount; w++)
            _warps[w].Begin();
        int length = Kernel.Code.Length;
        if (Counts.Length < length)
        {
            Cache = new Allocation?[length];
            Counts = GC.AllocateArray<InstrCounts>(length, pinned: true);
        }
        Array.Clear(Counts);
    }

    public void Run(long number)
    {
        Dim3 grid = Launch.Grid;
        Number = (uint)number;
        Position = new Dim3((int)(number % grid.X), (int)(number / grid.X % grid.Y), (int)(number / grid.X / grid.Y));
        Epoch = 0;
        _fencedEpoch = 0;
        _taken = null;
        if (SharedBytes > 0)
        {
            new Span<byte>(Shared, SharedBytes).Fill(0xFF);
            new Span<byte>(SharedWritten, SharedBytes).Clear();
        }
        _instructionsLeft = Launch.Options.InstructionLimit;
        int threads = (int)Launch.BlockSize.Count;
        for (int w = 0; w < _warpCount; w++)
        {
            int lanes = Math.Min(32, threads - (32 * w));
            _warps[w].Reset(lanes == 32 ? uint.MaxValue : (1u << lanes) - 1);
            _done[w] = false;
        }
        // Code and counts lie on the pinned heap.
        Instr* code = (Instr*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref Kernel.Code[0]);
        bool running = true;
        while (running && !Launch.Stopped)
        {
            for (int w = 0; w < _warpCount; w++)
            {
                if (!_done[w] && _warps[w].WaitsAt < 0)
                    RunWarp(w, code);
            }
            running = Release(code);
        }
    }

    /// <summary>The allocation that a range lies in and that may be accessed; null where there is none.</summary>
    public Allocation? Find(int instruction, ulong address, ulong bytes, bool write)
    {
        Allocation? a = Cache[instruction];
        if (a is null || address - a.Address >= (ulong)a.Bytes)
            Cache[instruction] = a = Launch.Memory.Find(address);
        return a is null || address - a.Address + bytes > (ulong)a.Bytes || a.IsFreed || (write && a.ReadOnly) ? null : a;
    }

    /// <summary>Records below are of earlier launches, or of another block's shared memory.</summary>
    public ulong RaceFloor(RaceShadow shadow) =>
        (ulong)(ReferenceEquals(shadow, SharedRaces) ? UniqueNumber : Launch.FirstBlock) << Accessor.BlockShift;

    /// <summary>A fence that other blocks see.</summary>
    public void Fence() => _fencedEpoch = Epoch + 1;

    /// <summary>An atomic operation on global memory: see <see cref="HandOvers"/>.</summary>
    public void HandOver(ulong address, int warp)
    {
        if (Launch.Grid.Count == 1 || Launch.HandOvers.Exchange(address, _fencedEpoch > 0, UniqueNumber, Given, warp) is not { } taken)
            return;
        _taken = taken;
        _takenAt = (Epoch, warp);
    }

    /// <summary>Up to which epoch all is handed over: if a barrier follows the fence, all that was before that barrier.</summary>
    private uint Given => Epoch >= _fencedEpoch ? _fencedEpoch : _fencedEpoch - 1;

    /// <summary>Whether this block has taken over what another did (a record of the search for races), from the running warp's point of view.</summary>
    public bool WasHandedOver(ulong record, int warp)
    {
        if (_taken is null || (Epoch == _takenAt.Epoch && warp != _takenAt.Warp))
            return false;
        uint block = (uint)(record >> Accessor.BlockShift), epoch = (uint)(record >> Accessor.EpochShift) & 0xFFFF;
        int thread = (int)(record >> Accessor.ThreadShift) & 2047;
        foreach ((uint giver, uint until, int by) in _taken)
        {
            if (giver == block && (epoch < until || (epoch == until && thread / 32 == by)))
                return true;
        }
        return false;
    }

    /// <summary>Called at each branch, exit and barrier: ends loops that have no end.</summary>
    public void CountDown()
    {
        if (--_instructionsLeft < 0)
            throw new LaneFault(FaultKind.Runaway, -1, 0, $"more than {Launch.Options.InstructionLimit} branches in one block");
    }

    public void Dispose()
    {
        foreach (Warp warp in _warps)
            warp.Dispose();
        NativeMemory.AlignedFree(Shared);
        NativeMemory.AlignedFree(SharedWritten);
        Shared = SharedWritten = null;
        SharedRaces?.Dispose();
    }

    private void RunWarp(int w, Instr* code)
    {
        Warp warp = _warps[w];
        try
        {
            _done[w] = !warp.Run(code, (InstrCounts*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref Counts[0]));
        }
        catch (LaneFault fault)
        {
            int lane = fault.Lane >= 0 ? fault.Lane : BitOperations.TrailingZeroCount(warp.Mask != 0 ? warp.Mask : warp.Active);
            throw Fault(fault.Kind, fault.Message, fault.Address, warp.Pc, w, lane);
        }
    }

    private SimFaultException Fault(FaultKind kind, string message, ulong address, int index, int warp, int lane) =>
        new(kind, message, address, Kernel.Name, Kernel.Lines[index].Source.Line, Kernel.Place(index), Position, ThreadPosition((32 * warp) + lane));

    public Dim3 ThreadPosition(int thread)
    {
        Dim3 size = Launch.BlockSize;
        return new Dim3(thread % size.X, thread / size.X % size.Y, thread / size.X / size.Y);
    }

    /// <summary>Opens the barriers that have all their threads; every warp that lives is waiting when this is called.</summary>
    /// <returns>Whether anything is left to run.</returns>
    private bool Release(Instr* code)
    {
        int first = Array.IndexOf(_done, false, 0, _warpCount);
        if (first < 0)
            return false;
        bool released = false;
        for (int w = first; w < _warpCount; w++)
        {
            if (_done[w] || _warps[w].WaitsAt < 0)
                continue;
            Instr* barrier = code + _warps[w].WaitsAt;
            released |= barrier->Count == 0 ? ReleaseAll(w, code) : ReleaseSome(w, code);
        }
        if (!released)
            throw Fault(FaultKind.DivergentBarrier, "a barrier that the block's other threads never reach", 0, _warps[first].WaitsAt, first, 0);
        Epoch++;
        return true;
    }

    private bool ReleaseAll(int first, Instr* code)
    {
        int at = _warps[first].WaitsAt;
        for (int w = 0; w < _warpCount; w++)
        {
            if (!_done[w] && _warps[w].WaitsAt != at)
            {
                throw Fault(FaultKind.DivergentBarrier, $"some threads wait at this barrier, others at {Kernel.Place(Math.Max(_warps[w].WaitsAt, 0))}",
                    0, at, first, 0);
            }
        }
        for (int w = 0; w < _warpCount; w++)
            _warps[w].WaitsAt = -1;
        return true;
    }

    /// <summary>A barrier with a number of threads: it opens when so many wait at its name.</summary>
    private bool ReleaseSome(int first, Instr* code)
    {
        Instr* barrier = code + _warps[first].WaitsAt;
        List<Warp> waiting = [];
        for (int w = 0; w < _warpCount; w++)
        {
            int at = _warps[w].WaitsAt;
            if (!_done[w] && at >= 0 && code[at].Imm == barrier->Imm && code[at].Count > 0)
                waiting.Add(_warps[w]);
        }
        if (32 * waiting.Count < barrier->Count)
            return false;
        foreach (Warp warp in waiting)
            warp.WaitsAt = -1;
        return true;
    }
}

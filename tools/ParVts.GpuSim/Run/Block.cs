using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Run;

/// <summary>
/// One block at a time on one core: its shared memory and warps, which run in turn from barrier to barrier. A core reuses it for block after block.
/// </summary>
internal sealed unsafe class Block : IDisposable
{
    /// <summary>Shared addresses begin here, as the hardware keeps the first kilobyte: a null pointer is out of bounds.</summary>
    public const int SharedBase = 1024;

    private readonly Warp[] _warps;
    private readonly bool[] _done;
    private long _instructionsLeft;

    public Block(Launch launch)
    {
        Launch = launch;
        Kernel = launch.Kernel;
        SharedBytes = Kernel.SharedEnd - SharedBase + launch.DynamicSharedBytes;
        Shared = (byte*)NativeMemory.AlignedAlloc((nuint)SharedBytes + 16, 256);
        SharedWritten = (byte*)NativeMemory.Alloc((nuint)SharedBytes + 16);
        if (launch.DetectRaces && SharedBytes > 0)
            SharedRaces = new RaceShadow(SharedBytes, Kernel.GranuleLog.Shared);
        int threads = (int)launch.BlockSize.Count;
        _warps = new Warp[(threads + 31) / 32];
        for (int w = 0; w < _warps.Length; w++)
            _warps[w] = new Warp(this, w);
        _done = new bool[_warps.Length];
        Cache = new Allocation?[Kernel.Code.Length];
        Counts = new long[Kernel.Code.Length];
    }

    public Launch Launch { get; }

    public CompiledKernel Kernel { get; }

    public int SharedBytes { get; }

    public byte* Shared { get; private set; }

    public byte* SharedWritten { get; private set; }

    public RaceShadow? SharedRaces { get; }

    /// <summary>The allocation that each instruction touched last: it mostly touches the same again.</summary>
    public Allocation?[] Cache { get; }

    /// <summary>For each instruction, how many threads ran it.</summary>
    public long[] Counts { get; }

    public Dim3 Position { get; private set; }

    public uint Number { get; private set; }

    /// <summary>Barriers so far.</summary>
    public uint Epoch { get; private set; }

    public void Run(long number)
    {
        Dim3 grid = Launch.Grid;
        Number = (uint)number;
        Position = new Dim3((int)(number % grid.X), (int)(number / grid.X % grid.Y), (int)(number / grid.X / grid.Y));
        Epoch = 0;
        new Span<byte>(Shared, SharedBytes).Fill(0xFF);
        new Span<byte>(SharedWritten, SharedBytes).Clear();
        SharedRaces?.Clear();
        _instructionsLeft = Launch.InstructionLimit;
        int threads = (int)Launch.BlockSize.Count;
        for (int w = 0; w < _warps.Length; w++)
        {
            int lanes = Math.Min(32, threads - (32 * w));
            _warps[w].Reset(lanes == 32 ? uint.MaxValue : (1u << lanes) - 1);
            _done[w] = false;
        }
        fixed (Instr* code = Kernel.Code)
        {
            bool running = true;
            while (running && !Launch.Stopped)
            {
                for (int w = 0; w < _warps.Length; w++)
                {
                    if (!_done[w] && _warps[w].WaitsAt < 0)
                        RunWarp(w, code);
                }
                running = Release(code);
            }
        }
    }

    /// <summary>Called at each branch, exit and barrier: ends loops that have no end.</summary>
    public void CountDown()
    {
        if (--_instructionsLeft < 0)
            throw new LaneFault(FaultKind.Runaway, -1, 0, $"more than {Launch.InstructionLimit} branches in one block");
    }

    public void Dispose()
    {
        foreach (Warp warp in _warps)
            warp.Dispose();
        NativeMemory.AlignedFree(Shared);
        NativeMemory.Free(SharedWritten);
        Shared = SharedWritten = null;
        SharedRaces?.Dispose();
    }

    private void RunWarp(int w, Instr* code)
    {
        Warp warp = _warps[w];
        try
        {
            _done[w] = !warp.Run(code, Counts);
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
        int first = Array.FindIndex(_done, d => !d);
        if (first < 0)
            return false;
        bool released = false;
        for (int w = first; w < _warps.Length; w++)
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
        for (int w = 0; w < _warps.Length; w++)
        {
            if (!_done[w] && _warps[w].WaitsAt != at)
            {
                throw Fault(FaultKind.DivergentBarrier, $"some threads wait at this barrier, others at {Kernel.Place(Math.Max(_warps[w].WaitsAt, 0))}",
                    0, at, first, 0);
            }
        }
        foreach (Warp warp in _warps)
            warp.WaitsAt = -1;
        return true;
    }

    /// <summary>A barrier with a number of threads: it opens when so many wait at its name.</summary>
    private bool ReleaseSome(int first, Instr* code)
    {
        Instr* barrier = code + _warps[first].WaitsAt;
        List<Warp> waiting = [];
        for (int w = 0; w < _warps.Length; w++)
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

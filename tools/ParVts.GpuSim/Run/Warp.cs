using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Run;

/// <summary>
/// 32 threads that run together: registers, the active lanes, and a stack of the lanes that wait for a branch's sides to meet.
/// </summary>
internal sealed unsafe class Warp : IDisposable
{
    // An entry is run when the program counter reaches the join of the entry on top: the other side of a branch first, then all at the join.
    private (int Pc, int Join, uint Mask)[] _stack = new (int, int, uint)[16];
    private int _depth;
    private int _registerCapacity;
    private int _localCapacity;

    public Warp(Block block, int index)
    {
        Block = block;
        Index = index;
        Addresses = (ulong*)NativeMemory.AlignedAlloc(2 * 32 * sizeof(ulong), 64);
        WasHandedOver = record => Block.WasHandedOver(record, Index);
    }

    /// <summary>Whether what a record of the search for races tells of was handed over to this warp.</summary>
    public Func<ulong, bool> WasHandedOver { get; }

    public Block Block { get; }

    public int Index { get; }

    public byte* Registers { get; private set; }

    public byte* Local { get; private set; }

    public byte* LocalWritten { get; private set; }

    /// <summary>Room for the addresses of an access, and behind them for those of a copy's other side.</summary>
    public ulong* Addresses { get; private set; }

    /// <summary>Lanes that have not exited.</summary>
    public uint Live { get; private set; }

    /// <summary>Lanes of the running side of every open branch.</summary>
    public uint Active { get; private set; }

    /// <summary>Lanes that the running instruction acts on: active, and let through by its guard.</summary>
    public uint Mask { get; private set; }

    public int Pc { get; set; }

    /// <summary>Warp barriers so far.</summary>
    public uint Epoch { get; set; }

    /// <summary>The barrier that the warp waits at, or -1.</summary>
    public int WaitsAt { get; set; } = -1;

    /// <summary>cp.async copies that were issued and not yet waited for.</summary>
    public AsyncCopies Copies { get; } = new();

    /// <summary>The first thread of the warp at this time, as the search for races records it.</summary>
    public ulong Accessor => new Accessor(Block.UniqueNumber, (uint)(32 * Index), Block.Epoch, Epoch).Pack();

    /// <summary>Gets ready for a launch.</summary>
    public void Begin()
    {
        int registers = Math.Max(Block.Kernel.RegisterBytes, 64), local = 32 * Block.Kernel.LocalBytes;
        if (registers > _registerCapacity)
        {
            NativeMemory.AlignedFree(Registers);
            Registers = (byte*)NativeMemory.AlignedAlloc((nuint)registers, 64);
            _registerCapacity = registers;
        }
        if (local > _localCapacity)
        {
            NativeMemory.Free(Local);
            NativeMemory.Free(LocalWritten);
            Local = (byte*)NativeMemory.Alloc((nuint)local + 64);
            LocalWritten = (byte*)NativeMemory.Alloc((nuint)local + 64);
            _localCapacity = local;
        }
    }

    public void Reset(uint lanes)
    {
        Block.Kernel.RegisterImage.CopyTo(new Span<byte>(Registers, Block.Kernel.RegisterBytes));
        SpecialRegisters.Fill(this);
        if (Block.Kernel.LocalBytes > 0)
            new Span<byte>(LocalWritten, 32 * Block.Kernel.LocalBytes).Clear();
        _depth = 0;
        Copies.Clear();
        Live = Active = lanes;
        Pc = 0;
        Epoch = 0;
        WaitsAt = -1;
    }

    /// <summary>Runs until every lane has exited or the warp waits at a barrier.</summary>
    /// <returns>Whether lanes are left.</returns>
    public bool Run(Instr* code, InstrCounts* counts)
    {
        byte* registers = Registers;
        while (true)
        {
            while (_depth > 0 && Pc == _stack[_depth - 1].Join)
                Pop();
            // Up to where lanes meet again; code between two branches lies side by side.
            int join = _depth > 0 ? _stack[_depth - 1].Join : -1, pc = Pc;
            uint active = Active;
            Instr* i = code + pc;
            while (i->Flow == Flow.Next)
            {
                uint mask = active;
                if (i->Guard >= 0)
                    mask &= *(uint*)(registers + i->Guard) ^ i->GuardFlip;
                counts[pc].Threads += BitOperations.PopCount(mask);
                if (mask != 0)
                {
                    Mask = mask;
                    Pc = pc;
                    i->Run(this, i);
                }
                pc++;
                i++;
                if (pc == join)
                    break;
            }
            Pc = pc;
            if (pc == join)
                continue;
            uint taken = active;
            if (i->Guard >= 0)
                taken &= *(uint*)(registers + i->Guard) ^ i->GuardFlip;
            Mask = taken;
            counts[pc].Threads += BitOperations.PopCount(taken);
            Block.CountDown();
            if (i->Flow == Flow.Branch)
            {
                Branch(i, taken);
            }
            else if (i->Flow == Flow.Exit)
            {
                if (!Exit(taken))
                    return false;
            }
            else
            {
                if (taken != 0)
                    i->Run(this, i);
                Pc++;
                if (WaitsAt >= 0)
                    return true;
            }
        }
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(Registers);
        NativeMemory.Free(Local);
        NativeMemory.Free(LocalWritten);
        NativeMemory.AlignedFree(Addresses);
        Registers = Local = LocalWritten = null;
        Addresses = null;
    }

    private void Branch(Instr* i, uint taken)
    {
        uint rest = Active & ~taken;
        if (taken == 0)
        {
            Pc++;
        }
        else if (rest == 0)
        {
            Pc = i->Target;
        }
        else
        {
            // All meet again at the join; first the side that falls through runs, then the one that jumps.
            if (_depth == 0 || _stack[_depth - 1].Join != i->Join || _stack[_depth - 1].Pc != i->Join)
                Push((i->Join, i->Join, Active));
            if (i->Target != i->Join)
                Push((i->Target, i->Join, taken));
            Active = rest;
            Pc++;
        }
    }

    private bool Exit(uint mask)
    {
        Live &= ~mask;
        Active &= ~mask;
        Pc++;
        if (Active == 0 && Live != 0)
            Pop();
        return Live != 0;
    }

    private void Push((int Pc, int Join, uint Mask) entry)
    {
        if (_depth == _stack.Length)
            Array.Resize(ref _stack, 2 * _depth);
        _stack[_depth++] = entry;
    }

    private void Pop()
    {
        do
        {
            (Pc, _, uint mask) = _stack[--_depth];
            Active = mask & Live;
        }
        while (Active == 0 && _depth > 0);
    }
}

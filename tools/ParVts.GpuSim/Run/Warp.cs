using System.Numerics;
using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Run;

/// <summary>
/// 32 threads that run together: registers, the active lanes, and a stack of the lanes that wait for a branch's sides to meet.
/// </summary>
internal sealed unsafe class Warp : IDisposable
{
    // An entry is run when the program counter reaches the join of the entry on top: the other side of a branch first, then all at the join.
    private readonly List<(int Pc, int Join, uint Mask)> _stack = [];

    /// <summary>Registers at the start of a block, but for those that tell blocks apart.</summary>
    private byte[]? _image;

    public Warp(Block block, int index)
    {
        Block = block;
        Index = index;
        Registers = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(block.Kernel.RegisterBytes, 64), 64);
        if (block.Kernel.LocalBytes > 0)
        {
            Local = (byte*)NativeMemory.Alloc((nuint)(32 * block.Kernel.LocalBytes));
            LocalWritten = (byte*)NativeMemory.AllocZeroed((nuint)((32 * block.Kernel.LocalBytes) + 8));
        }
    }

    public Block Block { get; }

    public int Index { get; }

    public byte* Registers { get; private set; }

    public byte* Local { get; private set; }

    public byte* LocalWritten { get; private set; }

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

    public void Reset(uint lanes)
    {
        Span<byte> registers = new(Registers, Block.Kernel.RegisterBytes);
        if (_image is null)
        {
            Block.Kernel.RegisterImage.CopyTo(registers);
            SpecialRegisters.Fill(this, byBlock: false);
            _image = registers.ToArray();
        }
        _image.CopyTo(registers);
        SpecialRegisters.Fill(this, byBlock: true);
        if (Local != null)
            new Span<byte>(LocalWritten, checked(32 * Block.Kernel.LocalBytes)).Clear();
        _stack.Clear();
        Copies.Clear();
        Live = Active = lanes;
        Pc = 0;
        Epoch = 0;
        WaitsAt = -1;
    }

    /// <summary>Runs until every lane has exited or the warp waits at a barrier.</summary>
    /// <returns>Whether lanes are left.</returns>
    public bool Run(Instr* code, long[] counts)
    {
        byte* registers = Registers;
        while (true)
        {
            while (_stack.Count > 0 && Pc == _stack[^1].Join)
                Pop();
            Instr* i = code + Pc;
            uint mask = Active;
            if (i->Guard >= 0)
                mask &= *(uint*)(registers + i->Guard) ^ i->GuardFlip;
            Mask = mask;
            counts[Pc] += BitOperations.PopCount(mask);
            if (i->Flow == Flow.Next)
            {
                if (mask != 0)
                    i->Run(this, i);
                Pc++;
                continue;
            }
            Block.CountDown();
            if (i->Flow == Flow.Branch)
                Branch(i, mask);
            else if (i->Flow == Flow.Exit)
            {
                if (!Exit(mask))
                    return false;
            }
            else
            {
                if (mask != 0)
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
        Registers = Local = LocalWritten = null;
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
            if (_stack.Count == 0 || _stack[^1].Join != i->Join || _stack[^1].Pc != i->Join)
                _stack.Add((i->Join, i->Join, Active));
            if (i->Target != i->Join)
                _stack.Add((i->Target, i->Join, taken));
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

    private void Pop()
    {
        do
        {
            (Pc, _, uint mask) = _stack[^1];
            _stack.RemoveAt(_stack.Count - 1);
            Active = mask & Live;
        }
        while (Active == 0 && _stack.Count > 0);
    }
}

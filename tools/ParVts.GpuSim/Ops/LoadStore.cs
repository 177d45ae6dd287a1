using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>
/// ld and st, of up to four elements (places in <see cref="Instr.V"/>, their number in <see cref="Instr.Count"/>). The warp's access is checked as a
/// whole; what does not fit that goes lane by lane.
/// </summary>
internal static unsafe class LoadStore
{
    /// <summary>The address of a lane: the base in <see cref="Instr.A"/>, 32 or 64 bits wide, and the offset.</summary>
    public static ulong Address(Warp w, Instr* i, int lane) => unchecked(
        (i->NarrowAddress ? ((uint*)(w.Registers + i->A))[lane] : ((ulong*)(w.Registers + i->A))[lane]) + (ulong)i->Imm);

    public static void Load<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        // A vector's element that goes nowhere ("_") is not read, which is looked at lane by lane.
        if (i->HasSinks
            || !WarpAccess.TryLocate(w, i, w.Addresses, w.Mask, (i->A, i->NarrowAddress, i->Imm), i->Space, sizeof(TMemory) * i->Count, write: false, out WarpAccess access)
            || !access.IsWritten() || !access.Touch(write: false))
        {
            LoadEach<TMemory, TRegister>(w, i);
            return;
        }
        access.Count(i, write: false);
        byte* registers = w.Registers;
        if (w.Mask != uint.MaxValue)
        {
            for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
            {
                int lane = BitOperations.TrailingZeroCount(mask);
                TMemory* from = (TMemory*)access.Lane(lane);
                for (int n = 0; n < i->Count; n++)
                    ((TRegister*)(registers + i->V[n]))[lane] = TRegister.CreateTruncating(from[n]);
            }
        }
        else if (access.Pattern == Pattern.Uniform)
        {
            for (int n = 0; n < i->Count; n++)
                new Span<TRegister>(registers + i->V[n], 32).Fill(TRegister.CreateTruncating(((TMemory*)access.First)[n]));
        }
        else if (i->Count == 1 && sizeof(TMemory) == sizeof(TRegister) && access.Pattern == Pattern.Contiguous)
        {
            Buffer.MemoryCopy(access.First, registers + i->V[0], 32 * sizeof(TMemory), 32 * sizeof(TMemory));
        }
        else if (i->Count == 4 && sizeof(TMemory) == 4 && sizeof(TRegister) == 4)
        {
            LoadFours(ref access, registers, i);
        }
        else
        {
            for (int n = 0; n < i->Count; n++)
            {
                TRegister* to = (TRegister*)(registers + i->V[n]);
                for (int lane = 0; lane < 32; lane++)
                    to[lane] = TRegister.CreateTruncating(((TMemory*)access.Lane(lane))[n]);
            }
        }
    }

    public static void Store<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        if (!WarpAccess.TryLocate(w, i, w.Addresses, w.Mask, (i->A, i->NarrowAddress, i->Imm), i->Space, sizeof(TMemory) * i->Count, write: true, out WarpAccess access)
            || !access.Touch(write: true))
        {
            StoreEach<TMemory, TRegister>(w, i);
            return;
        }
        access.Count(i, write: true);
        byte* registers = w.Registers;
        if (w.Mask != uint.MaxValue)
        {
            // From the lowest lane on: of several that write one place the last is left.
            for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
            {
                int lane = BitOperations.TrailingZeroCount(mask);
                TMemory* to = (TMemory*)access.Lane(lane);
                for (int n = 0; n < i->Count; n++)
                    to[n] = TMemory.CreateTruncating(((TRegister*)(registers + i->V[n]))[lane]);
            }
        }
        else if (i->Count == 1 && sizeof(TMemory) == sizeof(TRegister) && access.Pattern == Pattern.Contiguous)
        {
            Buffer.MemoryCopy(registers + i->V[0], access.First, 32 * sizeof(TMemory), 32 * sizeof(TMemory));
        }
        else
        {
            for (int lane = 0; lane < 32; lane++)
            {
                TMemory* to = (TMemory*)access.Lane(lane);
                for (int n = 0; n < i->Count; n++)
                    to[n] = TMemory.CreateTruncating(((TRegister*)(registers + i->V[n]))[lane]);
            }
        }
        access.MarkWritten();
    }

    private static void LoadFours(ref WarpAccess access, byte* registers, Instr* i)
    {
        uint* r0 = (uint*)(registers + i->V[0]), r1 = (uint*)(registers + i->V[1]), r2 = (uint*)(registers + i->V[2]), r3 = (uint*)(registers + i->V[3]);
        for (int lane = 0; lane < 32; lane++)
        {
            uint* from = (uint*)access.Lane(lane);
            uint a = from[0], b = from[1], c = from[2], d = from[3];
            r0[lane] = a;
            r1[lane] = b;
            r2[lane] = c;
            r3[lane] = d;
        }
    }

    private static void LoadEach<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        int bytes = sizeof(TMemory) * i->Count;
        ulong* addresses = w.Addresses;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            addresses[lane] = Address(w, i, lane);
        }
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong address = addresses[lane];
            Place place = MemoryAccess.Locate(w, i, lane, address, bytes, write: false);
            for (int n = 0; n < i->Count; n++)
            {
                if (i->V[n] < 0)
                    continue;
                Place element = place;
                element.Data += n * sizeof(TMemory);
                element.Offset += n * sizeof(TMemory);
                if (place.Written != null)
                {
                    element.Written += n * sizeof(TMemory);
                    MemoryAccess.CheckWritten(lane, address + (ulong)(n * sizeof(TMemory)), element, sizeof(TMemory));
                }
                if (place.Races is not null)
                    MemoryAccess.Touch(w, lane, address + (ulong)(n * sizeof(TMemory)), element, sizeof(TMemory), write: false, atomic: false, sameValue: false);
                ((TRegister*)(w.Registers + i->V[n]))[lane] = TRegister.CreateTruncating(*(TMemory*)element.Data);
            }
        }
        MemoryAccess.Count(w, i, addresses, w.Mask, bytes, write: false);
    }

    private static void StoreEach<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        int bytes = sizeof(TMemory) * i->Count;
        ulong* addresses = w.Addresses;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong address = addresses[lane] = Address(w, i, lane);
            Place place = MemoryAccess.Locate(w, i, lane, address, bytes, write: true);
            for (int n = 0; n < i->Count; n++)
            {
                TMemory value = TMemory.CreateTruncating(((TRegister*)(w.Registers + i->V[n]))[lane]);
                if (place.Races is not null)
                {
                    Place element = place;
                    element.Offset += n * sizeof(TMemory);
                    bool same = place.Written[n * sizeof(TMemory)] == 1 && ((TMemory*)place.Data)[n] == value;
                    MemoryAccess.Touch(w, lane, address + (ulong)(n * sizeof(TMemory)), element, sizeof(TMemory), write: true, atomic: false, same);
                }
                ((TMemory*)place.Data)[n] = value;
            }
            new Span<byte>(place.Written, bytes).Fill(1);
        }
        MemoryAccess.Count(w, i, addresses, w.Mask, bytes, write: true);
    }
}

using System.Numerics;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>ld and st, of up to four elements (places in <see cref="Instr.V"/>, their number in <see cref="Instr.Count"/>).</summary>
internal static unsafe class LoadStore
{
    /// <summary>The address of a lane: the base in <see cref="Instr.A"/>, 32 or 64 bits wide, and the offset.</summary>
    public static ulong Address(Warp w, Instr* i, int lane) => unchecked(
        (i->NarrowAddress ? ((uint*)(w.Registers + i->A))[lane] : ((ulong*)(w.Registers + i->A))[lane]) + (ulong)i->Imm);

    public static void Load<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        int bytes = sizeof(TMemory) * i->Count;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong address = Address(w, i, lane);
            Place place = MemoryAccess.Locate(w, i, lane, address, bytes, write: false);
            for (int n = 0; n < i->Count; n++)
            {
                // A vector's element that goes nowhere ("_") is not read.
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
    }

    public static void Store<TMemory, TRegister>(Warp w, Instr* i)
        where TMemory : unmanaged, INumberBase<TMemory>
        where TRegister : unmanaged, INumberBase<TRegister>
    {
        int bytes = sizeof(TMemory) * i->Count;
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong address = Address(w, i, lane);
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
    }
}

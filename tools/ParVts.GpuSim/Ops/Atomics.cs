using System.Numerics;
using System.Runtime.CompilerServices;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Ops;

/// <summary>atom and red: address in A, operands B and C, the old value into D where it is not -1.</summary>
internal static unsafe class Atomics
{
    public static void Modify<T, TOp>(Warp w, Instr* i)
        where T : unmanaged
        where TOp : struct, IBinary<T>
    {
        T* b = (T*)(w.Registers + i->B);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            T* p = (T*)Find(w, i, lane, sizeof(T));
            T old;
            do
                old = *p;
            while (!Swap(p, old, TOp.Apply(old, b[lane])));
            if (i->D >= 0)
                ((T*)(w.Registers + i->D))[lane] = old;
        }
        MemoryAccess.Count(w, i, w.Addresses, w.Mask, sizeof(T), write: true);
    }

    public static void CompareAndSwap<T>(Warp w, Instr* i)
        where T : unmanaged, IEquatable<T>
    {
        T* b = (T*)(w.Registers + i->B), c = (T*)(w.Registers + i->C);
        for (uint mask = w.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            T* p = (T*)Find(w, i, lane, sizeof(T));
            T old;
            do
                old = *p;
            while (old.Equals(b[lane]) && !Swap(p, old, c[lane]));
            if (i->D >= 0)
                ((T*)(w.Registers + i->D))[lane] = old;
        }
        MemoryAccess.Count(w, i, w.Addresses, w.Mask, sizeof(T), write: true);
    }

    /// <summary>A fence beyond the block.</summary>
    public static void Fence(Warp w, Instr* i) => w.Block.Fence();

    private static byte* Find(Warp w, Instr* i, int lane, int bytes)
    {
        ulong address = LoadStore.Address(w, i, lane);
        Place place = MemoryAccess.Locate(w, i, lane, address, bytes, write: true);
        MemoryAccess.CheckWritten(lane, address, place, bytes);
        MemoryAccess.Touch(w, lane, address, place, bytes, write: true, atomic: true, sameValue: false);
        w.Addresses[lane] = address;
        if (place.Races is not null && !ReferenceEquals(place.Races, w.Block.SharedRaces))
            w.Block.HandOver(address, w.Index);
        return place.Data;
    }

    private static bool Swap<T>(T* p, T old, T now)
        where T : unmanaged
    {
        if (sizeof(T) == 4)
        {
            uint o = Unsafe.BitCast<T, uint>(old);
            return Interlocked.CompareExchange(ref *(uint*)p, Unsafe.BitCast<T, uint>(now), o) == o;
        }
        ulong wide = Unsafe.BitCast<T, ulong>(old);
        return Interlocked.CompareExchange(ref *(ulong*)p, Unsafe.BitCast<T, ulong>(now), wide) == wide;
    }
}

internal readonly struct Exchange<T> : IBinary<T>
    where T : unmanaged
{
    public static T Apply(T a, T b) => b;
}

/// <summary>atom.inc: up to a bound, then 0.</summary>
internal readonly struct Increment : IBinary<uint>
{
    public static uint Apply(uint a, uint b) => a >= b ? 0 : a + 1;
}

/// <summary>atom.dec: down to 0, then the bound.</summary>
internal readonly struct Decrement : IBinary<uint>
{
    public static uint Apply(uint a, uint b) => a == 0 || a > b ? b : a - 1;
}

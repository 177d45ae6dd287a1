using System.Numerics;
using System.Runtime.CompilerServices;

namespace ParVts.GpuSim.Run;

/// <summary>Counts sectors of global memory and passes through shared memory, as the hardware has them.</summary>
internal static unsafe class Traffic
{
    private const int SectorLog = 5;

    /// <summary>An access to bytes that lie side by side.</summary>
    public static void CountRange(ref InstrCounts counts, Allocation allocation, uint launch, long offset, int bytes, bool write)
    {
        long first = offset >> SectorLog, last = (offset + bytes - 1) >> SectorLog;
        counts.Sectors += last - first + 1;
        uint* sectors = allocation.Sectors(write);
        for (long s = first; s <= last; s++)
            CountDistinct(ref counts, sectors + s, launch);
    }

    /// <summary>An access to places here and there: each sector counts once. Accesses are aligned, so that none lies in two.</summary>
    [SkipLocalsInit]
    public static void CountScattered(ref InstrCounts counts, Allocation allocation, uint launch, ulong* addresses, uint mask, int bytes, bool write)
    {
        ulong* seen = stackalloc ulong[32];
        int count = 0;
        uint* sectors = allocation.Sectors(write);
        for (; mask != 0; mask &= mask - 1)
        {
            ulong sector = (addresses[BitOperations.TrailingZeroCount(mask)] - allocation.Address) >> SectorLog;
            int n = count - 1;
            while (n >= 0 && seen[n] != sector)
                n--;
            if (n >= 0)
                continue;
            seen[count++] = sector;
            CountDistinct(ref counts, sectors + sector, launch);
        }
        counts.Sectors += count;
    }

    /// <summary>
    /// Shared memory has 32 banks of 4 bytes, and a pass takes one word of each. Accesses of 8 bytes go by half warps, of 16 bytes by quarters
    /// (as do the eight rows of a matrix in ldmatrix). Lanes that read the same word share it.
    /// </summary>
    public static void CountShared(ref InstrCounts counts, ulong* addresses, uint mask, int bytes)
    {
        int log = Math.Clamp(int.Log2(bytes), 2, 4), lanes = 128 >> log;
        for (int first = 0; first < 32; first += lanes)
        {
            uint phase = mask >> first & (uint)((1UL << lanes) - 1);
            if (phase == 0)
                continue;
            counts.Passes++;
            // Accesses are aligned: one takes one group of banks, of 32, 16 or 8 that there are.
            uint groups = 0;
            for (uint rest = phase; rest != 0; rest &= rest - 1)
                groups |= 1u << (int)(addresses[first + BitOperations.TrailingZeroCount(rest)] >> log & (ulong)(lanes - 1));
            if (BitOperations.PopCount(groups) != BitOperations.PopCount(phase))
                counts.Conflicts += Deepest(addresses + first, phase, log, lanes) - 1;
        }
    }

    /// <summary>The most different words that one group of banks has to give.</summary>
    [SkipLocalsInit]
    private static int Deepest(ulong* addresses, uint phase, int log, int lanes)
    {
        ulong* seen = stackalloc ulong[32];
        byte* depth = stackalloc byte[32];
        Unsafe.InitBlock(depth, 0, 32);
        int count = 0, deepest = 0;
        for (; phase != 0; phase &= phase - 1)
        {
            ulong unit = addresses[BitOperations.TrailingZeroCount(phase)] >> log;
            int n = count - 1;
            while (n >= 0 && seen[n] != unit)
                n--;
            if (n >= 0)
                continue;
            seen[count++] = unit;
            deepest = Math.Max(deepest, ++depth[unit & (ulong)(lanes - 1)]);
        }
        return deepest;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CountDistinct(ref InstrCounts counts, uint* sector, uint launch)
    {
        // Blocks on other cores may come to the same sector at once: one of them counts it.
        if (*sector != launch && Interlocked.Exchange(ref *sector, launch) != launch)
            counts.DistinctSectors++;
    }
}

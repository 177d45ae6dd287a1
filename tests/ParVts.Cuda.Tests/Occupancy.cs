namespace ParVts.Cuda.Tests;

/// <summary>How many blocks of a kernel a multiprocessor holds at once (CUDA C++ Programming Guide, table of technical specifications by compute capability).</summary>
internal static class Occupancy
{
    private const int Registers = 65536;
    private const int Parts = 4;          // of a multiprocessor, each with its own registers
    private const int RegisterUnit = 256; // registers are given to warps in such pieces
    private const int SharedUnit = 128;
    private const int SystemShared = 1024; // of each block

    /// <summary>Blocks of a multiprocessor; 0 where one is too large.</summary>
    /// <param name="architecture">80, 86, 89 or 90.</param>
    /// <param name="threads">Of a block.</param>
    /// <param name="registers">Of a thread.</param>
    /// <param name="shared">Bytes of a block, static and dynamic.</param>
    public static int Blocks(int architecture, int threads, int registers, int shared)
    {
        (int kilobytes, int mostWarps, int mostBlocks) = architecture switch
        {
            80 => (164, 64, 32),
            86 => (100, 48, 16),
            89 => (100, 48, 24),
            90 => (228, 64, 32),
            _ => throw new ArgumentOutOfRangeException(nameof(architecture)),
        };
        int warps = (threads + 31) / 32;
        int byRegisters = Registers / Parts / Up(32 * registers, RegisterUnit) * Parts / warps;
        int byShared = 1024 * kilobytes / Up(shared + SystemShared, SharedUnit);
        return Math.Min(Math.Min(mostBlocks, mostWarps / warps), Math.Min(byRegisters, byShared));
    }

    private static int Up(int value, int unit) => (value + unit - 1) / unit * unit;
}

namespace ParVts.GpuSim.Run;

/// <summary>What one instruction of a kernel did in a launch.</summary>
internal struct InstrCounts
{
    /// <summary>Threads that ran it.</summary>
    public long Threads;

    /// <summary>Bytes of global memory that its threads asked for.</summary>
    public long GlobalBytes;

    /// <summary>32-byte sectors of global memory, each once for every warp that touched it.</summary>
    public long Sectors;

    /// <summary>Passes through shared memory, if no banks had conflicts.</summary>
    public long Passes;

    /// <summary>Passes more for the sake of bank conflicts.</summary>
    public long Conflicts;

    /// <summary>32-byte sectors that nobody in the launch had loaded, or stored to, before.</summary>
    public long DistinctSectors;

    public void Add(in InstrCounts other)
    {
        Threads += other.Threads;
        GlobalBytes += other.GlobalBytes;
        Sectors += other.Sectors;
        Passes += other.Passes;
        Conflicts += other.Conflicts;
        DistinctSectors += other.DistinctSectors;
    }
}

namespace ParVts.GpuSim.Run;

/// <summary>One launch of a kernel: its blocks are taken in turn by as many threads as there are cores.</summary>
internal sealed unsafe class Launch(CompiledKernel kernel, SimMemory memory, Dim3 grid, Dim3 blockSize, int dynamicSharedBytes, byte[] parameters)
{
    /// <summary>What %nsmid says.</summary>
    public const uint Multiprocessors = 16;

    private long _nextBlock;
    private SimFaultException? _fault;
    private long _faultBlock = long.MaxValue;
    private readonly Lock _lock = new();

    public CompiledKernel Kernel => kernel;

    public SimMemory Memory => memory;

    public Dim3 Grid => grid;

    public Dim3 BlockSize => blockSize;

    public int DynamicSharedBytes => dynamicSharedBytes;

    public byte[] Parameters => parameters;

    public bool DetectRaces { get; init; }

    public long InstructionLimit { get; init; }

    /// <summary>Whether some block has failed and the others may stop.</summary>
    public bool Stopped => Volatile.Read(ref _fault) is not null;

    /// <summary>Runs all blocks; gives for each instruction how many threads ran it.</summary>
    /// <exception cref="SimFaultException">A block went wrong; of several the first in the grid that was seen.</exception>
    public long[] Run(int workers)
    {
        long[] counts = new long[kernel.Code.Length];
        workers = (int)Math.Min(workers, grid.Count);
        if (workers <= 1)
            Work(counts);
        else
            Parallel.For(0, workers, new ParallelOptions { MaxDegreeOfParallelism = workers }, _ => Work(counts));
        return _fault is null ? counts : throw _fault;
    }

    private void Work(long[] counts)
    {
        using Block block = new(this);
        while (!Stopped)
        {
            long number = Interlocked.Increment(ref _nextBlock) - 1;
            if (number >= grid.Count)
                break;
            try
            {
                block.Run(number);
            }
            catch (SimFaultException fault)
            {
                lock (_lock)
                {
                    if (number < _faultBlock)
                    {
                        _faultBlock = number;
                        Volatile.Write(ref _fault, fault);
                    }
                }
            }
        }
        lock (_lock)
        {
            for (int i = 0; i < counts.Length; i++)
                counts[i] += block.Counts[i];
        }
    }
}

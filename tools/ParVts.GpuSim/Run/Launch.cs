using System.Diagnostics.CodeAnalysis;

namespace ParVts.GpuSim.Run;

/// <summary>What a launch looks for and counts.</summary>
internal readonly record struct LaunchOptions(bool DetectRaces, bool DetectUnwritten, bool CountMemory, long InstructionLimit);

/// <summary>One launch of a kernel: its blocks are taken in turn by as many threads as there are cores.</summary>
internal sealed unsafe class Launch
{
    /// <summary>What %nsmid says.</summary>
    public const uint Multiprocessors = 16;

    private readonly Cores _cores;
    private readonly HashSet<Allocation>? _writable;
    private readonly InstrCounts[] _counts;
    private readonly Lock _lock = new();
    private long _nextBlock;
    private int _helpers;
    private SimFaultException? _fault;
    private Exception? _failure;
    private long _faultBlock = long.MaxValue;

    public Launch(Cores cores, CompiledKernel kernel, SimMemory memory, Dim3 grid, Dim3 blockSize, int dynamicSharedBytes, byte[] parameters, LaunchOptions options)
    {
        _cores = cores;
        Kernel = kernel;
        Memory = memory;
        Grid = grid;
        BlockSize = blockSize;
        DynamicSharedBytes = dynamicSharedBytes;
        Parameters = parameters;
        Options = options;
        _counts = new InstrCounts[kernel.Code.Length];
        (Number, Era, FirstBlock) = cores.Register(grid.Count);
        // More blocks than numbers: nobody waits for so many, and without numbers of their own races can't be told.
        DetectRaces = options.DetectRaces && grid.Count <= Cores.MostBlocks;
        if (DetectRaces && kernel.WrittenParameters is { } written)
            _writable = Writable(written);
    }

    public CompiledKernel Kernel { get; }

    public SimMemory Memory { get; }

    public Dim3 Grid { get; }

    public Dim3 BlockSize { get; }

    public int DynamicSharedBytes { get; }

    public byte[] Parameters { get; }

    public LaunchOptions Options { get; }

    public bool DetectRaces { get; }

    /// <summary>A number that no other launch has, until they wrap.</summary>
    public uint Number { get; }

    /// <summary>Changes when the numbers of blocks begin anew.</summary>
    public uint Era { get; }

    /// <summary>The number of block 0 among all blocks of all launches.</summary>
    public uint FirstBlock { get; }

    /// <summary>What blocks have handed to others by fences and atomics.</summary>
    public HandOvers HandOvers { get; } = new();

    /// <summary>Whether some block has failed and the others may stop.</summary>
    public bool Stopped => Volatile.Read(ref _fault) is not null || Volatile.Read(ref _failure) is not null;

    /// <summary>Whether the kernel may store to an allocation; those that it only loads from need no search for races.</summary>
    public bool MayWrite(Allocation allocation) => _writable is null || _writable.Contains(allocation);

    /// <summary>Runs all blocks; gives what each instruction did.</summary>
    /// <exception cref="SimFaultException">A block went wrong; of several the first in the grid that was seen.</exception>
    public InstrCounts[] Run(int workers)
    {
        workers = (int)Math.Min(workers, Grid.Count);
        for (int i = 1; i < workers; i++)
            ThreadPool.UnsafeQueueUserWorkItem(static launch => launch.Help(), this, preferLocal: false);
        Work();
        // Helpers that have not begun by now find the door closed; the others are waited for.
        SpinWait wait = default;
        while (Interlocked.CompareExchange(ref _helpers, int.MinValue, 0) > 0)
            wait.SpinOnce(sleep1Threshold: -1);
        if (_failure is not null)
            throw new InvalidOperationException("the simulator failed", _failure);
        return _fault is null ? _counts : throw _fault;
    }

    private void Help()
    {
        if (Interlocked.Increment(ref _helpers) > 0)
            Work();
        Interlocked.Decrement(ref _helpers);
    }

    [SuppressMessage("Design", "CA1031", Justification = "whatever a helping thread meets is thrown again by the caller's")]
    private void Work()
    {
        Block? block = null;
        try
        {
            long number;
            while (!Stopped && (number = Interlocked.Increment(ref _nextBlock) - 1) < Grid.Count)
            {
                block ??= _cores.Take(this);
                RunBlock(block, number);
            }
        }
        catch (Exception failure)
        {
            Volatile.Write(ref _failure, failure);
        }
        if (block is null)
            return;
        lock (_lock)
        {
            for (int i = 0; i < _counts.Length; i++)
                _counts[i].Add(block.Counts[i]);
        }
        _cores.GiveBack(block);
    }

    private void RunBlock(Block block, long number)
    {
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

    private HashSet<Allocation> Writable(int[] parameters)
    {
        HashSet<Allocation> found = [];
        foreach (int offset in parameters)
        {
            if (offset <= Kernel.ParameterBytes - 8 && Memory.Find(BitConverter.ToUInt64(Parameters, offset)) is { } allocation)
                found.Add(allocation);
        }
        foreach (ulong address in Kernel.WrittenVariables)
        {
            if (Memory.Find(address) is { } allocation)
                found.Add(allocation);
        }
        return found;
    }
}

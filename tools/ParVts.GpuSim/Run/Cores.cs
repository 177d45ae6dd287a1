namespace ParVts.GpuSim.Run;

/// <summary>What launches leave to the next: the cores with their memory, and numbers for launches and blocks.</summary>
internal sealed class Cores : IDisposable
{
    /// <summary>Blocks that have numbers of their own before the numbers begin anew.</summary>
    public const long MostBlocks = (1 << 23) - 2;

    private readonly Lock _lock = new();
    private readonly Stack<Block> _idle = [];
    private uint _launches;
    private uint _era = 1;
    private long _nextBlock = 1;

    /// <summary>Numbers for a launch and its blocks.</summary>
    public (uint Launch, uint Era, uint FirstBlock) Register(long blocks)
    {
        lock (_lock)
        {
            blocks = Math.Min(blocks, MostBlocks);
            if (_nextBlock + blocks > MostBlocks + 1)
            {
                _era++;
                _nextBlock = 1;
            }
            uint first = (uint)_nextBlock;
            _nextBlock += blocks;
            if (++_launches == 0)
                _launches = 1;
            return (_launches, _era, first);
        }
    }

    /// <summary>A core for the blocks of a launch.</summary>
    public Block Take(Launch launch)
    {
        Block? block;
        lock (_lock)
            _idle.TryPop(out block);
        block ??= new Block();
        block.Begin(launch);
        return block;
    }

    public void GiveBack(Block block)
    {
        lock (_lock)
            _idle.Push(block);
    }

    public void Dispose()
    {
        while (_idle.TryPop(out Block? block))
            block.Dispose();
    }
}

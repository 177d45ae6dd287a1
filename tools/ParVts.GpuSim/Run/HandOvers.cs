namespace ParVts.GpuSim.Run;

/// <summary>
/// What blocks hand to others in the way of "the last block sums up": a block that has run a fence and then an atomic operation at an address hands
/// over what it did before the fence; a block that then runs an atomic operation at that address takes it. Both by the barriers' count: what a
/// block did since its last barrier is handed over by the warp that ran the atomic operation alone, and is known to the warp that took it alone.
/// </summary>
internal sealed class HandOvers
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, List<(uint Block, uint Epoch, int Warp)>> _given = [];
    private bool _any;

    /// <summary>An atomic operation of a block that has fenced: it gives, and takes what others gave there.</summary>
    /// <returns>What there is to take, or null.</returns>
    public (uint Block, uint Epoch, int Warp)[]? Exchange(ulong address, bool gives, uint block, uint epoch, int warp)
    {
        if (!gives && !Volatile.Read(ref _any))
            return null;
        lock (_lock)
        {
            _any |= gives;
            if (!_given.TryGetValue(address, out List<(uint Block, uint Epoch, int Warp)>? given))
            {
                if (!gives)
                    return null;
                _given[address] = given = [];
            }
            (uint, uint, int)[]? taken = given.Count > 0 ? [.. given.Where(g => g.Block != block)] : null;
            if (gives)
            {
                given.RemoveAll(g => g.Block == block && g.Warp == warp);
                given.Add((block, epoch, warp));
            }
            return taken;
        }
    }
}

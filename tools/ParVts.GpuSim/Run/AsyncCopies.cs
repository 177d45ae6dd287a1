namespace ParVts.GpuSim.Run;

/// <summary>A cp.async that was issued: <paramref name="Bytes"/> from global memory, then zeros up to <paramref name="Size"/>.</summary>
internal readonly record struct AsyncCopy(int Lane, ulong From, ulong To, int Bytes, int Size, int Group, int Index);

/// <summary>
/// A warp's cp.async copies. The hardware may perform them at any time until they are waited for; here it is as late as possible, so that code
/// which forgets to wait reads what was there before.
/// </summary>
internal sealed class AsyncCopies
{
    private readonly List<AsyncCopy> _pending = [];
    private readonly int[] _committed = new int[32];

    public void Clear()
    {
        _pending.Clear();
        Array.Clear(_committed);
    }

    public void Add(int lane, ulong from, ulong to, int bytes, int size, int index) =>
        _pending.Add(new AsyncCopy(lane, from, to, bytes, size, _committed[lane], index));

    public void Commit(uint lanes)
    {
        for (int lane = 0; lane < 32; lane++)
            _committed[lane] += (int)(lanes >> lane & 1);
    }

    /// <summary>Takes out what has to be done by now: all but the last <paramref name="keep"/> groups of each lane; -1: everything.</summary>
    public List<AsyncCopy> Wait(uint lanes, int keep)
    {
        List<AsyncCopy> due = [];
        for (int i = 0; i < _pending.Count; i++)
        {
            AsyncCopy copy = _pending[i];
            if ((lanes >> copy.Lane & 1) != 0 && (keep < 0 || copy.Group < _committed[copy.Lane] - keep))
                due.Add(copy);
        }
        if (due.Count > 0)
            _pending.RemoveAll(c => (lanes >> c.Lane & 1) != 0 && (keep < 0 || c.Group < _committed[c.Lane] - keep));
        return due;
    }
}

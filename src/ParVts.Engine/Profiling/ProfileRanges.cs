using System.Collections.Concurrent;
using System.Diagnostics;
using ParVts.Cuda;
using ParVts.Cuda.Native;

namespace ParVts.Engine.Profiling;

/// <summary>
/// What the engine does, as named ranges of time with a count of rows or tokens: told to NVTX, to <see cref="ParVtsEventSource"/> and
/// to a recorder, whoever of them listens. Where nobody does, a range costs a few tests of fields and allocates nothing. On a GPU
/// a range is the time in which the host queues the work, which profilers bring together with the kernels. Any thread; a range ends on
/// the thread that it began on, the last one first.
/// </summary>
internal sealed class ProfileRanges
{
    /// <summary>NVTX's domain, and the EventSource's name.</summary>
    public const string Domain = "ParVts";

    private static readonly NvtxDomain s_process = new(NvtxApi.Load(), Domain);

    private readonly NvtxDomain _nvtx;
    private readonly ProfileRecorder? _recorder;
    private readonly ConcurrentDictionary<RangeKey, RangeName> _names = [];

    /// <summary>Ranges of an engine.</summary>
    /// <param name="recorder">Records them; null for nobody.</param>
    /// <param name="nvtx">NVTX's domain in place of the process's own.</param>
    public ProfileRanges(ProfileRecorder? recorder, NvtxDomain? nvtx = null)
    {
        _recorder = recorder;
        _nvtx = nvtx ?? s_process;
    }

    /// <summary>Somebody listens: only then is it worth while to find out what a range's stage is.</summary>
    public bool IsOn => _recorder is not null || _nvtx.IsActive || ParVtsEventSource.Log.IsEnabled();

    /// <summary>Begins a range; disposing of what is returned ends it.</summary>
    /// <param name="kind">What it is about.</param>
    /// <param name="count">Rows or tokens.</param>
    /// <param name="number">Which layer or block, where it is numbered.</param>
    /// <param name="stage">What the policy does in it.</param>
    public Scope Begin(RangeKind kind, long count, int number = RangeKey.None, RangeStage stage = RangeStage.None)
    {
        if (!IsOn)
            return default;
        var key = new RangeKey(kind, number, stage);
        if (!_names.TryGetValue(key, out RangeName? name))
            name = _names.GetOrAdd(key, Register(key.ToString()));
        return new Scope(this, name, count);
    }

    /// <summary>Begins a range of a host's own name.</summary>
    public Scope Begin(string name, long count) => IsOn ? new Scope(this, Register(name), count) : default;

    private RangeName Register(string name) => new(name, _nvtx.Register(name));

    /// <summary>A range that has begun.</summary>
    internal readonly ref struct Scope
    {
        private readonly ProfileRanges? _ranges;
        private readonly RangeName? _name;
        private readonly NvtxDomain.Range _nvtx;
        private readonly long _count;
        private readonly long _begin;

        internal Scope(ProfileRanges ranges, RangeName name, long count)
        {
            _ranges = ranges;
            _name = name;
            _count = count;
            ParVtsEventSource.Log.RangeStart(name.Text, count);
            _nvtx = ranges._nvtx.Begin(name.Nvtx, count);
            _begin = Stopwatch.GetTimestamp();
        }

        /// <summary>Ends it.</summary>
        public void Dispose()
        {
            if (_ranges is null)
                return;
            _ranges._recorder?.Add(_name!.Text, _count, _begin, Stopwatch.GetTimestamp());
            _nvtx.Dispose();
            ParVtsEventSource.Log.RangeStop(_name!.Text, _count);
        }
    }
}

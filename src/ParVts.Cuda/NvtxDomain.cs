using System.Runtime.InteropServices;
using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>The name of a range, known to the profiler by a number. Immutable; any thread.</summary>
/// <param name="Handle">The profiler's number for it; 0 where nobody listens.</param>
public readonly record struct NvtxName(nint Handle);

/// <summary>
/// Named ranges of this library in a profiler's timeline. Names are registered beforehand, so that a range allocates nothing; where
/// nobody listens it costs a test of a field. Any thread; a range ends on the thread that it began on, the last one first.
/// </summary>
public sealed unsafe class NvtxDomain
{
    private readonly NvtxApi _api;
    private readonly nint _domain;

    /// <summary>A domain of its own.</summary>
    public NvtxDomain(NvtxApi api, string name)
    {
        _api = api;
        if (!api.IsActive)
            return;
        nint text = Marshal.StringToCoTaskMemUTF8(name);
        _domain = api.CreateDomain((byte*)text);
        Marshal.FreeCoTaskMem(text);
    }

    /// <summary>True where somebody listens.</summary>
    public bool IsActive => _api.IsActive;

    /// <summary>Registers a name; it stays registered as long as the process.</summary>
    public NvtxName Register(string name)
    {
        if (!_api.IsActive)
            return default;
        nint text = Marshal.StringToCoTaskMemUTF8(name);
        var registered = new NvtxName(_api.RegisterString(_domain, (byte*)text));
        Marshal.FreeCoTaskMem(text);
        return registered;
    }

    /// <summary>Begins a range; disposing of what is returned ends it.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="payload">A number that the profiler shows beside it: tokens, rows.</param>
    public Range Begin(NvtxName name, long payload = 0)
    {
        if (!_api.IsActive)
            return default;
        var attributes = new NvtxEvent(name.Handle, payload);
        _ = _api.RangePush(_domain, &attributes);
        return new Range(this);
    }

    /// <summary>A range that has begun.</summary>
    public readonly ref struct Range
    {
        private readonly NvtxDomain? _domain;

        internal Range(NvtxDomain domain) => _domain = domain;

        /// <summary>Ends it.</summary>
        public void Dispose()
        {
            if (_domain is not null)
                _ = _domain._api.RangePop(_domain._domain);
        }
    }
}

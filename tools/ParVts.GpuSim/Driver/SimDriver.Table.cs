using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Driver;

// The functions by name. They are delegates of this instance, so that each driver in the process has functions of its own; the table
// that DriverApi fills keeps their source, and with it the delegates, alive. Arguments of up to eight bytes arrive in registers
// whatever their type is, so that one delegate for each number of them will do; what is narrower is cut to its size.
public sealed unsafe partial class SimDriver
{
    private readonly Dictionary<string, nint> _table = [];
    private readonly List<Delegate> _delegates = [];

    private delegate int Call1(nint a);

    private delegate int Call2(nint a, nint b);

    private delegate int Call3(nint a, nint b, nint c);

    private delegate int Call4(nint a, nint b, nint c, nint d);

    private delegate int LaunchCall(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** parameters, void** extra);

    /// <summary>What a function asks of the state that it is called in.</summary>
    internal enum Needs
    {
        /// <summary>Nothing: it tells what is, or changes the thread's current context. It works with a lost context, too.</summary>
        Nothing,

        /// <summary>A current context that is not lost.</summary>
        Context,

        /// <summary>The same, and no capture that it would disturb.</summary>
        NoCapture,
    }

    private void FillTable()
    {
        Add("cuInit", Needs.Nothing, flags => DriverCode.Success);
        Add("cuDriverGetVersion", Needs.Nothing, version => Give((int*)version, 13000));
        Add("cuGetErrorName", Needs.Nothing, (code, name) => ErrorName((int)code, (nint*)name));
        Add("cuDeviceGetCount", Needs.Nothing, count => Give((int*)count, 1));
        Add("cuDeviceGet", Needs.Nothing, (device, ordinal) => Give((int*)device, DeviceOf((int)ordinal)));
        Add("cuDeviceGetName", Needs.Nothing, (name, bytes, device) => DeviceName((byte*)name, (int)bytes, (int)device));
        Add("cuDeviceGetUuid", Needs.Nothing, (uuid, device) => DeviceUuid((byte*)uuid, (int)device));
        Add("cuDeviceGetUuid_v2", Needs.Nothing, (uuid, device) => DeviceUuid((byte*)uuid, (int)device));
        Add("cuDeviceGetAttribute", Needs.Nothing, (value, attribute, device) => DeviceAttribute((int*)value, (int)attribute, (int)device));
        Add("cuDeviceTotalMem_v2", Needs.Nothing, (bytes, device) => DeviceTotalMemory((nuint*)bytes, (int)device));
        Add("cuDevicePrimaryCtxRetain", Needs.Nothing, (context, device) => RetainContext((nint*)context, (int)device));
        Add("cuDevicePrimaryCtxRelease_v2", Needs.Nothing, device => ReleaseContext((int)device));
        Add("cuDevicePrimaryCtxReset_v2", Needs.Nothing, device => ResetContext((int)device));
        Add("cuCtxPushCurrent_v2", Needs.Nothing, PushContext);
        Add(PopName, Needs.Nothing, context => PopContext((nint*)context));
        Add("cuCtxGetCurrent", Needs.Nothing, context => GetCurrentContext((nint*)context));
        Add("cuCtxGetDevice", Needs.Context, device => GetCurrentDevice((int*)device));
        Add("cuCtxSynchronize", Needs.Context, SynchronizeContext);

        Add("cuMemGetInfo_v2", Needs.Context, (free, total) => MemoryInfo((nuint*)free, (nuint*)total));
        Add("cuMemAlloc_v2", Needs.NoCapture, (address, bytes) => Allocate((ulong*)address, (nuint)bytes));
        Add("cuMemFree_v2", Needs.NoCapture, address => Free((ulong)address));
        Add("cuMemHostAlloc", Needs.NoCapture, (address, bytes, flags) => AllocatePinned((nint*)address, (nuint)bytes));
        Add("cuMemFreeHost", Needs.NoCapture, FreePinned);
        Add("cuMemcpyHtoDAsync_v2", Needs.Context, (to, from, bytes, stream) => CopyToDevice((ulong)to, (byte*)from, (nuint)bytes, stream));
        Add(CopyToHostName, Needs.Context, (to, from, bytes, stream) => CopyToHost((byte*)to, (ulong)from, (nuint)bytes, stream));
        Add("cuMemcpyDtoDAsync_v2", Needs.Context, (to, from, bytes, stream) => CopyOnDevice((ulong)to, (ulong)from, (nuint)bytes, stream));
        Add("cuMemsetD8Async", Needs.Context, (to, value, bytes, stream) => Fill((ulong)to, (byte)value, (nuint)bytes, stream));

        Add("cuStreamCreate", Needs.Context, (stream, flags) => CreateStream((nint*)stream, (uint)flags));
        Add("cuStreamDestroy_v2", Needs.Context, DestroyStream);
        Add("cuStreamSynchronize", Needs.Context, SynchronizeStream);
        Add("cuStreamWaitEvent", Needs.Context, (stream, mark, flags) => WaitInStream(stream, mark));
        Add("cuEventCreate", Needs.Context, (mark, flags) => CreateEvent((nint*)mark, (uint)flags));
        Add("cuEventDestroy_v2", Needs.Context, mark => Destroy<SimEvent>(mark));
        Add("cuEventRecord", Needs.Context, RecordEvent);
        Add("cuEventSynchronize", Needs.Context, SynchronizeEvent);
        Add("cuEventElapsedTime", Needs.Context, (time, from, to) => ElapsedTime((float*)time, from, to));

        Add("cuModuleLoadData", Needs.NoCapture, (module, image) => LoadModule((nint*)module, (byte*)image));
        Add("cuModuleUnload", Needs.NoCapture, UnloadModule);
        Add("cuModuleGetFunction", Needs.Context, (function, module, name) => GetFunction((nint*)function, module, (byte*)name));
        Add("cuFuncGetAttribute", Needs.Context, (value, attribute, function) => GetFunctionAttribute((int*)value, (int)attribute, function));
        Add("cuFuncSetAttribute", Needs.Context, (function, attribute, value) => SetFunctionAttribute(function, (int)attribute, (int)value));
        Func<LaunchArguments, int> launch = Launch;
        Register<LaunchCall>("cuLaunchKernel", (function, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, parameters, extra) => Guard(
            "cuLaunchKernel",
            Needs.Context,
            new LaunchArguments(function, (gridX, gridY, gridZ), (blockX, blockY, blockZ), sharedBytes, stream, (nint)parameters, (nint)extra),
            launch));

        Add("cuStreamBeginCapture_v2", Needs.Context, (stream, mode) => BeginCapture(stream, (int)mode));
        Add("cuStreamEndCapture", Needs.Context, (stream, graph) => EndCapture(stream, (nint*)graph));
        Add("cuGraphInstantiateWithFlags", Needs.Context, (executable, graph, flags) => Instantiate((nint*)executable, graph));
        Add("cuGraphLaunch", Needs.Context, LaunchGraph);
        Add("cuGraphDestroy", Needs.Context, graph => Destroy<SimGraph>(graph));
        Add("cuGraphExecDestroy", Needs.Context, graph => Destroy<SimExecutableGraph>(graph));

        Add("cuProfilerStart", Needs.Context, () => DriverCode.Success);
        Add("cuProfilerStop", Needs.Context, () => DriverCode.Success);
    }

    // The state that a call needs is handed through Guard by value: a call itself allocates nothing before Guard begins to count.
    private void Add(string name, Needs needs, Func<int> body) =>
        Register<Call1>(name, _ => Guard(name, needs, body, static body => body()));

    private void Add(string name, Needs needs, Call1 body) =>
        Register<Call1>(name, a => Guard(name, needs, (body, a), static t => t.body(t.a)));

    private void Add(string name, Needs needs, Call2 body) =>
        Register<Call2>(name, (a, b) => Guard(name, needs, (body, a, b), static t => t.body(t.a, t.b)));

    private void Add(string name, Needs needs, Call3 body) =>
        Register<Call3>(name, (a, b, c) => Guard(name, needs, (body, a, b, c), static t => t.body(t.a, t.b, t.c)));

    private void Add(string name, Needs needs, Call4 body) =>
        Register<Call4>(name, (a, b, c, d) => Guard(name, needs, (body, a, b, c, d), static t => t.body(t.a, t.b, t.c, t.d)));

    private void Register<T>(string name, T function)
        where T : Delegate
    {
        _delegates.Add(function);
        _table.Add(name, Marshal.GetFunctionPointerForDelegate(function));
    }

    /// <summary>
    /// Every call goes through here: it is counted, made to fail where a test asked for it, and checked against the state of context
    /// and captures. No exception leaves, since the caller's frame is native.
    /// </summary>
    /// <param name="name">The function.</param>
    /// <param name="needs">What it asks of the state.</param>
    /// <param name="state">What the caller gave.</param>
    /// <param name="body">What it does.</param>
    /// <param name="translate">Another library's number for a result of the driver.</param>
    internal int Guard<T>(string name, Needs needs, T state, Func<T, int> body, Func<int, int>? translate = null)
    {
        lock (_lock)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            int code;
            try
            {
                code = Refusal(name, needs);
                if (code == 0)
                    return body(state);
                if (name == PopName)
                    _ = body(state);
            }
            catch (DriverRefusal refusal)
            {
                code = refusal.Code;
                if (refusal.Misuse is not null)
                    _faults.Add(refusal.Misuse);
            }
            catch (SimFaultException fault)
            {
                // Found when the call was made: nothing has begun.
                code = DriverCode.InvalidValue;
                _faults.Add(fault);
            }
            catch (OutOfMemoryException)
            {
                code = DriverCode.OutOfMemory;
            }
#pragma warning disable CA1031 // Whatever it is: it must not unwind native frames.
            catch (Exception error)
#pragma warning restore CA1031
            {
                code = DriverCode.Unknown;
                _faults.Add(error);
            }
            finally
            {
                ManagedBytes += GC.GetAllocatedBytesForCurrentThread() - before;
            }

            return translate is null ? code : translate(code);
        }
    }

    private int Refusal(string name, Needs needs)
    {
        Calls++;
        _callsByName[name] = _callsByName.GetValueOrDefault(name) + 1;
        if (_disposed)
            return DriverCode.Deinitialized;
        if (Injected(name) is int injected and not 0)
        {
            if (DriverCode.IsLost(injected) && _primary is not null)
                _primary.Lost = injected;
            return injected;
        }

        if (needs == Needs.Nothing)
            return 0;
        if (!_current.Value!.TryPeek(out SimContext? context))
            throw new DriverRefusal(DriverCode.InvalidContext, $"{name} while no context is current");
        if (context != _primary)
            throw new DriverRefusal(DriverCode.InvalidContext, $"{name} in a context that was released");
        if (context.Lost != 0)
            return context.Lost;
        return needs == Needs.NoCapture ? RefusedByCapture(name) : 0;
    }

    private int Injected(string name)
    {
        int code = 0;
        foreach (Injection injection in _injections)
        {
            if ((injection.Name is null || injection.Name == name) && --injection.Left == 0)
                code = injection.Code;
        }

        _injections.RemoveAll(injection => injection.Left == 0);
        return code;
    }

    private static int Give(int* place, int value)
    {
        if (place == null)
            return DriverCode.InvalidValue;
        *place = value;
        return DriverCode.Success;
    }
}

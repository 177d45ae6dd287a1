using System.Runtime.InteropServices;
using System.Text;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim.Driver;

// The device and its primary context.
public sealed unsafe partial class SimDriver
{
    private const string PopName = "cuCtxPopCurrent_v2";
    private const string Name = "ParVts simulated GPU";

    private static int ErrorName(int code, nint* name)
    {
        *name = DriverCode.NameOf(code);
        return *name == 0 ? DriverCode.InvalidValue : DriverCode.Success;
    }

    private static int DeviceOf(int ordinal) => ordinal == 0 ? 0 : throw new DriverRefusal(DriverCode.InvalidDevice, $"device {ordinal}; there is only device 0");

    private static int DeviceName(byte* name, int bytes, int device)
    {
        DeviceOf(device);
        var place = new Span<byte>(name, bytes);
        place.Clear();
        Encoding.ASCII.GetBytes(Name.AsSpan(0, Math.Min(Name.Length, bytes - 1)), place);
        return DriverCode.Success;
    }

    private int DeviceUuid(byte* uuid, int device)
    {
        DeviceOf(device);
        var place = new Span<byte>(uuid, 16);
        place.Clear();
        "ParVtsSimGPU"u8.CopyTo(place);
        place[^1] = (byte)Architecture;
        return DriverCode.Success;
    }

    // CUdevice_attribute.
    private int DeviceAttribute(int* value, int attribute, int device)
    {
        DeviceOf(device);
        return Give(value, attribute switch
        {
            1 or 2 or 3 => 1024,                       // threads of a block: in all, along x, y
            4 => 64,                                   // along z
            5 => int.MaxValue,                         // blocks along x
            6 or 7 => ushort.MaxValue,                 // along y, z
            8 => SharedBytesWithoutAsking,
            10 => 32,                                  // threads of a warp
            12 or 82 => 65536,                         // registers of a block, of a multiprocessor
            13 or 36 => 1_000_000,                     // kHz of clock and memory
            16 => (int)Run.Launch.Multiprocessors,
            37 => 1024,                                // bits of the memory's bus
            38 => 4 << 20,                             // bytes of level 2 cache
            39 => 2048,                                // threads of a multiprocessor
            41 => 1,                                   // addresses are shared with the host
            75 => Architecture / 10,
            76 => Architecture % 10,
            81 => Gpu.MaxSharedBytes + 1024,           // shared memory of a multiprocessor
            97 => Gpu.MaxSharedBytes,                  // of a block that asks
            _ => throw new DriverRefusal(DriverCode.InvalidValue, $"device attribute {attribute} is not known to the simulated driver"),
        });
    }

    private int DeviceTotalMemory(nuint* bytes, int device)
    {
        DeviceOf(device);
        *bytes = (nuint)Gpu.Memory.Capacity;
        return DriverCode.Success;
    }

    private int RetainContext(nint* context, int device)
    {
        DeviceOf(device);
        if (_primary is null)
        {
            _primary = new SimContext(NewHandle(), Calls);
            _queues.Clear();
            _queues.Add(_primary.Legacy);
        }
        else
        {
            _primary.References++;
        }

        *context = _primary.Handle;
        return DriverCode.Success;
    }

    private int ReleaseContext(int device)
    {
        DeviceOf(device);
        if (_primary is null)
            throw new DriverRefusal(DriverCode.InvalidContext, "the primary context was released more often than retained");
        if (--_primary.References == 0)
        {
            Empty(_primary);
            _primary = null;
        }

        return DriverCode.Success;
    }

    // Who has retained it keeps it, empty and whole again.
    private int ResetContext(int device)
    {
        DeviceOf(device);
        if (_primary is null)
            return DriverCode.Success;
        Empty(_primary);
        _primary.Lost = 0;
        return DriverCode.Success;
    }

    // All that lives in the context goes with it. Where the context was lost the host could free nothing.
    private void Empty(SimContext context)
    {
        if (context.Lost == 0)
            _abandoned.AddRange(_objects.Values.Where(thing => thing is not SimFunction).Select(LeakOf).OrderBy(leak => leak.Call));
        foreach (SimObject thing in _objects.Values)
        {
            if (thing is SimDeviceMemory)
                Gpu.Memory.Free((ulong)thing.Handle);
            else if (thing is SimPinnedMemory)
                NativeMemory.AlignedFree((void*)thing.Handle);
            else if (thing is SimLoadedModule module)
                FreeVariables(module);
        }

        _objects.Clear();
        _captures.Clear();
        _queues.Clear();
        _queues.Add(context.Legacy);
        context.Legacy.Work.Clear();
    }

    private int PushContext(nint context)
    {
        if (_primary is null || _primary.Handle != context)
            throw new DriverRefusal(DriverCode.InvalidContext, $"0x{context:x} is not a context, or no longer one");
        _current.Value!.Push(_primary);
        return DriverCode.Success;
    }

    private int PopContext(nint* context)
    {
        if (!_current.Value!.TryPop(out SimContext? popped))
            throw new DriverRefusal(DriverCode.InvalidContext, "a context was popped while none is current");
        if (context != null)
            *context = popped.Handle;
        return DriverCode.Success;
    }

    private int GetCurrentContext(nint* context)
    {
        *context = _current.Value!.TryPeek(out SimContext? current) ? current.Handle : 0;
        return DriverCode.Success;
    }

    // There is one device.
    private static int GetCurrentDevice(int* device)
    {
        *device = 0;
        return DriverCode.Success;
    }

    private static nint NewHandle() => (nint)Interlocked.Add(ref s_nextHandle, 16);

    private nint Make(SimObject thing, nint handle = 0)
    {
        thing.Handle = handle == 0 ? NewHandle() : handle;
        thing.Call = Calls;
        _objects.Add(thing.Handle, thing);
        return thing.Handle;
    }

    /// <summary>What a handle stands for.</summary>
    private T Get<T>(nint handle)
        where T : SimObject =>
        _objects.GetValueOrDefault(handle) as T
            ?? throw new DriverRefusal(DriverCode.InvalidHandle, $"0x{handle:x} is no {typeof(T).Name[3..].ToLowerInvariant()}, or no longer one");

    private int Destroy<T>(nint handle)
        where T : SimObject
    {
        _ = Get<T>(handle);
        _objects.Remove(handle);
        return DriverCode.Success;
    }
}

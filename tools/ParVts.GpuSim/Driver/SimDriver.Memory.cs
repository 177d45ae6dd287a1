using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Driver;

// Memory and copies.
public sealed unsafe partial class SimDriver
{
    private const string CopyToHostName = "cuMemcpyDtoHAsync_v2";
    private const nuint PageBytes = 4096;

    // Copies go in pieces that a span can hold.
    private const int PieceBytes = 64 << 20;

    private int MemoryInfo(nuint* free, nuint* total)
    {
        *free = (nuint)(Gpu.Memory.Capacity - Gpu.Memory.InUse);
        *total = (nuint)Gpu.Memory.Capacity;
        return DriverCode.Success;
    }

    private int Allocate(ulong* address, nuint bytes)
    {
        if (bytes == 0)
            throw new DriverRefusal(DriverCode.InvalidValue, "0 bytes of device memory");
        if (bytes > (nuint)Gpu.Memory.Capacity)
            return DriverCode.OutOfMemory;
        ulong place = Gpu.Memory.Allocate((long)bytes, $"of call {Calls}");
        if (place == 0)
            return DriverCode.OutOfMemory;
        Make(new SimDeviceMemory { Bytes = (long)bytes }, (nint)place);
        *address = place;
        return DriverCode.Success;
    }

    private int Free(ulong address)
    {
        if (address == 0)
            return DriverCode.Success;
        int code = WaitBeforeFree("cuMemFree_v2");
        if (code != 0)
            return code;
        Gpu.Memory.Free(address);
        _objects.Remove((nint)address);
        return DriverCode.Success;
    }

    private int AllocatePinned(nint* address, nuint bytes)
    {
        if (bytes == 0 || bytes > int.MaxValue)
            throw new DriverRefusal(DriverCode.InvalidValue, $"{bytes} bytes of pinned memory");
        void* place = NativeMemory.AlignedAlloc(bytes, PageBytes);

        // What nobody wrote is a NaN, as in device memory.
        NativeMemory.Fill(place, bytes, 0xFF);
        Make(new SimPinnedMemory { Bytes = (long)bytes }, (nint)place);
        *address = (nint)place;
        return DriverCode.Success;
    }

    private int FreePinned(nint address)
    {
        SimPinnedMemory pinned = Get<SimPinnedMemory>(address);
        int code = WaitBeforeFree("cuMemFreeHost");
        if (code != 0)
            return code;
        _objects.Remove(pinned.Handle);
        NativeMemory.AlignedFree((void*)address);
        return DriverCode.Success;
    }

    // The driver finishes what is queued before it takes memory away.
    private int WaitBeforeFree(string call)
    {
        if (_queues.TrueForAll(queue => queue.Work.Count == 0))
            return DriverCode.Success;
        return Wait(call, RunAll);
    }

    private int CopyToDevice(ulong to, byte* from, nuint bytes, nint stream)
    {
        if (bytes == 0)
            return DriverCode.Success;
        Gpu.Memory.CheckRange(to, (long)bytes, "copy to the device");
        long count = (long)bytes;
        if (PinnedAt(from, count) is SimPinnedMemory pinned)
        {
            pinned.Reads++;
            pinned.IsInGraph |= CaptureOf(stream) is not null;
            Submit(stream, () =>
            {
                pinned.Reads--;
                Upload(to, from, count);
                _counters.HostToDevice = _counters.HostToDevice.Plus(count, pageable: false);
            });
            return DriverCode.Success;
        }

        RefuseCaptured(stream, "a copy from pageable memory: the memory may be another's when the graph runs");
        WorkQueue queue = QueueOf(stream);
        if (queue.StagedBytes + count > MaxStagedBytes && Wait("cuMemcpyHtoDAsync_v2", () => queue.Run()) is int code and not 0)
            return code;
        queue.StagedBytes += count;
        for (long done = 0; done < count; done += PieceBytes)
        {
            byte[] taken = new ReadOnlySpan<byte>(from + done, (int)Math.Min(PieceBytes, count - done)).ToArray();
            ulong place = to + (ulong)done;
            Submit(stream, () => Gpu.Memory.Write(place, taken));
        }

        Submit(stream, () => _counters.HostToDevice = _counters.HostToDevice.Plus(count, pageable: true));
        return DriverCode.Success;
    }

    private int CopyToHost(byte* to, ulong from, nuint bytes, nint stream)
    {
        if (bytes == 0)
            return DriverCode.Success;
        Gpu.Memory.CheckRange(from, (long)bytes, "copy to the host");
        long count = (long)bytes;
        SimPinnedMemory? pinned = PinnedAt(to, count);
        if (pinned is null)
            RefuseCaptured(stream, "a copy to pageable memory: the memory may be another's when the graph runs");
        Submit(stream, () =>
        {
            for (long done = 0; done < count; done += PieceBytes)
                Gpu.Memory.Read(from + (ulong)done, new Span<byte>(to + done, (int)Math.Min(PieceBytes, count - done)), AllowUnwrittenDownloads);
            _counters.DeviceToHost = _counters.DeviceToHost.Plus(count, pageable: pinned is null);
        });
        WorkQueue queue = QueueOf(stream);
        if (pinned is null)
            return Wait(CopyToHostName, () => queue.Run());

        // From now on the host may not look at the old content either: it finds NaN. Where copies from here are still to come that content is needed.
        if (pinned is { Reads: 0, IsInGraph: false } && CaptureOf(stream) is null)
            NativeMemory.Fill(to, bytes, 0xFF);
        return DriverCode.Success;
    }

    private int CopyOnDevice(ulong to, ulong from, nuint bytes, nint stream)
    {
        if (bytes == 0)
            return DriverCode.Success;
        long count = (long)bytes;
        Gpu.Memory.CheckRange(to, count, "copy on the device");
        Gpu.Memory.CheckRange(from, count, "copy on the device");
        if (Math.Max(to, from) - Math.Min(to, from) < (ulong)count)
            throw new DriverRefusal(DriverCode.InvalidValue, $"a copy of {count} bytes from 0x{from:x} to 0x{to:x} overlaps itself: its result is not defined");
        Submit(stream, () =>
        {
            Gpu.Memory.Copy(to, from, count);
            _counters.DeviceToDevice = _counters.DeviceToDevice.Plus(count, pageable: false);
        });
        return DriverCode.Success;
    }

    private int Fill(ulong to, byte value, nuint bytes, nint stream)
    {
        if (bytes == 0)
            return DriverCode.Success;
        long count = (long)bytes;
        Gpu.Memory.CheckRange(to, count, "fill");
        Submit(stream, () =>
        {
            for (long done = 0; done < count; done += PieceBytes)
                Gpu.Memory.Fill(to + (ulong)done, Math.Min(PieceBytes, count - done), value);
            _counters.Memsets++;
        });
        return DriverCode.Success;
    }

    private void Upload(ulong to, byte* from, long bytes)
    {
        for (long done = 0; done < bytes; done += PieceBytes)
            Gpu.Memory.Write(to + (ulong)done, new ReadOnlySpan<byte>(from + done, (int)Math.Min(PieceBytes, bytes - done)));
    }

    private SimPinnedMemory? PinnedAt(byte* place, long bytes)
    {
        foreach (SimObject thing in _objects.Values)
        {
            if (thing is not SimPinnedMemory pinned || (nuint)place < (nuint)thing.Handle || (nuint)place >= (nuint)thing.Handle + (nuint)thing.Bytes)
                continue;
            long offset = (nint)place - thing.Handle;
            return offset + bytes <= thing.Bytes
                ? pinned
                : throw new DriverRefusal(DriverCode.InvalidValue, $"{bytes} bytes from byte {offset} of {thing.Bytes} bytes of pinned memory", FaultKind.OutOfBounds);
        }

        return null;
    }
}

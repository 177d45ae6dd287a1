using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>Work is done as late as streams allow, so that a host that does not wait finds out.</summary>
internal sealed class StreamTests : DriverTest
{
    [Test]
    public void A_copy_from_pinned_memory_reads_it_late_and_one_from_pageable_memory_at_once([Values] bool pinned)
    {
        using var staging = new PinnedMemory(Context, 8);
        float[] pageable = [1, 2];
        using var target = new DeviceMemory(Context, 8);
        Floats(staging)[0] = 1;
        Floats(staging)[1] = 2;
        Stream.Upload(pinned ? staging.Span : Bytes(pageable), target.Address);

        // A mistake where the memory is pinned: the copy has not been done.
        Floats(staging)[0] = 9;
        pageable[0] = 9;
        Assert.That(Download<float>(target, 2), Is.EqualTo(pinned ? [9f, 2f] : new[] { 1f, 2f }));
        Assert.That(Driver.Counters.HostToDevice, Is.EqualTo(pinned ? new CopyTotals(1, 8, 0, 0) : new CopyTotals(1, 8, 1, 8)));
    }

    [Test]
    public void A_copy_to_pinned_memory_is_there_after_the_wait_and_not_before()
    {
        using DeviceMemory source = Upload([1f, 2f]);
        using var target = new PinnedMemory(Context, 12);
        Floats(target).Fill(7);
        Stream.Download(source.Address, target.Span[..8]);
        Assert.That(Floats(target).ToArray(), Is.EqualTo([float.NaN, float.NaN, 7f]), "neither the result nor what was there before");
        Stream.Synchronize();
        Assert.That(Floats(target).ToArray(), Is.EqualTo([1f, 2f, 7f]));
        Assert.That(Driver.Counters.DeviceToHost, Is.EqualTo(new CopyTotals(1, 8, 0, 0)));
    }

    [Test]
    public void Pinned_memory_that_is_still_to_be_read_keeps_its_content()
    {
        using DeviceMemory source = Upload([1f]), target = new(Context, 4);
        using var pinned = new PinnedMemory(Context, 4);
        Floats(pinned)[0] = 5;
        Stream.Upload(pinned.Span, target.Address);
        Stream.Download(source.Address, pinned.Span);
        Stream.Synchronize();
        Assert.That(Floats(pinned)[0], Is.EqualTo(1));
        Assert.That(Download<float>(target, 1), Is.EqualTo([5f]));
    }

    [Test]
    public void A_copy_to_pageable_memory_waits_and_says_so()
    {
        using DeviceMemory source = Upload([3f]);
        Assert.That(Download<float>(source, 1), Is.EqualTo([3f]));
        Assert.That(Driver.Counters.Waits, Is.EqualTo(new Dictionary<string, long> { ["cuMemcpyDtoHAsync_v2"] = 1 }));
        Assert.That(Driver.Counters.DeviceToHost, Is.EqualTo(new CopyTotals(1, 4, 1, 4)));
    }

    [Test]
    public unsafe void Arguments_are_taken_when_the_launch_is_called([Values] bool buffer)
    {
        using DeviceMemory a = Upload([1f, 2f, 3f]), b = Upload([10f, 20f, 30f]), c = new(Context, 12);
        using CudaModule module = Load("basic.cu");
        if (buffer)
        {
            var arguments = new AddArguments(a.Address, b.Address, c.Address, 3);
            module.GetKernel("add").Launch(Stream, new LaunchShape(1, 1, 1, 32), arguments);
        }
        else
        {
            ulong first = a.Address, second = b.Address, third = c.Address;
            int count = 3;
            void** parameters = stackalloc void*[] { &first, &second, &third, &count };
            using CudaContext.Scope scope = Context.Enter();
            Assert.That(Api.LaunchKernel(Function(module, "add"), 1, 1, 1, 32, 1, 1, 0, Stream.Raw, parameters, null), Is.Zero);
            first = second = third = 0;
            count = 99;
        }

        Assert.That(Driver.Counters.AllLaunches, Is.Zero, "it waits for the host to wait");
        Assert.That(Download<float>(c, 3), Is.EqualTo([11f, 22f, 33f]));
        Assert.That(Driver.Counters.Launches("add"), Is.EqualTo(1));
        Assert.That(Driver.Counters.Kernels["add"].ByText["st.global.f32"], Is.EqualTo(3));
    }

    [Test]
    public void Streams_do_not_wait_for_each_other_unless_told([Values] bool told)
    {
        using DeviceMemory shared = Upload([1f]);
        Stream.Synchronize();
        using var other = new CudaStream(Context);
        using var mark = new CudaEvent(Context);
        other.Fill(shared.Address, 0, 4);
        mark.Record(other);
        if (told)
            Raw(() => WaitEvent(Stream, mark));
        Assert.That(Download<float>(shared, 1), Is.EqualTo(told ? [0f] : new[] { 1f }));
        other.Synchronize();
        Assert.That(Download<float>(shared, 1), Is.EqualTo([0f]));
    }

    [Test]
    public void An_event_waits_for_what_came_before_it_alone()
    {
        using DeviceMemory memory = Upload([1f, 1f]);
        using CudaEvent begin = new(Context), end = new(Context), never = new(Context);
        Refused(400, () => end.MillisecondsSince(begin));
        begin.Record(Stream);
        Stream.Fill(memory.Address, 0, 4);
        end.Record(Stream);
        Stream.Fill(memory.Address + 4, 0, 4);
        Refused(600, () => end.MillisecondsSince(begin));
        end.Synchronize();
        Assert.That(Driver.Counters.Memsets, Is.EqualTo(1));
        Assert.That(end.MillisecondsSince(begin), Is.InRange(0, 10_000));
        never.Synchronize();
        Stream.Synchronize();
        Assert.That(Driver.Counters.Memsets, Is.EqualTo(2));
        Assert.That(Driver.Counters.AllWaits, Is.EqualTo(3));
    }

    [Test]
    public void A_wait_for_an_event_takes_it_as_it_was_recorded_then()
    {
        using DeviceMemory memory = Upload([1f, 1f]);
        Stream.Synchronize();
        using var other = new CudaStream(Context);
        using var mark = new CudaEvent(Context);
        other.Fill(memory.Address, 0, 4);
        mark.Record(other);
        Raw(() => WaitEvent(Stream, mark));
        other.Fill(memory.Address + 4, 0, 4);
        mark.Record(other);
        Assert.That(Download<float>(memory, 2), Is.EqualTo([0f, 1f]));
    }

    [Test]
    public void Copies_inside_the_device()
    {
        using DeviceMemory a = Upload([1f, 2f, 3f, 4f]), b = new(Context, 16);
        Raw(() => CopyOnDevice(b.Address + 4, a.Address, 8));
        Stream.Fill(b.Address, 0, 4);
        float[] copied = new float[3];
        Stream.Download(b.Address, MemoryMarshal.AsBytes(copied.AsSpan()));
        Assert.That(copied, Is.EqualTo([0f, 1f, 2f]));
        Assert.That(Driver.Counters.DeviceToDevice, Is.EqualTo(new CopyTotals(1, 8, 0, 0)));
        Refused(1, () => Raw(() => CopyOnDevice(a.Address + 4, a.Address, 8)));
        Assert.That(Driver.Faults.Single().Message, Does.Contain("overlaps itself"));
        Assert.That(Download<float>(a, 4), Is.EqualTo([1f, 2f, 3f, 4f]), "the context goes on");
    }

    [Test]
    public unsafe void Streams_that_block_share_the_default_streams_order()
    {
        using DeviceMemory memory = Upload([1f]);
        Stream.Synchronize();
        using CudaContext.Scope scope = Context.Enter();
        nint blocking;
        Assert.That(Api.StreamCreate(&blocking, 0), Is.Zero);
        Assert.That(Api.MemsetD8Async(memory.Address, 0, 4, blocking), Is.Zero);
        Assert.That(Api.StreamSynchronize(Stream.Raw), Is.Zero);
        Assert.That(Driver.Counters.Memsets, Is.Zero, "our stream is independent of them");
        Assert.That(Api.StreamSynchronize(0), Is.Zero);
        Assert.That(Driver.Counters.Memsets, Is.EqualTo(1));
        Assert.That(Api.StreamDestroy(blocking), Is.Zero);
        Assert.That(Api.StreamDestroy(blocking), Is.EqualTo(400));
    }

    [Test]
    public void Freeing_waits_for_what_is_queued_and_says_so()
    {
        DeviceMemory memory = Upload([1f]);
        Stream.Synchronize();
        memory.Dispose();
        Assert.That(Driver.Counters.Waits, Does.Not.ContainKey("cuMemFree_v2"), "nothing was queued");
        memory = Upload([1f]);
        memory.Dispose();
        Assert.That(Driver.Counters.Waits["cuMemFree_v2"], Is.EqualTo(1));
        Assert.That(Driver.Faults, Is.Empty);
    }

    [Test]
    public void A_destroyed_streams_work_is_still_done()
    {
        using DeviceMemory memory = Upload([1f]);
        Stream.Synchronize();
        var other = new CudaStream(Context);
        using var mark = new CudaEvent(Context);
        other.Fill(memory.Address, 0, 4);
        mark.Record(other);
        other.Dispose();
        mark.Synchronize();
        Assert.That(Download<float>(memory, 1), Is.EqualTo([0f]));
    }

    [Test]
    public unsafe void Waiting_for_the_context_does_all()
    {
        using DeviceMemory memory = new(Context, 8);
        using var other = new CudaStream(Context);
        Stream.Fill(memory.Address, 0, 4);
        other.Fill(memory.Address + 4, 0, 4);
        var synchronize = (delegate* unmanaged<int>)Driver.Functions.Require("cuCtxSynchronize", "2.0");
        using (Context.Enter())
            Assert.That(synchronize(), Is.Zero);
        Assert.That(Driver.Counters.Memsets, Is.EqualTo(2));
        Driver.ResetCounters();
        Assert.That(Driver.Counters.AllWaits + Driver.Counters.Memsets, Is.Zero);
    }

    private unsafe int WaitEvent(CudaStream stream, CudaEvent mark) => Api.StreamWaitEvent(stream.Raw, mark.Raw, 0);

    private unsafe int CopyOnDevice(ulong to, ulong from, nuint bytes) => Api.MemcpyDtoDAsync(to, from, bytes, Stream.Raw);
}

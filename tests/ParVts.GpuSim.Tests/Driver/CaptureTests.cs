using ParVts.Cuda;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>Captures record; graphs replay in order; what does not belong into a capture spoils it.</summary>
internal sealed unsafe class CaptureTests : DriverTest
{
    private const int Global = 0;
    private const int ThreadLocal = 1;
    private const int Relaxed = 2;

    [Test]
    public void A_graph_does_what_was_recorded_each_time_that_it_is_launched()
    {
        using DeviceMemory sum = Upload([0f, 0f, 0f]), step = Upload([1f, 2f, 3f]), copy = new(Context, 12);
        using var result = new PinnedMemory(Context, 12);
        using CudaModule module = Load("basic.cu");
        CudaKernel add = module.GetKernel("add");
        nint graph = Capture(Global, () =>
        {
            add.Launch(Stream, new LaunchShape(1, 1, 1, 32), new AddArguments(sum.Address, step.Address, sum.Address, 3));
            Raw(() => Api.MemcpyDtoDAsync(copy.Address, sum.Address, 12, Stream.Raw));
            Stream.Fill(copy.Address, 0, 4);
            Stream.Download(copy.Address, result.Span);
        });
        Stream.Synchronize();
        Assert.That(Driver.Counters.AllLaunches, Is.Zero, "nothing was done while it was recorded");
        nint executable = Instantiate(graph);
        Destroy(graph);
        for (int i = 0; i < 3; i++)
            Raw(() => Api.GraphLaunch(executable, Stream.Raw));
        Assert.That(Driver.Counters.AllLaunches, Is.Zero, "launches of graphs wait, too");
        Stream.Synchronize();
        Assert.That(Floats(result).ToArray(), Is.EqualTo([0f, 6f, 9f]));
        Assert.That(Driver.Counters.GraphLaunches, Is.EqualTo(3));
        Assert.That(Driver.Counters.Launches("add"), Is.EqualTo(3));
        Assert.That(Driver.Counters.DeviceToHost.Count, Is.EqualTo(3));
        Raw(() => Api.GraphExecDestroy(executable));
        Assert.That(Driver.Faults, Is.Empty);
    }

    public enum Disturbance
    {
        Allocation, Free, Pinned, Module, Synchronize, UploadPageable, DownloadPageable, Context,
    }

    [Test]
    public void What_does_not_belong_into_a_capture_is_refused_and_spoils_it([Values] Disturbance what, [Values(Global, ThreadLocal)] int mode)
    {
        using DeviceMemory memory = Upload([1f]);
        Stream.Synchronize();
        var context = (delegate* unmanaged<int>)Driver.Functions.Require("cuCtxSynchronize", "2.0");
        Raw(() => Api.StreamBeginCapture(Stream.Raw, mode));
        Refused(900, () =>
        {
            switch (what)
            {
                case Disturbance.Allocation:
                    _ = new DeviceMemory(Context, 16);
                    break;
                case Disturbance.Free:
                    Raw(() => Api.MemFree(memory.Address));
                    break;
                case Disturbance.Pinned:
                    _ = new PinnedMemory(Context, 16);
                    break;
                case Disturbance.Module:
                    _ = Load("basic.cu");
                    break;
                case Disturbance.Synchronize:
                    Stream.Synchronize();
                    break;
                case Disturbance.UploadPageable:
                    Stream.Upload(new byte[4], memory.Address);
                    break;
                case Disturbance.DownloadPageable:
                    Stream.Download(memory.Address, new byte[4]);
                    break;
                case Disturbance.Context:
                    Raw(() => context());
                    break;
            }
        });
        Refused(901, () => End());
        Assert.That(Driver.Faults, Has.Count.EqualTo(1));
        Assert.That(Download<float>(memory, 1), Is.EqualTo([1f]), "the stream works on");
    }

    [TestCase(Global, 900)]
    [TestCase(ThreadLocal, 0)]
    [TestCase(Relaxed, 0)]
    public void Another_threads_allocation(int mode, int expected)
    {
        Raw(() => Api.StreamBeginCapture(Stream.Raw, mode));
        int code = 0;
        var other = new Thread(() =>
        {
            try
            {
                new DeviceMemory(Context, 16).Dispose();
            }
            catch (CudaException error)
            {
                code = error.Code;
            }
        });
        other.Start();
        other.Join();
        Assert.That(code, Is.EqualTo(expected));
        if (expected == 0)
            Destroy(End());
        else
            Refused(901, () => End());
    }

    [Test]
    public void Streams_join_by_events_and_the_graph_keeps_the_order()
    {
        using DeviceMemory memory = Upload([1f]);
        Stream.Synchronize();
        using var other = new CudaStream(Context);
        using CudaEvent fork = new(Context), join = new(Context);
        nint graph = Capture(ThreadLocal, () =>
        {
            Stream.Fill(memory.Address, 1, 4);
            fork.Record(Stream);
            Raw(() => Api.StreamWaitEvent(other.Raw, fork.Raw, 0));
            other.Fill(memory.Address, 2, 4);
            join.Record(other);
            Raw(() => Api.StreamWaitEvent(Stream.Raw, join.Raw, 0));
            Stream.Fill(memory.Address + 1, 3, 1);
        });
        nint executable = Instantiate(graph);
        Raw(() => Api.GraphLaunch(executable, Stream.Raw));
        byte[] bytes = new byte[4];
        Stream.Download(memory.Address, bytes);
        Assert.That(bytes, Is.EqualTo(new byte[] { 2, 3, 2, 2 }));
        Refused(907, fork.Synchronize);
        other.Synchronize();
        Raw(() => Api.GraphExecDestroy(executable));
        Destroy(graph);
    }

    [Test]
    public void Captures_that_do_not_fit_together()
    {
        using var other = new CudaStream(Context);
        using var outside = new CudaEvent(Context);
        outside.Record(other);
        Refused(401, () => End());
        Raw(() => Api.StreamBeginCapture(Stream.Raw, Global));
        Refused(401, () => Raw(() => Api.StreamBeginCapture(Stream.Raw, Global)));
        Refused(905, () => Raw(() => Api.StreamWaitEvent(Stream.Raw, outside.Raw, 0)));
        Refused(901, () => End());
        Raw(() => Api.StreamBeginCapture(Stream.Raw, Global));
        CudaException? error = null;
        var thread = new Thread(() => error = Assert.Throws<CudaException>(() => End()));
        thread.Start();
        thread.Join();
        Assert.That(error?.Code, Is.EqualTo(908));
        Destroy(End());
    }

    private nint Capture(int mode, Action record)
    {
        Raw(() => Api.StreamBeginCapture(Stream.Raw, mode));
        record();
        return End();
    }

    private nint End() => Made(graph => Api.StreamEndCapture(Stream.Raw, (nint*)graph));

    private void Destroy(nint graph) => Raw(() => Api.GraphDestroy(graph));

    private nint Instantiate(nint graph) => Made(executable => Api.GraphInstantiate((nint*)executable, graph, 0));
}

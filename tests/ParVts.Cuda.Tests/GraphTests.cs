using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>Captured graphs: lifetimes in every order, captures that are given up or fail. On a driver that runs nothing.</summary>
[NonParallelizable]
public class GraphTests
{
    [Test]
    public void Everything_is_freed_in_every_order([Range(0, 23)] int order)
    {
        DriverApi api = FakeDriver.Start();
        var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        var stream = new CudaStream(context);
        CudaCapture capture = stream.BeginCapture();
        stream.Fill(0x10, 0, 16);
        CudaGraph graph = capture.End();
        graph.Launch(stream);
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(3), "context, stream, graph: what was recorded is gone");
        var all = new List<CudaHandle> { context, stream, capture, graph };
        for (int left = 4; left > 0; left--)
        {
            CudaHandle one = all[order % left];
            order /= left;
            all.Remove(one);
            one.Dispose();
        }

        Assert.That(FakeDriver.Alive, Is.Empty);
        Assert.That(FakeDriver.Misuse, Is.Empty);
        Assert.That(FakeDriver.Depth, Is.Zero);
        Assert.That(() => capture.End(), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void A_capture_that_is_given_up_is_ended([Range(0, 5)] int order)
    {
        DriverApi api = FakeDriver.Start();
        var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        var stream = new CudaStream(context);
        var all = new List<CudaHandle> { context, stream, stream.BeginCapture() };
        for (int left = 3; left > 0; left--)
        {
            CudaHandle one = all[order % left];
            order /= left;
            all.Remove(one);
            one.Dispose();
        }

        Assert.That(FakeDriver.Alive, Is.Empty);
        Assert.That(FakeDriver.Misuse, Is.Empty);
    }

    [Test]
    public void What_is_disposed_of_during_a_capture_is_freed_after_it()
    {
        DriverApi api = FakeDriver.Start();
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        using var stream = new CudaStream(context);
        var memory = new DeviceMemory(context, 64);
        using (CudaCapture capture = stream.BeginCapture())
        {
            memory.Dispose();
            stream.Fill(0x10, 0, 16);
            Assert.That(FakeDriver.Alive, Has.Count.EqualTo(3));
            capture.End().Dispose();
        }

        _ = context.Memory;
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(2));
        Assert.That(FakeDriver.Misuse, Is.Empty);
    }

    [Test]
    public void A_capture_that_fails_is_a_typed_error_and_the_stream_works_afterwards()
    {
        DriverApi api = FakeDriver.Start();
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        using var stream = new CudaStream(context);
        FakeDriver.FailWith = 901;
        for (int fail = 1; fail <= 8; fail++)
        {
            int alive = FakeDriver.Alive.Count;
            FakeDriver.FailAt = FakeDriver.Calls + fail;
            try
            {
                using CudaCapture capture = stream.BeginCapture();
                stream.Fill(0x10, 0, 16);
                using CudaGraph graph = capture.End();
                Assert.That(fail, Is.EqualTo(3).Or.EqualTo(6), "only a pop may fail unseen");
            }
            catch (CudaException error)
            {
                Assert.That(error.Message, Does.Contain("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)").And.Contain("--no-graphs"));
            }

            Assert.That(FakeDriver.Alive, Has.Count.EqualTo(alive), $"call {fail}");
            Assert.That(FakeDriver.Misuse, Is.Empty);
            FakeDriver.FailAt = 0;
            using CudaCapture again = stream.BeginCapture();
            again.End().Dispose();
        }
    }
}

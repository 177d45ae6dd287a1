using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>Errors that destroy a context, devices that are refused or not there, old drivers. On a driver that runs nothing.</summary>
[NonParallelizable]
public class RecoveryTests
{
    private const int IllegalAddress = 700;

    [TestCase(true)]
    [TestCase(false)]
    public void After_a_sticky_error_the_context_says_so_and_a_new_one_works(bool disposedFirst)
    {
        DriverApi api = FakeDriver.Start();
        CudaDeviceInfo device = CudaDeviceInfo.All(api)[0];
        var context = new CudaContext(api, device);
        var bystander = new CudaContext(api, device);
        var stream = new CudaStream(context);
        var memory = new DeviceMemory(context, 64);
        FakeDriver.Sticky = IllegalAddress;
        CudaException error = Assert.Throws<CudaException>(stream.Synchronize)!;
        Assert.That(error.Message, Does.Contain("CUDA_ERROR_ILLEGAL_ADDRESS (700)").And.Contain("the context is lost"));
        Assert.That(context.IsLost && bystander.IsLost, "who shares the device's context shares its loss");
        int calls = FakeDriver.Calls;
        foreach (Action use in (Action[])[stream.Synchronize, () => stream.Fill(memory.Address, 0, 4), () => _ = bystander.Memory, () => _ = new DeviceMemory(context, 1)])
        {
            CudaContextLostException lost = Assert.Throws<CudaContextLostException>(use)!;
            Assert.That(lost.Message, Does.Contain("Fake GPU").And.Contain("is lost since cuCtxPushCurrent").And.Contain("open it again"));
            Assert.That(lost.InnerException, Is.SameAs(error));
        }

        Assert.That(FakeDriver.Calls, Is.EqualTo(calls), "nothing was called");
        if (disposedFirst)
            DisposeOld();
        using (var next = new CudaContext(api, device))
        {
            using var used = new DeviceMemory(next, 64);
            Assert.That(next.IsLost, Is.False);
            int alive = FakeDriver.Alive.Count;
            if (!disposedFirst)
                DisposeOld();
            Assert.That(FakeDriver.Alive, Has.Count.EqualTo(alive), "what the lost context held is not freed in the new one's name");
            new CudaStream(next).Dispose();
        }

        Assert.That(FakeDriver.Alive, Is.Empty);
        Assert.That(FakeDriver.Misuse, Is.Empty);

        void DisposeOld()
        {
            memory.Dispose();
            stream.Dispose();
            bystander.Dispose();
            context.Dispose();
        }
    }

    [TestCase(214, ExpectedResult = true)]
    [TestCase(702, ExpectedResult = true)]
    [TestCase(715, ExpectedResult = true)]
    [TestCase(716, ExpectedResult = true)]
    [TestCase(717, ExpectedResult = true)]
    [TestCase(718, ExpectedResult = true)]
    [TestCase(719, ExpectedResult = true)]
    [TestCase(2, ExpectedResult = false)]
    [TestCase(1, ExpectedResult = false)]
    [TestCase(901, ExpectedResult = false)]
    public bool Some_errors_lose_the_context(int code)
    {
        DriverApi api = FakeDriver.Start();
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        FakeDriver.FailWith = code;
        FakeDriver.FailAt = FakeDriver.Calls + 2;
        Assert.That(() => context.Memory, Throws.TypeOf<CudaException>());
        return context.IsLost;
    }

    [Test]
    public void A_device_is_found_by_number_and_by_uuid()
    {
        DriverApi api = FakeDriver.Start();
        FakeDriver.Devices = 2;
        Assert.That(CudaDeviceInfo.Find(api, "1").Ordinal, Is.EqualTo(1));
        Assert.That(CudaDeviceInfo.Find(api, "1").Id, Is.EqualTo("GPU-00112233-4455-6677-8899-aabbccddeefe"), "as nvidia-smi writes it");
        Assert.That(CudaDeviceInfo.Find(api, "GPU-00112233-4455-6677-8899-AABBCCDDEEFE").Ordinal, Is.EqualTo(1));
        Assert.That(CudaDeviceInfo.Find(api, "00112233-4455-6677-8899-aabbccddeeff").Ordinal, Is.Zero);
        FakeDriver.Devices = 1;
        Assert.That(CudaDeviceInfo.Find(api, "gpu-0011").Ordinal, Is.Zero);
        FakeDriver.Devices = 2;
        Assert.That(() => CudaDeviceInfo.Find(api, "GPU-0011"), Throws.TypeOf<CudaDeviceException>().With.Message.Contain("2 GPUs begin so"));
        foreach (string wrong in (string[])["2", "-1", "", "GPU-", "GPU-77", "cuda"])
        {
            Assert.That(
                () => CudaDeviceInfo.Find(api, wrong),
                Throws.TypeOf<CudaDeviceException>().With.Message.Contain("there is no such GPU").And.Message.Contain("0: Fake GPU, GPU-00112233-4455-6677-8899-aabbccddeeff"));
        }
    }

    [TestCase(75)]
    [TestCase(61)]
    public void A_gpu_that_the_kernels_do_not_run_on_is_refused(int architecture)
    {
        DriverApi api = FakeDriver.Start();
        FakeDriver.Architecture = architecture;
        Assert.That(
            () => new CudaContext(api, CudaDeviceInfo.All(api)[0]),
            Throws.TypeOf<CudaDeviceException>().With.Message.Contain($"it is sm_{architecture}, and the kernels need sm_80"));
        Assert.That(FakeDriver.Alive, Is.Empty);
        FakeDriver.Architecture = 80;
        new CudaContext(api, CudaDeviceInfo.All(api)[0]).Dispose();
    }

    [Test]
    public void An_old_driver_is_named_as_such_before_anything_else_is_missing()
    {
        FakeDriver.Start();
        FakeDriver.Version = 11020;
        Assert.That(
            () => FakeDriver.Load(missing: "cuGraphInstantiateWithFlags"),
            Throws.TypeOf<CudaLibraryException>().With.Message.Contain("is too old: it serves CUDA 11.2, and CUDA 11.4 is needed. Install it"));
        FakeDriver.Version = 13000;
        Assert.That(FakeDriver.Load().Version, Is.EqualTo(new Version(13, 0)));
    }

    [Test]
    public void A_borrowed_stream_is_never_destroyed([Values(0, 0x77)] int theirs)
    {
        DriverApi api = FakeDriver.Start();
        var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        var stream = new CudaStream(context, theirs);
        stream.Synchronize();
        context.Dispose();
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(1));
        stream.Dispose();
        Assert.That(FakeDriver.Alive, Is.Empty, "it held the context");
        Assert.That(FakeDriver.Misuse, Is.Empty, "but is not ours to destroy");
    }
}

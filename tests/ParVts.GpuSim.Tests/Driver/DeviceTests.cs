using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>The device, its contexts, modules and accounts.</summary>
internal sealed unsafe class DeviceTests : DriverTest
{
    [TestCase(80, 163)]
    [TestCase(86, 99)]
    [TestCase(89, 99)]
    [TestCase(90, 227)]
    public void A_device_says_what_it_is(int architecture, int shared)
    {
        using var driver = new SimDriver(architecture, 3L << 30);
        CudaDeviceInfo device = CudaDeviceInfo.All(driver.Api).Single();
        Assert.That(device.Name, Is.EqualTo("ParVts simulated GPU"));
        Assert.That(device.Architecture, Is.EqualTo(architecture));
        Assert.That(device.SharedMemoryPerBlock, Is.EqualTo(1024 * shared));
        Assert.That(device.Multiprocessors, Is.EqualTo(16));
        Assert.That(device.TotalBytes, Is.EqualTo(3L << 30));
        Assert.That(device.Uuid, Is.Not.EqualTo(CudaDeviceInfo.All(new SimDriver(architecture == 80 ? 90 : 80).Api)[0].Uuid));
    }

    [Test]
    public void An_architecture_that_is_not_known_is_refused() => Assert.That(() => new SimDriver(75), Throws.TypeOf<ArgumentOutOfRangeException>());

    [Test]
    public void Drivers_do_not_know_each_others_handles()
    {
        using var other = new SimDriver();
        using var context = new CudaContext(other.Api, CudaDeviceInfo.All(other.Api)[0]);
        using var stream = new CudaStream(context);
        using var memory = new DeviceMemory(context, 16);
        stream.Fill(memory.Address, 0, 16);
        Refused(400, () => Raw(() => Api.StreamSynchronize(stream.Raw)));
        Assert.That(Api.CtxPushCurrent(context.Raw), Is.EqualTo(201));
        stream.Synchronize();
        Assert.That((other.Counters.Memsets, Driver.Counters.Memsets), Is.EqualTo((1L, 0L)));
        Assert.That((other.Faults.Count, Driver.Faults.Count), Is.EqualTo((0, 2)));
    }

    [Test]
    public void The_current_context_is_a_threads_own()
    {
        using CudaContext.Scope scope = Context.Enter();
        Assert.That(Current(), Is.EqualTo(Context.Raw));
        nint elsewhere = -1;
        var thread = new Thread(() => elsewhere = Current());
        thread.Start();
        thread.Join();
        Assert.That(elsewhere, Is.EqualTo((nint)0));
    }

    [Test]
    public void The_primary_context_is_one_for_all_until_the_last_lets_go()
    {
        nint first, second;
        Assert.That(Api.PrimaryCtxRetain(&first, 0), Is.Zero);
        Assert.That(first, Is.EqualTo(Context.Raw));
        Assert.That(Api.PrimaryCtxRelease(0), Is.Zero);
        nint old = Context.Raw;
        Stream.Dispose();
        Context.Dispose();
        Assert.That(Api.CtxPushCurrent(old), Is.EqualTo(201));
        Assert.That(Api.PrimaryCtxRetain(&second, 0), Is.Zero);
        Assert.That(second, Is.Not.EqualTo(old));
        Assert.That(Api.PrimaryCtxRelease(0), Is.Zero);
        Assert.That(Api.PrimaryCtxRelease(0), Is.EqualTo(201));
    }

    [Test]
    public void What_is_not_freed_is_named()
    {
        Stream.Dispose();
        SimLeak context = Driver.Leaks().Single();
        Assert.That(context.Kind, Is.EqualTo("context"));
        var memory = new DeviceMemory(Context, 48);
        long call = Driver.Calls - 1;
        var mark = new CudaEvent(Context);
        Assert.That(Driver.Leaks(), Is.EqualTo([
            context,
            new SimLeak("device memory", memory.Address, 48, call),
            new SimLeak("event", (ulong)mark.Raw, 0, call + 3)]));
        memory.Dispose();
        mark.Dispose();
        Assert.That(Driver.Leaks(), Is.EqualTo([context]));

        // What the end of the context has to free was leaked all the same.
        _ = Made(lost => Api.MemAlloc((ulong*)lost, 32));
        Context.Dispose();
        Assert.That(Driver.Leaks().Single().Bytes, Is.EqualTo(32));
        Assert.That(Driver.Gpu.Memory.InUse, Is.Zero);
    }

    [Test]
    public void Machine_code_is_refused_and_the_host_comes_with_ptx()
    {
        CompiledKernel compiled = Nvrtc.Engine("rows.cu");
        Assert.That(compiled.Cubin, Is.Not.Empty);
        new CudaModule(Context, compiled).Dispose();
        Assert.That(Driver.CallsByName["cuModuleLoadData"], Is.EqualTo(2));
        Assert.That(Driver.Faults, Is.Empty);
        Assert.That(Driver.Gpu.Memory.InUse, Is.Zero);
    }

    [Test]
    public void Ptx_that_is_wrong_or_for_newer_gpus_is_refused()
    {
        Refused(218, () => _ = new CudaModule(Context, new CompiledKernel(Nvrtc.Ptx("basic.cu").Replace("sm_80", "sm_90"), [], "")));
        Assert.That(Driver.Faults[^1].Message, Does.Contain("PTX for sm_90 on a GPU of sm_80"));
        Refused(218, () => _ = new CudaModule(Context, new CompiledKernel(Nvrtc.Ptx("basic.cu").Replace("add.f32", "odd.f32"), [], "")));
        Assert.That(Driver.Faults[^1], Is.TypeOf<Ptx.PtxException>().With.Message.Contain("odd"));
        using CudaModule module = Load("basic.cu");
        Refused(500, () => module.GetKernel("nothing"));
    }

    [Test]
    public void Shared_memory_beyond_the_usual_must_be_asked_for()
    {
        using CudaModule module = Load("basic.cu");
        nint function = Function(module, "reduce");
        int Attribute(int attribute) => (int)Made(value => Api.FuncGetAttribute((int*)value, attribute, function));

        Assert.That((Attribute(0), Attribute(1), Attribute(8)), Is.EqualTo((1024, 128, (48 * 1024) - 128)));
        Refused(1, () => Raw(() => Api.FuncSetAttribute(function, 8, 163 * 1024)));
        Raw(() => Api.FuncSetAttribute(function, 8, (163 * 1024) - 128));
        Assert.That(Attribute(8), Is.EqualTo((163 * 1024) - 128));

        // The host asks by itself, also where only static and dynamic memory together are too much.
        using DeviceMemory sum = Upload([0f]);
        module.GetKernel("reduce").Launch(Stream, new LaunchShape(1, 1, 1, 32, SharedBytes: 48 * 1024), new ReduceArguments(sum.Address, sum.Address, 0));
        Assert.That(Download<float>(sum, 1), Is.EqualTo([0f]));
        Refused(1, () => module.GetKernel("reduce").Launch(Stream, new LaunchShape(1, 1, 1, 32, SharedBytes: 163 * 1024), new ReduceArguments(0, 0, 0)));
    }

    [Test]
    public void A_launch_allocates_nothing_but_what_the_simulation_does()
    {
        using DeviceMemory memory = Upload([1f]);
        using CudaModule module = Load("basic.cu");
        CudaKernel kernel = module.GetKernel("add");
        var arguments = new AddArguments(memory.Address, memory.Address, memory.Address, 1);
        for (int i = 0; i < 3; i++)
        {
            long own = Driver.ManagedBytes;
            long bytes = GC.GetAllocatedBytesForCurrentThread();
            kernel.Launch(Stream, new LaunchShape(1, 1, 1, 32), arguments);
            Stream.Synchronize();
            bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
            if (i > 0)
                Assert.That(bytes, Is.EqualTo(Driver.ManagedBytes - own).And.Positive);
        }
    }

    [Test]
    public void A_disposed_driver_refuses()
    {
        var driver = new SimDriver();
        var context = new CudaContext(driver.Api, CudaDeviceInfo.All(driver.Api)[0]);
        _ = new PinnedMemory(context, 16);
        driver.Dispose();
        driver.Dispose();
        Refused(4, () => _ = new DeviceMemory(context, 16));
        context.Dispose();
    }

    private readonly record struct ReduceArguments(ulong X, ulong Out, int Count);

    private nint Current()
    {
        nint current;
        Assert.That(Api.CtxGetCurrent(&current), Is.Zero);
        return current;
    }
}

using ParVts.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>What goes wrong: lost contexts, misuse, planned failures.</summary>
internal sealed unsafe class FaultTests : DriverTest
{
    private readonly record struct TwoPointers(ulong A, ulong B);

    private readonly record struct PointerAndNumber(ulong A, int N);

    private readonly record struct OnePointer(ulong A);

    [TestCase("read_beyond", FaultKind.OutOfBounds, 700)]
    [TestCase("unwritten_global", FaultKind.UnwrittenRead, 719)]
    [TestCase("misaligned", FaultKind.Misaligned, 716)]
    [TestCase("divergent_barrier", FaultKind.DivergentBarrier, 719)]
    [TestCase("endless", FaultKind.Runaway, 702)]
    public void A_fault_loses_the_context(string name, FaultKind kind, int code)
    {
        Driver.Gpu.InstructionLimit = 10_000;
        DeviceMemory memory = Upload(new float[64]), blank = new(Context, 256);
        CudaModule module = Load("broken.cu");
        CudaKernel kernel = module.GetKernel(name);
        var shape = new LaunchShape(1, 1, 1, 64);
        if (kernel.Signature.Parameters.Count == 1)
            kernel.Launch(Stream, shape, new OnePointer(memory.Address));
        else if (kernel.Signature.Bytes < 16)
            kernel.Launch(Stream, shape, new PointerAndNumber(blank.Address, 2));
        else
            kernel.Launch(Stream, shape, new TwoPointers(name == "read_beyond" ? memory.Address : blank.Address, blank.Address));
        Assert.That(Driver.Faults, Is.Empty, "the launch itself is fine");
        Refused(code, Stream.Synchronize);
        var fault = (SimFaultException)Driver.Faults.Single();
        Assert.That(fault.Kind, Is.EqualTo(kind));
        Assert.That(fault.Kernel, Is.EqualTo(name));
        Assert.That(fault.SourceLine, Is.Positive);

        // All that follows fails alike, and adds nothing to the list.
        ulong address = blank.Address;
        nint stream = Stream.Raw;
        Assert.That(Pushed(() => Api.MemsetD8Async(address, 0, 4, stream)), Is.EqualTo(code));
        Assert.That(Pushed(() => Api.StreamSynchronize(stream)), Is.EqualTo(code));
        Assert.That(Pushed(() => Api.MemFree(address)), Is.EqualTo(code));
        Assert.That(Driver.Faults, Has.Count.EqualTo(1));

        // With its last release the context goes, and takes all along; a new one works.
        foreach (CudaHandle thing in new CudaHandle[] { memory, blank, module, Stream, Context })
            thing.Dispose();
        Assert.That(Driver.Leaks(), Is.Empty, "a lost context's things cannot be freed");
        Assert.That(Driver.Gpu.Memory.InUse, Is.Zero);
        using var context = new CudaContext(Api, CudaDeviceInfo.All(Api)[0]);
        using var queue = new CudaStream(context);
        using var fresh = new DeviceMemory(context, 16);
        queue.Fill(fresh.Address, 0, 16);
        queue.Synchronize();
    }

    [Test]
    public void A_reset_makes_a_lost_context_whole()
    {
        Driver.FailCall(1, 700, "cuStreamSynchronize");
        nint stream = Stream.Raw;
        Assert.That(Pushed(() => Api.StreamSynchronize(stream)), Is.EqualTo(700));
        Assert.That(Pushed(() => Api.CtxPushCurrent(0)), Is.EqualTo(201));
        Assert.That(Pushed(() => Api.EventSynchronize(0)), Is.EqualTo(700), "whatever it is");
        var reset = (delegate* unmanaged<int, int>)Driver.Functions.Require("cuDevicePrimaryCtxReset_v2", "11.0");
        Assert.That(reset(0), Is.Zero);
        new DeviceMemory(Context, 16).Dispose();
        Assert.That(Pushed(() => Api.StreamSynchronize(stream)), Is.EqualTo(400));
        Assert.That(Driver.Faults[^1].Message, Does.Contain("is no stream, or no longer one"));
    }

    [Test]
    public void A_read_of_what_nobody_wrote([Values] bool allowed)
    {
        Driver.AllowUnwrittenDownloads = allowed;
        using var memory = new DeviceMemory(Context, 16);
        if (allowed)
        {
            Assert.That(Download<float>(memory, 4), Has.All.NaN);
            return;
        }

        Refused(719, () => Download<float>(memory, 4));
        Assert.That(((SimFaultException)Driver.Faults.Single()).Kind, Is.EqualTo(FaultKind.UnwrittenRead));
    }

    [Test]
    public void Calls_that_are_wrong_in_themselves_are_refused_and_noted_and_the_context_goes_on()
    {
        using DeviceMemory memory = Upload([1f, 2f, 3f, 4f]);
        using var pinned = new PinnedMemory(Context, 8);
        using CudaModule module = Load("broken.cu");
        CudaKernel sized = module.GetKernel("sized");
        nint freed = (nint)new DeviceMemory(Context, 16).Address;
        ulong stale;
        using (var gone = new DeviceMemory(Context, 16))
            stale = gone.Address;
        (FaultKind Kind, int Code, Action Call)[] wrong =
        [
            (FaultKind.OutOfBounds, 1, () => Stream.Upload(new byte[17], memory.Address)),
            (FaultKind.OutOfBounds, 1, () => Stream.Download(memory.Address + 4, new byte[16])),
            (FaultKind.OutOfBounds, 1, () => Stream.Fill(memory.Address - 1, 0, 2)),
            (FaultKind.OutOfBounds, 1, () => Raw(() => Api.MemcpyDtoHAsync((void*)(pinned.Raw + 4), memory.Address, 8, Stream.Raw))),
            (FaultKind.UseAfterFree, 1, () => Stream.Fill(stale, 0, 2)),
            (FaultKind.DoubleFree, 1, () => Raw(() => Api.MemFree(stale))),
            (FaultKind.InvalidFree, 1, () => Raw(() => Api.MemFree(memory.Address + 4))),
            (FaultKind.HostMisuse, 400, () => Raw(() => Api.MemFreeHost(12345))),
            (FaultKind.HostMisuse, 400, () => Raw(() => Api.StreamSynchronize(module.Raw))),
            (FaultKind.HostMisuse, 400, () => Raw(() => Api.GraphLaunch(77, Stream.Raw))),
            (FaultKind.ParameterSize, 1, () => Raw(() => LaunchRaw(module, "sized", 4))),
            (FaultKind.LaunchSize, 1, () => sized.Launch(Stream, new LaunchShape(1, 1, 1, 1025), 0L)),
            (FaultKind.LaunchSize, 1, () => sized.Launch(Stream, new LaunchShape(0, 1, 1, 32), 0L)),
            (FaultKind.LaunchSize, 1, () => sized.Launch(Stream, new LaunchShape(1, 70_000, 1, 32), 0L)),
        ];
        foreach ((FaultKind kind, int code, Action call) in wrong)
        {
            int before = Driver.Faults.Count;
            Refused(code, call);
            Assert.That(Driver.Faults, Has.Count.EqualTo(before + 1));
            Assert.That(((SimFaultException)Driver.Faults[^1]).Kind, Is.EqualTo(kind), Driver.Faults[^1].Message);
        }

        Assert.That(Download<float>(memory, 4), Is.EqualTo([1f, 2f, 3f, 4f]));
        Raw(() => Api.MemFree((ulong)freed));
    }

    [Test]
    public void Calls_without_a_context_are_refused()
    {
        ulong address;
        Assert.That(Api.MemAlloc(&address, 16), Is.EqualTo(201));
        nint popped;
        Assert.That(Api.CtxPopCurrent(&popped), Is.EqualTo(201));
        Assert.That(Api.CtxPushCurrent(4711), Is.EqualTo(201));
        Assert.That(Api.PrimaryCtxRetain(&popped, 1), Is.EqualTo(101));
        Assert.That(Driver.Faults, Has.Count.EqualTo(4));
    }

    [Test]
    public void Full_memory_is_no_fault()
    {
        using var driver = new SimDriver(totalBytes: 1 << 20);
        using var context = new CudaContext(driver.Api, CudaDeviceInfo.All(driver.Api)[0]);
        using var most = new DeviceMemory(context, 1 << 19);
        Assert.That(context.Memory, Is.EqualTo((1L << 19, 1L << 20)));
        Refused(2, () => _ = new DeviceMemory(context, (1 << 19) + 1));
        Refused(2, () => _ = new DeviceMemory(context, long.MaxValue));
        new DeviceMemory(context, 1 << 19).Dispose();
        Assert.That(driver.Faults, Is.Empty);
    }

    [Test]
    public void Any_one_call_that_fails_is_a_typed_error_and_leaks_at_most_itself()
    {
        int calls = Use(int.MaxValue, out _);
        Assert.That(calls, Is.GreaterThan(30));
        int errors = 0;
        for (int fail = 1; fail <= calls; fail++)
        {
            Use(fail, out CudaException? error);
            errors += error is null ? 0 : 1;
            if (error is not null)
                Assert.That(error.Message, Does.Contain("CUDA_ERROR_OUT_OF_MEMORY (2)"));
        }

        Assert.That(errors, Is.GreaterThan(calls / 2));
    }

    [Test]
    public void A_failure_may_be_planned_for_one_function()
    {
        Driver.FailCall(2, 2, "cuMemAlloc_v2");
        long before = Driver.CallsByName.GetValueOrDefault("cuMemAlloc_v2");
        new DeviceMemory(Context, 16).Dispose();
        Refused(2, () => _ = new DeviceMemory(Context, 16));
        new DeviceMemory(Context, 16).Dispose();
        Assert.That(Driver.CallsByName["cuMemAlloc_v2"] - before, Is.EqualTo(3));
        Driver.FailCall(1, 2, "cuMemAlloc_v2");
        Driver.FailNothing();
        new DeviceMemory(Context, 16).Dispose();
        Assert.That(Driver.Calls, Is.EqualTo(Driver.CallsByName.Values.Sum()));
    }

    // Past the host's own classes, which may know that the context is lost.
    private int Pushed(Func<int> call)
    {
        Assert.That(Api.CtxPushCurrent(Context.Raw), Is.Zero);
        int code = call();
        nint popped;
        Assert.That(Api.CtxPopCurrent(&popped), Is.Zero);
        return code;
    }

    private static int Use(int fail, out CudaException? error)
    {
        error = null;
        using var driver = new SimDriver();
        long before = driver.Calls;
        driver.FailCall(fail, 2);
        try
        {
            using var context = new CudaContext(driver.Api, CudaDeviceInfo.All(driver.Api)[0]);
            using var stream = new CudaStream(context);
            using var a = new DeviceMemory(context, 128);
            using var pinned = new PinnedMemory(context, 128);
            using var mark = new CudaEvent(context);
            using var module = new CudaModule(context, new Cuda.Compilation.CompiledKernel(Nvrtc.Ptx("basic.cu"), [], ""));
            CudaKernel kernel = module.GetKernel("add");
            pinned.Span.Clear();
            stream.Upload(pinned.Span, a.Address);
            kernel.Launch(stream, new LaunchShape(1, 1, 1, 32), new AddArguments(a.Address, a.Address, a.Address, 32));
            mark.Record(stream);
            stream.Synchronize();
        }
        catch (CudaException caught)
        {
            error = caught;
        }

        nint current;
        Assert.That(driver.Api.CtxGetCurrent(&current), Is.Zero);
        Assert.That(current, Is.EqualTo((nint)0), $"call {fail}: the current context is as it was");
        Assert.That(driver.Faults, Is.Empty, $"call {fail}");
        Assert.That(driver.Leaks(), Has.Count.LessThanOrEqualTo(1), $"call {fail}");
        return (int)(driver.Calls - before) - 1;
    }

    private int LaunchRaw(CudaModule module, string kernel, nuint bytes)
    {
        long arguments = 0;
        nint* extra = stackalloc nint[] { 1, (nint)(&arguments), 2, (nint)(&bytes), 0 };
        return Api.LaunchKernel(Function(module, kernel), 1, 1, 1, 32, 1, 1, 0, Stream.Raw, null, (void**)extra);
    }
}

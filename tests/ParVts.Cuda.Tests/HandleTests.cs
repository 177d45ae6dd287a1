using System.Runtime.CompilerServices;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;

namespace ParVts.Cuda.Tests;

/// <summary>Contract M1: handles in any order, twice, by finalizers, and with any one call failing. On a driver that runs nothing.</summary>
[NonParallelizable]
public class HandleTests
{
    private const string Ptx = ".visible .entry scale(\n\t.param .u64 scale_param_0,\n\t.param .f32 scale_param_1,\n\t.param .u32 scale_param_2\n)\n{\n}";
    private static readonly CompiledKernel s_kernel = new(Ptx, [], "");

    private struct ScaleArguments
    {
        public ulong Data;
        public float Factor;
        public int Count;
    }

    private readonly record struct WrongArguments(ulong Data, int Factor, int Count);

    [TestCase(null, 2 * 3)]
    [TestCase("cuProfilerStart", 3 + 2)]
    [TestCase("cuProfilerStop", 3 + 2)]
    public void Profilers_are_told_to_begin_and_to_end_where_the_driver_can(string? missing, int calls)
    {
        DriverApi api = FakeDriver.Start(missing);
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        int before = FakeDriver.Calls;
        context.Profile(true);
        context.Profile(false);
        Assert.That(FakeDriver.Calls - before, Is.EqualTo(calls), "with a push and a pop of the context each");
        FakeDriver.FailAt = FakeDriver.Calls + 2;
        Assert.That(() => context.Profile(true), Throws.Nothing, "a profiler that refuses stops nobody");
        Assert.That(FakeDriver.Depth, Is.Zero);
    }

    [Test]
    public void Everything_is_freed_in_every_order_and_twice([Range(0, 23)] int order)
    {
        DriverApi api = FakeDriver.Start();
        var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        var all = new List<CudaHandle> { context, new DeviceMemory(context, 100), new CudaStream(context), new CudaModule(context, s_kernel) };
        for (int left = 4; left > 0; left--)
        {
            CudaHandle one = all[order % left];
            order /= left;
            all.Remove(one);
            one.Dispose();
            one.Dispose();
        }

        Assert.That(FakeDriver.Alive, Is.Empty);
        Assert.That(FakeDriver.Misuse, Is.Empty);
        Assert.That(FakeDriver.Depth, Is.Zero, "the caller's current context is as it was");
    }

    [Test]
    public void A_context_lives_as_long_as_its_children()
    {
        DriverApi api = FakeDriver.Start();
        var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        var memory = new DeviceMemory(context, 64);
        context.Dispose();
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(2));
        Assert.That(() => new DeviceMemory(context, 64), Throws.TypeOf<ObjectDisposedException>());
        memory.Dispose();
        Assert.That(FakeDriver.Alive, Is.Empty);
        Assert.That(() => memory.Address, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void A_finalizer_never_calls_the_driver()
    {
        DriverApi api = FakeDriver.Start();
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        Forget(context);
        int calls = FakeDriver.Calls;
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.That(FakeDriver.Calls, Is.EqualTo(calls), "nothing was called");
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(2), "nor freed");
        _ = context.Memory;
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(1), "the next use of the context freed it");
        Assert.That(FakeDriver.Misuse, Is.Empty);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(CudaContext context) => _ = new DeviceMemory(context, 64);
    }

    [Test]
    public void A_context_that_only_finalizers_let_go_is_released_with_the_next()
    {
        DriverApi api = FakeDriver.Start();
        Forget(api);
        int calls = FakeDriver.Calls;
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.That(FakeDriver.Calls, Is.EqualTo(calls), "nothing was called");
        Assert.That(FakeDriver.Alive, Has.Count.EqualTo(2));
        new CudaContext(api, CudaDeviceInfo.All(api)[0]).Dispose();
        Assert.That(FakeDriver.Alive, Is.Empty);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(DriverApi api) => _ = new DeviceMemory(new CudaContext(api, CudaDeviceInfo.All(api)[0]), 64);
    }

    [Test]
    public void Any_one_call_that_fails_is_a_typed_error_and_leaks_nothing()
    {
        DriverApi api = FakeDriver.Start();
        int before = FakeDriver.Calls;
        Use(api);
        int calls = FakeDriver.Calls - before;
        Assert.That(calls, Is.GreaterThan(20));
        int errors = 0;
        for (int fail = 1; fail <= calls; fail++)
        {
            api = FakeDriver.Start();
            FakeDriver.FailAt = FakeDriver.Calls + fail;
            try
            {
                Use(api);
            }
            catch (CudaException error)
            {
                errors++;
                Assert.That(error.Message, Does.Contain("CUDA_ERROR_OUT_OF_MEMORY (2)").And.Contain("memory is full"));
                Assert.That(error.Call, Does.StartWith("cu"));
            }

            // What the driver refused to free is freed with the next context at the latest.
            new CudaContext(api, CudaDeviceInfo.All(api)[0]).Dispose();
            Assert.That(FakeDriver.Depth, Is.Zero, $"call {fail}: the current context");
            Assert.That(FakeDriver.Misuse, Is.Empty, $"call {fail}");
            Assert.That(FakeDriver.Alive, Is.Empty, $"call {fail}");
        }

        Assert.That(errors, Is.GreaterThan(calls / 2));
    }

    [Test]
    public void A_launch_hands_over_the_arguments_as_declared()
    {
        DriverApi api = FakeDriver.Start();
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        using var module = new CudaModule(context, s_kernel);
        using var stream = new CudaStream(context);
        CudaKernel kernel = module.GetKernel("scale");
        kernel.Launch(stream, new LaunchShape(1, 1, 1, 32), new ScaleArguments { Data = 0x1122, Factor = 2f, Count = 5 });
        Assert.That(
            FakeDriver.LastParameters,
            Is.EqualTo((byte[])[.. BitConverter.GetBytes(0x1122UL), .. BitConverter.GetBytes(2f), .. BitConverter.GetBytes(5)]));
        Assert.That(() => kernel.Signature.Check<ScaleArguments>("scale"), Throws.Nothing);
        Assert.That(
            () => kernel.Signature.Check<WrongArguments>("scale"),
            Throws.ArgumentException.With.Message.Contain("parameter 1: f32 of 4 bytes at 8 was declared, but WrongArguments.<Factor>k__BackingField is Int32"));
        Assert.That(() => kernel.Signature.Check<float>("scale"), Throws.ArgumentException.With.Message.Contain("takes 3 parameters"));
        long bytes = GC.GetAllocatedBytesForCurrentThread();
        kernel.Launch(stream, new LaunchShape(1, 1, 1, 32), new ScaleArguments());
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - bytes, Is.LessThanOrEqualTo(64), "nothing is boxed; the fake's own copy aside");
    }

    [Test]
    public void A_missing_function_is_named_with_the_version_that_has_it() => Assert.That(
        () => FakeDriver.Start(missing: "cuGraphInstantiateWithFlags"),
        Throws.TypeOf<CudaLibraryException>().With.Message.Contain("has no function 'cuGraphInstantiateWithFlags', which CUDA 11.4 brought").And.Message.Contain("Install it"));

    [Test]
    public void A_missing_library_is_named_with_what_to_install() => Assert.That(
        () => FunctionSource.Load("libnothing", "Install nothing.", "libnothing.so.1", "libnothing.so.0"),
        Throws.TypeOf<CudaLibraryException>().With.Message.EqualTo("libnothing: cannot be loaded (looked for libnothing.so.1, libnothing.so.0). Install nothing."));

    [Test]
    public void A_device_says_what_it_is()
    {
        CudaDeviceInfo device = CudaDeviceInfo.All(FakeDriver.Start())[0];
        Assert.That(device.Name, Is.EqualTo("Fake GPU"));
        Assert.That(device.Architecture, Is.EqualTo(90));
        Assert.That(device.TotalBytes, Is.EqualTo(1L << 30));
    }

    private static void Use(DriverApi api)
    {
        using var context = new CudaContext(api, CudaDeviceInfo.All(api)[0]);
        using var stream = new CudaStream(context);
        using var memory = new DeviceMemory(context, 256);
        using var pinned = new PinnedMemory(context, 64);
        using var mark = new CudaEvent(context);
        using var module = new CudaModule(context, s_kernel);
        using var borrowed = new CudaStream(context, 0x70);
        CudaKernel kernel = module.GetKernel("scale");
        stream.Upload(new byte[4], memory.Address);
        stream.Copy(memory.Address, memory.Address + 128, 64);
        kernel.Launch(stream, new LaunchShape(1, 1, 1, 32, SharedBytes: 100_000), new ScaleArguments());
        mark.Record(stream);
        borrowed.Wait(mark);
        using CudaCapture capture = stream.BeginCapture();
        stream.Fill(memory.Address, 0, 4);
        using CudaGraph graph = capture.End();
        graph.Launch(stream);
        stream.Synchronize();
    }
}

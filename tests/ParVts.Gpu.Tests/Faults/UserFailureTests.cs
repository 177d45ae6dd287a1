using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Native;
using ParVts.Engine;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Formats;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests.Faults;

/// <summary>What a user may run into: something missing, too old, too small. Each is told what, where, and what to do.</summary>
[NonParallelizable]
internal sealed unsafe class UserFailureTests
{
    [Test]
    public void No_driver() => Refused(
        "0", () => new DriverApi(FunctionSource.Load("the CUDA driver", "Install it", "libno-such-driver.so.1")), null,
        "device 'cuda:0' cannot be used: the CUDA driver: cannot be loaded (looked for libno-such-driver.so.1). Install it");

    [Test]
    public void An_old_driver()
    {
        using var sim = new SimDriver();
        nint old = (nint)(delegate* unmanaged<int*, int>)&OldVersion;
        Refused("0", () => new DriverApi(Instead(sim, "cuDriverGetVersion", old)), null, "is too old: it serves CUDA 11.2, and CUDA 11.4 is needed");
    }

    [Test]
    public void No_gpu()
    {
        using var sim = new SimDriver();
        sim.FailCall(1, 100, "cuInit");
        Refused("0", () => new DriverApi(sim.Functions), null, "There is no GPU, or it is hidden from this process (CUDA_VISIBLE_DEVICES)");
    }

    [Test]
    public void A_gpu_that_is_too_old()
    {
        using var sim = new SimDriver();
        nint turing = (nint)(delegate* unmanaged<int*, int, int, int>)&AttributeOfTuring;
        Refused("0", () => new DriverApi(Instead(sim, "cuDeviceGetAttribute", turing)), null, "it is sm_75, and the kernels need sm_80");
        Assert.That(sim.Leaks(), Is.Empty);
    }

    [TestCase("7")]
    [TestCase("GPU-ffffffff")]
    public void A_gpu_that_is_not_there(string name)
    {
        using var sim = new SimDriver();
        Refused(name, () => new DriverApi(sim.Functions), null, "there is no such GPU. Visible to this process: 0: ");
    }

    [Test]
    public void No_compiler()
    {
        using var sim = new SimDriver();
        Refused(
            "0", () => new DriverApi(sim.Functions), () => new NvrtcApi(FunctionSource.Load("NVRTC", "Install it", "libno-such-nvrtc.so")),
            "device 'cuda:0' cannot be used: NVRTC: cannot be loaded (looked for libno-such-nvrtc.so). Install it");
        Assert.That(sim.Leaks(), Is.Empty);
    }

    [TestCase("cuda:", false)]
    [TestCase("", false)]
    [TestCase("", true)]
    public void A_gpu_is_found_by_its_uuid(string before, bool beginning)
    {
        using var machine = new Machine();
        string id = CudaDeviceInfo.Find(machine.Api, "0").Id;
        string name = before + (beginning ? id[..^8].ToLowerInvariant() : id);
        using var device = Devices.OpenGpu(new EngineOptions { Device = name }, () => machine.Api, NvrtcApi.Load);
        Assert.That(device.Name, Is.EqualTo(name));
    }

    [Test]
    public void The_plan_is_held_against_free_memory_before_anything_is_allocated()
    {
        using var machine = new Machine();
        long weights;
        using (VlmEngine measured = machine.Open())
        {
            weights = measured.WeightBytes;
            Assert.That(machine.Sim.Gpu.Memory.InUse, Is.EqualTo(weights), "the plan of the weights is what they take");
        }

        long allocations = machine.Sim.CallsByName["cuMemAlloc_v2"];
        long capacity = machine.Sim.Gpu.Memory.Capacity;
        machine.Sim.Gpu.Memory.Capacity = weights - 1;
        InsufficientMemoryException error = Assert.Throws<InsufficientMemoryException>(() => machine.Open())!;
        Assert.That(error.Message, Does.Match(@"sim: [0-9.]+ MiB of device memory are needed but [0-9.]+ MiB are free \(weights"));
        Assert.That(error.Plan!.Weights, Is.EqualTo(weights));
        Assert.That(machine.Sim.CallsByName["cuMemAlloc_v2"], Is.EqualTo(allocations));
        Assert.That(machine.Sim.Leaks(), Is.Empty);

        machine.Sim.Gpu.Memory.Capacity = capacity;
        using VlmEngine engine = machine.Open();
        using Session session = engine.CreateSession(Machine.Policy);
        Prompt prompt = Machine.Question(engine);
        allocations = machine.Sim.CallsByName["cuMemAlloc_v2"];
        machine.Sim.Gpu.Memory.Capacity = machine.Sim.Gpu.Memory.InUse + 20_000;
        error = Assert.Throws<InsufficientMemoryException>(() => Machine.Answer(session, prompt))!;
        Assert.That(error.Plan!.KeyValues + error.Plan.Workspace, Is.GreaterThan(20_000));
        Assert.That(error.Plan.Process, Is.Zero, "the process is not in device memory");
        Assert.That(error.Cap, Is.EqualTo(20_000));
        Assert.That(machine.Sim.CallsByName["cuMemAlloc_v2"], Is.EqualTo(allocations));
        machine.Sim.Gpu.Memory.Capacity = capacity;
        int[] answer = Machine.Answer(session, prompt);

        // What is allocated already is not counted as missing.
        machine.Sim.Gpu.Memory.Capacity = machine.Sim.Gpu.Memory.InUse;
        Assert.That(Machine.Answer(session, prompt), Is.EqualTo(answer));
    }

    [Test]
    public void The_plan_is_held_against_the_cap()
    {
        using var machine = new Machine();
        long weights;
        using (VlmEngine measured = machine.Open())
            weights = measured.WeightBytes;
        Assert.That(
            () => machine.Open(memoryCap: weights - 1),
            Throws.TypeOf<InsufficientMemoryException>().With.Message.Contain("the memory cap is"));
        using VlmEngine engine = machine.Open(memoryCap: weights + 20_000);
        InsufficientMemoryException error = Assert.Throws<InsufficientMemoryException>(() => Machine.Answer(engine))!;
        Assert.That(error.Message, Does.Contain("the memory cap is").And.Contain("process 0.0 MiB"));
        using VlmEngine enough = machine.Open(memoryCap: error.Plan!.Total);
        Assert.That(Machine.Answer(enough), Has.Length.EqualTo(Machine.Tokens));
    }

    [Test]
    public void A_folder_that_cannot_be_written_costs_only_time_and_is_said_once()
    {
        using var machine = new Machine();
        using var folder = new TempFolder();
        var warnings = new List<string>();
        string none = Path.Combine(folder.Write("file", ""), "kernels");
        using VlmEngine engine = machine.Open(cache: none, warning: warnings.Add);
        using var device = engine.Device.Share();
        using Engine.Compute.DeviceBuffer buffer = device.Allocate(64);
        Engine.Compute.Tensor counts = buffer.View(Engine.Formats.TensorType.I32, 1, 4);
        device.Upload<int>([1, 2, 3, 4], counts);
        device.Increment(counts);
        Engine.Compute.Tensor floats = buffer.View(Engine.Formats.TensorType.F32, 1, 4, 32);
        device.Upload<float>([1, 2, 3, 4], floats);
        device.RmsNorm(floats, floats, 1e-5f, floats);
        int[] read = new int[4];
        device.Download<int>(counts, read);
        Assert.That(read, Is.EqualTo(new[] { 2, 3, 4, 5 }));
        Assert.That(device.KernelUses, Has.Count.EqualTo(2), "two files were compiled");
        Assert.That(warnings, Has.Count.EqualTo(1));
        Assert.That(warnings[0], Does.Contain("compiled kernels cannot be kept in " + none));
    }

    private static void Refused(string name, Func<DriverApi> driver, Func<NvrtcApi>? compiler, string message) => Assert.That(
        () => Devices.OpenGpu(new EngineOptions { Device = "cuda:" + name }, driver, compiler ?? NvrtcApi.Load),
        Throws.TypeOf<DeviceException>().With.Message.Contain(message).And.Message.Contain($"'cuda:{name}'"));

    private static FunctionSource Instead(SimDriver sim, string function, nint address) =>
        new("the CUDA driver", "Install it", name => name == function ? address : sim.Functions.Find(name));

    [UnmanagedCallersOnly]
    private static int OldVersion(int* version)
    {
        *version = 11020;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int AttributeOfTuring(int* value, int attribute, int device)
    {
        *value = attribute switch { 75 => 7, 76 => 5, _ => 1 };
        return 0;
    }
}

using System.Runtime.InteropServices;
using System.Text;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.GpuSim.Driver;

namespace ParVts.GpuSim.Tests.Driver;

/// <summary>A simulated driver for each test, with a context and a stream as the host code makes them.</summary>
internal abstract class DriverTest
{
    protected SimDriver Driver { get; private set; } = null!;

    protected DriverApi Api => Driver.Api;

    protected CudaContext Context { get; private set; } = null!;

    protected CudaStream Stream { get; private set; } = null!;

    [SetUp]
    public void Open()
    {
        Driver = new SimDriver();
        Context = new CudaContext(Api, CudaDeviceInfo.All(Api)[0]);
        Stream = new CudaStream(Context);
    }

    [TearDown]
    public void Close()
    {
        Stream.Dispose();
        Context.Dispose();
        Driver.Dispose();
    }

    protected DeviceMemory Upload<T>(T[] data)
        where T : unmanaged
    {
        var memory = new DeviceMemory(Context, Math.Max(16, Buffer.ByteLength(data)));
        Stream.Upload(MemoryMarshal.AsBytes(data.AsSpan()), memory.Address);
        return memory;
    }

    protected T[] Download<T>(DeviceMemory memory, int count)
        where T : unmanaged
    {
        T[] data = new T[count];
        Stream.Download(memory.Address, MemoryMarshal.AsBytes(data.AsSpan()));
        return data;
    }

    /// <summary>A module of the tests' own kernels.</summary>
    protected CudaModule Load(string file) => new(Context, new CompiledKernel(Nvrtc.Ptx(file), [], ""));

    protected static ReadOnlySpan<byte> Bytes<T>(T[] data)
        where T : unmanaged => MemoryMarshal.AsBytes(data.AsSpan());

    protected static Span<float> Floats(PinnedMemory pinned) => MemoryMarshal.Cast<byte, float>(pinned.Span);

    protected static float[] Random(int count, int seed, float scale = 1)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => scale * ((random.NextSingle() * 2) - 1))];
    }

    /// <summary>Makes a call of the driver itself, with the context current.</summary>
    protected void Raw(Func<int> call)
    {
        using CudaContext.Scope scope = Context.Enter();
        Api.Check(call(), "a call");
    }

    /// <summary>Makes a call of the driver that gives a value at the address that it is handed.</summary>
    protected unsafe nint Made(Func<nint, int> call)
    {
        nint value = 0;
        nint place = (nint)(&value);
        using CudaContext.Scope scope = Context.Enter();
        Api.Check(call(place), "a call");
        return value;
    }

    /// <summary>A kernel's own handle.</summary>
    protected unsafe nint Function(CudaModule module, string kernel)
    {
        nint function;
        using CudaContext.Scope scope = Context.Enter();
        fixed (byte* name = Encoding.UTF8.GetBytes(kernel + '\0'))
            Api.Check(Api.ModuleGetFunction(&function, module.Raw, name), "cuModuleGetFunction");
        return function;
    }

    /// <summary>Expects a call to fail with a code.</summary>
    protected static CudaException Refused(int code, Action call)
    {
        CudaException error = Assert.Throws<CudaException>(() => call())!;
        Assert.That(error.Code, Is.EqualTo(code), error.Message);
        return error;
    }

    /// <summary>The arguments of basic.cu's add.</summary>
    protected readonly record struct AddArguments(ulong A, ulong B, ulong C, int Count);
}

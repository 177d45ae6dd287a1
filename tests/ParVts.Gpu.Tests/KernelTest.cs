using System.Runtime.InteropServices;
using ParVts.Cuda;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Cuda.Tests;
using ParVts.Engine.Compute.Cuda;
using ParVts.GpuSim.Driver;

namespace ParVts.Gpu.Tests;

/// <summary>Kernels launched directly, with their own arguments, on the simulated GPU or the real one (contract G4).</summary>
internal abstract class KernelTest
{
    private readonly List<DeviceMemory> _memory = [];
    private SimDriver? _sim;
    private CudaContext _context = null!;
    private KernelLibrary _kernels = null!;

    protected CudaStream Stream { get; private set; } = null!;

    [SetUp]
    public void Open()
    {
        KernelCompiler compiler = TestCompiler.Require();
        string? name = TestGpu.IsReal ? Environment.GetEnvironmentVariable("PARVTS_TEST_DEVICE") : null;
        _sim = name is null ? new SimDriver(80) : null;
        DriverApi api = _sim?.Api ?? DriverApi.Load();
        _context = new CudaContext(api, name is null ? CudaDeviceInfo.All(api)[0] : CudaDeviceInfo.Find(api, name["cuda:".Length..]));
        var options = new CudaOptions { CacheFolder = Path.Combine(Path.GetTempPath(), "parvts-test-kernels"), LineInfo = true, PtxOnly = _sim is not null };
        _kernels = new KernelLibrary(_context, new KernelCache(compiler, options.CacheFolder), options);
        Stream = new CudaStream(_context);
    }

    [TearDown]
    public void Close()
    {
        foreach (DeviceMemory memory in _memory)
            memory.Dispose();
        _memory.Clear();
        Stream?.Dispose();
        _kernels?.Dispose();
        _context?.Dispose();
        if (_sim is null)
            return;
        Assert.That(_sim.Faults.Select(fault => fault.Message), Is.Empty);
        Assert.That(_sim.Leaks(), Is.Empty);
        _sim.Dispose();
    }

    /// <summary>Device memory that holds the values.</summary>
    protected ulong Upload<T>(params ReadOnlySpan<T> values)
        where T : unmanaged
    {
        ulong place = Empty<T>(values.Length);
        Write(place, values);
        return place;
    }

    /// <summary>Device memory that nobody has written.</summary>
    protected ulong Empty<T>(int count)
        where T : unmanaged
    {
        var memory = new DeviceMemory(_context, Math.Max(1, count) * (long)Marshal.SizeOf<T>());
        _memory.Add(memory);
        return memory.Address;
    }

    /// <summary>Writes over device memory.</summary>
    protected void Write<T>(ulong place, params ReadOnlySpan<T> values)
        where T : unmanaged
    {
        if (values.Length > 0)
            Stream.Upload(MemoryMarshal.AsBytes(values), place);
        Stream.Synchronize();
    }

    /// <summary>What device memory holds.</summary>
    protected T[] Read<T>(ulong place, int count)
        where T : unmanaged
    {
        var values = new T[count];
        if (count > 0)
            Stream.Download(place, MemoryMarshal.AsBytes(values.AsSpan()));
        Stream.Synchronize();
        return values;
    }

    /// <summary>Launches one block and waits.</summary>
    protected void Run<T>(string file, string entry, int threads, T arguments)
        where T : unmanaged
    {
        CudaKernel kernel = _kernels.Get(new KernelId(file, entry)).Kernel;
        kernel.Signature.Check<T>(entry);
        kernel.Launch(Stream, new LaunchShape(1, 1, 1, threads), arguments);
        Stream.Synchronize();
    }
}

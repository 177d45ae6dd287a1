using System.Runtime.InteropServices;

namespace ParVts.GpuSim.Tests;

/// <summary>A simulated GPU for each test, and short ways to launch on it.</summary>
internal abstract class SimTest
{
    protected SimGpu Gpu { get; private set; } = null!;

    [SetUp]
    public void Open() => Gpu = new SimGpu();

    [TearDown]
    public void Close() => Gpu.Dispose();

    protected ulong Upload<T>(T[] data)
        where T : unmanaged
    {
        ulong address = Gpu.Memory.Allocate(Buffer.ByteLength(data));
        Gpu.Memory.Write(address, MemoryMarshal.AsBytes<T>(data));
        return address;
    }

    protected T[] Download<T>(ulong address, int count)
        where T : unmanaged
    {
        T[] data = new T[count];
        Gpu.Memory.Read(address, MemoryMarshal.AsBytes(data.AsSpan()));
        return data;
    }

    protected LaunchCounts Launch(string file, string kernel, Dim3 grid, Dim3 block, int shared, params object[] arguments) =>
        Gpu.Launch(Gpu.LoadModule(Nvrtc.Ptx(file))[kernel], grid, block, shared, Pack(arguments));

    /// <summary>Arguments as a C struct, each aligned to its own size.</summary>
    protected static byte[] Pack(params object[] arguments)
    {
        List<byte> bytes = [];
        foreach (object argument in arguments)
        {
            byte[] value = argument switch
            {
                ulong v => BitConverter.GetBytes(v),
                int v => BitConverter.GetBytes(v),
                float v => BitConverter.GetBytes(v),
                _ => throw new ArgumentException($"an argument of type {argument.GetType()}"),
            };
            while (bytes.Count % value.Length != 0)
                bytes.Add(0);
            bytes.AddRange(value);
        }
        return [.. bytes];
    }

    protected static float[] Random(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 2) - 1)];
    }
}

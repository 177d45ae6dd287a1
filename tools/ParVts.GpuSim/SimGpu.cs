using System.Collections.Concurrent;
using ParVts.GpuSim.Compile;
using ParVts.GpuSim.Ptx;
using ParVts.GpuSim.Run;

namespace ParVts.GpuSim;

/// <summary>A kernel of a loaded module.</summary>
public sealed class SimKernel
{
    internal SimKernel(CompiledKernel compiled) => Compiled = compiled;

    /// <summary>The name in the PTX.</summary>
    public string Name => Compiled.Name;

    /// <summary>Bytes of parameters, with their padding.</summary>
    public int ParameterBytes => Compiled.ParameterBytes;

    /// <summary>Bytes of shared memory that a block takes without the dynamic part.</summary>
    public int SharedBytes => Compiled.SharedEnd - Run.Block.SharedBase;

    /// <summary>Bytes of local memory of a thread.</summary>
    public int LocalBytes => Compiled.LocalBytes;

    /// <summary>The most threads that a block may have.</summary>
    public int MaxThreads => Compiled.MaxThreads;

    internal CompiledKernel Compiled { get; }
}

/// <summary>A loaded module: its kernels, and its variables in device memory.</summary>
public sealed class SimModule
{
    private readonly Dictionary<string, SimKernel> _kernels;
    private readonly Dictionary<string, (ulong Address, long Bytes)> _variables;

    internal SimModule(Dictionary<string, SimKernel> kernels, Dictionary<string, (ulong, long)> variables)
    {
        _kernels = kernels;
        _variables = variables;
    }

    /// <summary>The kernels by name.</summary>
    public IReadOnlyDictionary<string, SimKernel> Kernels => _kernels;

    /// <summary>Variables of the module by name: address and size.</summary>
    public IReadOnlyDictionary<string, (ulong Address, long Bytes)> Variables => _variables;

    /// <summary>A kernel by name.</summary>
    /// <exception cref="KeyNotFoundException">The PTX has none of that name; the message lists those that it has.</exception>
    public SimKernel this[string name] => _kernels.TryGetValue(name, out SimKernel? kernel) ? kernel
        : throw new KeyNotFoundException($"no kernel '{name}'; there are: {string.Join(", ", _kernels.Keys)}");
}

/// <summary>
/// A GPU that executes PTX and checks every access. A launch has ended when <see cref="Launch"/> returns, and uses all cores; launches from
/// several threads take turns, all else is for one caller at a time.
/// </summary>
public sealed class SimGpu : IDisposable
{
    // Memory remembers for each byte which thread of a launch touched it last: launches take turns.
    private readonly Lock _launching = new();

    /// <summary>The shared memory that a block may have, less what the system keeps; as on sm_80 unless it is set.</summary>
    public int MaxSharedBytes { get; init; } = 163 * 1024;

    private readonly Cores _cores = new();

    // Hosts that open a GPU many times bring the same modules: compiled once, a kernel serves them all.
    private static readonly ConcurrentDictionary<string, Dictionary<string, SimKernel>> s_compiled = new();

    // On the pinned heap, since kernels read it by pointer; room for a whole vector behind the last parameter.
    private byte[] _parameters = GC.AllocateArray<byte>(1024, pinned: true);

    /// <summary>Device memory.</summary>
    public SimMemory Memory { get; } = new();

    /// <summary>Whether launches look for races between threads; it takes memory and time.</summary>
    public bool DetectRaces { get; set; } = true;

    /// <summary>Whether kernels may not read what nobody wrote; reads by the host always may not. Bounds are checked in any case.</summary>
    public bool DetectUnwritten { get; set; } = true;

    /// <summary>Whether launches count sectors of global memory and passes through shared memory (see <see cref="LaunchCounts"/>).</summary>
    public bool CountMemory { get; set; } = true;

    /// <summary>Branches, exits and barriers (a warp's counts once) that one block may run before it is taken for hung.</summary>
    public long InstructionLimit { get; set; } = 1L << 32;

    /// <summary>How many blocks run at once.</summary>
    public int Workers { get; set; } = Environment.ProcessorCount;

    /// <summary>Loads PTX: every kernel is compiled, so that what the simulator does not know is found here.</summary>
    /// <exception cref="PtxException">Something in it is not known here; the message names it and its line.</exception>
    public SimModule LoadModule(string ptx)
    {
        if (s_compiled.TryGetValue(ptx, out Dictionary<string, SimKernel>? known))
            return new SimModule(known, []);
        PtxModule module = PtxModule.Parse(ptx);
        Dictionary<string, ulong> addresses = [];
        Dictionary<string, (ulong, long)> variables = [];
        foreach (PtxVariable v in module.Variables.Where(v => v.Space is "global" or "const" && v.Bytes > 0))
        {
            Allocation allocation = Memory.Allocate(v.Bytes, $"module variable {v.Name}", readOnly: v.Space == "const")
                ?? throw new PtxException($"no memory for variable '{v.Name}' of {v.Bytes} bytes", v.Line);
            // Variables without a value begin as zeros.
            Memory.Write(allocation.Address, v.Initial ?? new byte[v.Bytes]);
            addresses[v.Name] = allocation.Address;
            variables[v.Name] = (allocation.Address, v.Bytes);
        }
        var kernels = module.Functions.Values.Where(f => f.IsEntry).ToDictionary(f => f.Name, f => new SimKernel(KernelCompiler.Compile(module, f, addresses)));

        // Variables are each module's own, and kernels hold their addresses.
        if (variables.Count == 0)
            s_compiled[ptx] = kernels;
        return new SimModule(kernels, variables);
    }

    /// <summary>Runs a kernel to its end.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="block">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    /// <param name="parameters">The parameters, laid out as a C struct.</param>
    /// <exception cref="SimFaultException">The launch or the kernel did something wrong.</exception>
    public LaunchCounts Launch(SimKernel kernel, Dim3 grid, Dim3 block, int sharedBytes, ReadOnlySpan<byte> parameters)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        Check(kernel, grid, block, sharedBytes, parameters.Length);
        lock (_launching)
        {
            if (_parameters.Length < parameters.Length + 64)
                _parameters = GC.AllocateArray<byte>(parameters.Length + 64, pinned: true);
            parameters.CopyTo(_parameters);
            LaunchOptions options = new(DetectRaces, DetectUnwritten, CountMemory, InstructionLimit);
            Launch launch = new(_cores, kernel.Compiled, Memory, grid, block, sharedBytes, _parameters, options);
            return new LaunchCounts(kernel.Compiled, launch.Run(Workers));
        }
    }

    /// <summary>Frees all memory.</summary>
    public void Dispose()
    {
        _cores.Dispose();
        Memory.Dispose();
    }

    internal void Check(SimKernel kernel, Dim3 grid, Dim3 block, int sharedBytes, int parameterBytes)
    {
        SimFaultException Wrong(FaultKind kind, string message) => new(kind, message, kernel: kernel.Name);
        if (parameterBytes != kernel.ParameterBytes)
            throw Wrong(FaultKind.ParameterSize, $"{parameterBytes} bytes of parameters, but the kernel has {kernel.ParameterBytes}");
        if (grid.X < 1 || grid.Y < 1 || grid.Z < 1 || grid.Y > 65535 || grid.Z > 65535)
            throw Wrong(FaultKind.LaunchSize, $"a grid of {grid} blocks");
        if (block.X < 1 || block.Y < 1 || block.Z < 1 || block.Z > 64 || block.Count > kernel.MaxThreads)
            throw Wrong(FaultKind.LaunchSize, $"a block of {block} threads, of which the kernel takes {kernel.MaxThreads}");
        if (sharedBytes < 0 || kernel.SharedBytes + sharedBytes > MaxSharedBytes)
            throw Wrong(FaultKind.LaunchSize, $"{kernel.SharedBytes} + {sharedBytes} bytes of shared memory, of which a block has {MaxSharedBytes}");
    }
}

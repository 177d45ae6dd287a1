using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;

namespace ParVts.Cuda;

/// <summary>Compiled kernels on a device. Any thread.</summary>
public sealed unsafe class CudaModule : CudaHandle
{
    // CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_NO_BINARY_FOR_GPU: the machine code is not for this device.
    private const int InvalidImage = 200;
    private const int NoBinaryForGpu = 209;

    private readonly string _ptx;

    /// <summary>Loads machine code where there is some and it fits the device, else PTX, which the driver compiles.</summary>
    /// <exception cref="CudaException">The driver refuses it.</exception>
    public CudaModule(CudaContext context, CompiledKernel kernel)
        : base(context, context)
    {
        _ptx = kernel.Ptx;
        Make(() =>
        {
            nint module = 0;
            int result = kernel.Cubin.Length > 0 ? Load(context.Api, kernel.Cubin, &module) : NoBinaryForGpu;
            if (result is InvalidImage or NoBinaryForGpu)
                result = Load(context.Api, [.. Encoding.UTF8.GetBytes(kernel.Ptx), 0], &module);
            context.Check(result, "cuModuleLoadData");
            return module;
        });
    }

    /// <summary>A kernel of the module.</summary>
    /// <exception cref="CudaException">There is none of that name.</exception>
    public CudaKernel GetKernel(string name)
    {
        using CudaContext.Scope scope = Context.Enter();
        nint function;
        fixed (byte* place = Encoding.UTF8.GetBytes(name + '\0'))
            Context.Check(Context.Api.ModuleGetFunction(&function, Raw, place), $"cuModuleGetFunction of '{name}'");
        return new CudaKernel(Context, this, name, function, KernelSignature.Read(_ptx, name));
    }

    private protected override int Free(nint native) => Context.Api.ModuleUnload(native);

    private static int Load(DriverApi api, byte[] image, nint* module)
    {
        fixed (byte* place = image)
            return api.ModuleLoadData(module, place);
    }
}

/// <summary>How many blocks and threads a kernel runs with.</summary>
/// <param name="GridX">Blocks along x.</param>
/// <param name="GridY">Blocks along y.</param>
/// <param name="GridZ">Blocks along z.</param>
/// <param name="BlockX">Threads of a block along x.</param>
/// <param name="BlockY">Threads of a block along y.</param>
/// <param name="SharedBytes">Dynamic shared memory.</param>
public readonly record struct LaunchShape(int GridX, int GridY, int GridZ, int BlockX, int BlockY = 1, int SharedBytes = 0);

/// <summary>A kernel that can be launched. It lives as long as its module. One caller at a time.</summary>
public sealed unsafe class CudaKernel
{
    // CU_FUNC_ATTRIBUTE_*; the shared memory, static and dynamic, that a block has without asking.
    private const int StaticSharedBytes = 1;
    private const int MaxDynamicSharedBytes = 8;
    private const int SharedWithoutAsking = 48 * 1024;

    // CU_LAUNCH_PARAM_*.
    private const nint ParameterBuffer = 1;
    private const nint ParameterBytes = 2;

    private readonly CudaContext _context;
    private readonly CudaModule _module;
    private readonly nint _function;
    private int _sharedBytes;

    internal CudaKernel(CudaContext context, CudaModule module, string name, nint function, KernelSignature signature)
    {
        _context = context;
        _module = module;
        _function = function;
        Name = name;
        Signature = signature;
        int staticBytes = 0;
        context.Check(context.Api.FuncGetAttribute(&staticBytes, StaticSharedBytes, function), $"cuFuncGetAttribute of '{name}'");
        _sharedBytes = SharedWithoutAsking - staticBytes;
    }

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>Its parameters, as the compiler declared them.</summary>
    public KernelSignature Signature { get; }

    /// <summary>
    /// Queues a launch. The arguments are one struct whose fields are the kernel's parameters in order: nothing is boxed. In debug
    /// builds its fields are compared with the declared parameters.
    /// </summary>
    /// <exception cref="CudaException">The launch is refused.</exception>
    public void Launch<T>(CudaStream stream, in LaunchShape shape, T arguments)
        where T : unmanaged
    {
        CheckArguments<T>();
        using CudaContext.Scope scope = _context.Enter();
        ObjectDisposedException.ThrowIf(_module.IsClosed, _module);
        if (shape.SharedBytes > _sharedBytes)
        {
            Check(_context.Api.FuncSetAttribute(_function, MaxDynamicSharedBytes, shape.SharedBytes), "cuFuncSetAttribute", shape);
            _sharedBytes = shape.SharedBytes;
        }

        // The struct may end in padding that the parameters do not have.
        nuint bytes = (nuint)Signature.Bytes;
        nint* extra = stackalloc nint[] { ParameterBuffer, (nint)(&arguments), ParameterBytes, (nint)(&bytes), 0 };
        int result = _context.Api.LaunchKernel(
            _function, (uint)shape.GridX, (uint)shape.GridY, (uint)shape.GridZ, (uint)shape.BlockX, (uint)shape.BlockY, 1,
            (uint)shape.SharedBytes, stream.Raw, null, (void**)extra);
        Check(result, "cuLaunchKernel", shape);
    }

    // The text is made only where it is needed: a launch allocates nothing.
    private void Check(int result, string call, in LaunchShape shape)
    {
        if (result != 0)
            throw _context.Error(result, $"{call} of '{Name}' ({shape})");
    }

    [Conditional("DEBUG")]
    private void CheckArguments<T>()
        where T : unmanaged => Signature.Check<T>(Name);
}

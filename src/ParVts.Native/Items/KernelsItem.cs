using ParVts.Cuda.Compilation;
using ParVts.Cuda.Native;
using ParVts.Engine.Compute;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Compute.Cuda;

namespace ParVts.Native.Items;

/// <summary>A device whose operations a host calls on its own memory. One call at a time.</summary>
internal sealed class KernelsItem : IHandled
{
    private readonly ComputeDevice _device;
    private int _busy;

    private KernelsItem(ComputeDevice device) => _device = device;

    public static HandleKind Kind => HandleKind.Kernels;

    /// <summary>Makes a device of a host's context and stream; tests put a simulated GPU's driver here.</summary>
    internal static Func<nint, nint, CudaOptions, CudaDevice> Attach { get; set; } = (context, stream, options) =>
        CudaDevice.Attach(DriverApi.Load(), new KernelCompiler(NvrtcApi.Load()), context, stream, options);

    /// <summary>Memory is the host's: it can be looked at.</summary>
    public bool OnHost => _device is CpuDevice;

    /// <summary>Opens a device.</summary>
    /// <param name="device">"cuda" or "cpu".</param>
    /// <param name="context">The CUcontext.</param>
    /// <param name="stream">The CUstream.</param>
    /// <param name="options">How.</param>
    public static KernelsItem Open(string device, nint context, nint stream, KernelOptionSet options)
    {
        if (device == "cpu")
        {
            return context == 0 && stream == 0
                ? new KernelsItem(new CpuDevice(options.Threads))
                : throw new CallException(Status.InvalidArgument, "the CPU has no context and no stream", "pass NULL for both");
        }

        if (device != "cuda")
            throw new CallException(Status.InvalidArgument, $"there is no device '{device}' here", "devices are: cuda, cpu");
        if (context == 0)
            throw new CallException(Status.InvalidArgument, "cu_context is NULL", "pass the CUcontext that the memory belongs to");
        return new KernelsItem(Attach(context, stream, options.Cuda));
    }

    /// <summary>The device, for one call.</summary>
    /// <exception cref="CallException">Another call has it.</exception>
    public ComputeDevice Enter() => Interlocked.Exchange(ref _busy, 1) == 0
        ? _device
        : throw new CallException(Status.Busy, "the kernels are in another call", "wait for it, or open others");

    /// <summary>The call is over.</summary>
    public void Leave() => Volatile.Write(ref _busy, 0);

    // A call that is under way has the device until it ends: whoever closes waits for it.
    public void Dispose()
    {
        var wait = new SpinWait();
        while (Interlocked.Exchange(ref _busy, 1) != 0)
            wait.SpinOnce();
        _device.Dispose();
    }
}

using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using ParVts.Cuda.Compilation;
using ParVts.GpuSim.Ptx;

namespace ParVts.GpuSim.Driver;

// Modules and launches.
public sealed unsafe partial class SimDriver
{
    // CU_LAUNCH_PARAM_*.
    private const nint ParameterBuffer = 1;
    private const nint ParameterBytes = 2;

    private int LoadModule(nint* module, byte* image)
    {
        // Machine code is for real GPUs: the host is told to come with PTX.
        if (new ReadOnlySpan<byte>(image, 1)[0] == 0x7F)
            return DriverCode.NoBinaryForGpu;
        string ptx = Marshal.PtrToStringUTF8((nint)image)!;
        Match target = Target().Match(ptx);
        if (target.Success && int.Parse(target.Groups["number"].ValueSpan, CultureInfo.InvariantCulture) > Architecture)
            throw new DriverRefusal(DriverCode.InvalidPtx, $"PTX for sm_{target.Groups["number"].Value} on a GPU of sm_{Architecture}");
        SimModule loaded;
        try
        {
            loaded = Gpu.LoadModule(ptx);
        }
        catch (PtxException error)
        {
            _faults.Add(error);
            return DriverCode.InvalidPtx;
        }

        *module = Make(new SimLoadedModule(loaded, ptx));
        return DriverCode.Success;
    }

    private int UnloadModule(nint handle)
    {
        SimLoadedModule module = Get<SimLoadedModule>(handle);
        int code = WaitBeforeFree("cuModuleUnload");
        if (code != 0)
            return code;
        _objects.Remove(handle);
        foreach (nint function in module.Functions.Values)
            _objects.Remove(function);
        FreeVariables(module);
        return DriverCode.Success;
    }

    private void FreeVariables(SimLoadedModule module)
    {
        foreach ((ulong address, _) in module.Module.Variables.Values)
            Gpu.Memory.Free(address);
    }

    private int GetFunction(nint* function, nint handle, byte* name)
    {
        SimLoadedModule module = Get<SimLoadedModule>(handle);
        string wanted = Marshal.PtrToStringUTF8((nint)name)!;
        if (!module.Module.Kernels.TryGetValue(wanted, out SimKernel? kernel))
            return DriverCode.NotFound;
        if (!module.Functions.TryGetValue(wanted, out nint known))
            module.Functions[wanted] = known = Make(new SimFunction(kernel, KernelSignature.Read(module.Ptx, wanted).Parameters));
        *function = known;
        return DriverCode.Success;
    }

    // CUfunction_attribute. Registers are not known here.
    private int GetFunctionAttribute(int* value, int attribute, nint handle)
    {
        SimFunction function = Get<SimFunction>(handle);
        return Give(value, attribute switch
        {
            0 => function.Kernel.MaxThreads,
            1 => function.Kernel.SharedBytes,
            2 or 4 => 0,
            3 => function.Kernel.LocalBytes,
            5 or 6 => Architecture,
            8 => function.MaxDynamicSharedBytes,
            _ => throw new DriverRefusal(DriverCode.InvalidValue, $"function attribute {attribute} is not known to the simulated driver"),
        });
    }

    private int SetFunctionAttribute(nint handle, int attribute, int value)
    {
        SimFunction function = Get<SimFunction>(handle);
        switch (attribute)
        {
            case 8 when value >= 0 && value + function.Kernel.SharedBytes <= Gpu.MaxSharedBytes:
                function.MaxDynamicSharedBytes = value;
                return DriverCode.Success;
            case 9:
                // How cache and shared memory share: a hint.
                return DriverCode.Success;
            default:
                throw new DriverRefusal(
                    DriverCode.InvalidValue,
                    $"function attribute {attribute} = {value} for {function.Kernel.Name}, which has {function.Kernel.SharedBytes} bytes of static shared memory of {Gpu.MaxSharedBytes}");
        }
    }

    private readonly record struct LaunchArguments(
        nint Function, (uint X, uint Y, uint Z) Grid, (uint X, uint Y, uint Z) Block, uint SharedBytes, nint Stream, nint Parameters, nint Extra);

    private int Launch(LaunchArguments launch)
    {
        SimFunction function = Get<SimFunction>(launch.Function);
        SimKernel kernel = function.Kernel;
        (uint x, uint y, uint z) = launch.Block;
        if (Math.Max(Math.Max(launch.Grid.X, launch.Grid.Y), launch.Grid.Z) > int.MaxValue || Math.Max(Math.Max(x, y), z) > int.MaxValue)
            throw new DriverRefusal(DriverCode.InvalidValue, $"{kernel.Name}: a grid of {launch.Grid} blocks of {launch.Block} threads", FaultKind.LaunchSize);
        if (launch.SharedBytes > Math.Max(0, function.MaxDynamicSharedBytes))
        {
            throw new DriverRefusal(
                DriverCode.InvalidValue,
                $"{kernel.Name}: {launch.SharedBytes} bytes of dynamic shared memory; by default, or as cuFuncSetAttribute said, there are {function.MaxDynamicSharedBytes}",
                FaultKind.LaunchSize);
        }

        byte[] arguments = ReadArguments(function, (void**)launch.Parameters, (void**)launch.Extra);
        var blocks = new Dim3((int)launch.Grid.X, (int)launch.Grid.Y, (int)launch.Grid.Z);
        var threads = new Dim3((int)x, (int)y, (int)z);
        int sharedBytes = (int)launch.SharedBytes;
        Gpu.Check(kernel, blocks, threads, sharedBytes, arguments.Length);
        Submit(launch.Stream, () => _counters.Launched(kernel.Name, Gpu.Launch(kernel, blocks, threads, sharedBytes, arguments)));
        return DriverCode.Success;
    }

    // Arguments are taken when the launch is called: the host may reuse their memory.
    private static byte[] ReadArguments(SimFunction function, void** parameters, void** extra)
    {
        byte[] arguments = new byte[function.Kernel.ParameterBytes];
        if (parameters != null)
        {
            for (int i = 0; i < function.Parameters.Count; i++)
            {
                KernelParameter parameter = function.Parameters[i];
                new ReadOnlySpan<byte>(parameters[i], parameter.Bytes).CopyTo(arguments.AsSpan(parameter.Offset));
            }

            return arguments;
        }

        void* buffer = null;
        nuint bytes = 0;
        for (void** pair = extra; pair != null && *pair != null; pair += 2)
        {
            switch ((nint)pair[0])
            {
                case ParameterBuffer:
                    buffer = pair[1];
                    break;
                case ParameterBytes:
                    bytes = *(nuint*)pair[1];
                    break;
                default:
                    throw new DriverRefusal(DriverCode.InvalidValue, $"launch parameter {(nint)pair[0]} is not known");
            }
        }

        if (bytes != (nuint)arguments.Length || (buffer == null && bytes > 0))
            throw new DriverRefusal(DriverCode.InvalidValue, $"{bytes} bytes of parameters for {function.Kernel.Name}, which has {arguments.Length}", FaultKind.ParameterSize);
        new ReadOnlySpan<byte>(buffer, (int)bytes).CopyTo(arguments);
        return arguments;
    }

    [GeneratedRegex(@"^\s*\.target\s+sm_(?<number>\d+)", RegexOptions.CultureInvariant | RegexOptions.Multiline, matchTimeoutMilliseconds: 5000)]
    private static partial Regex Target();
}

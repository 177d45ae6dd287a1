namespace ParVts.Cuda;

/// <summary>The base of every error that this library raises on purpose. The message says what is wrong, where, and what to do.</summary>
public abstract class CudaErrorException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A call of the driver, NVRTC or cuBLAS failed.</summary>
public sealed class CudaException : CudaErrorException
{
    /// <summary>Names the call, its error and what to do about it.</summary>
    public CudaException(string call, int code, string name, string? hint = null)
        : base($"{call}: {name} ({code})" + (hint is null ? "" : $". {hint}"))
    {
        Call = call;
        Code = code;
        Name = name;
        Hint = hint;
    }

    /// <summary>The device's memory (NVRTC's: the host's) is full. Each library has its own number for that.</summary>
    public bool IsOutOfMemory => Code == (Call.StartsWith("nvrtc", StringComparison.Ordinal) ? 1 : Call.StartsWith("cublas", StringComparison.Ordinal) ? 3 : 2);

    /// <summary>The function that failed.</summary>
    public string Call { get; }

    /// <summary>The error's number.</summary>
    public int Code { get; }

    /// <summary>The error's name, as the library spells it.</summary>
    public string Name { get; }

    /// <summary>What to do, where there is something to be said.</summary>
    public string? Hint { get; }
}

/// <summary>A GPU that was asked for is not there, or the kernels do not run on it.</summary>
public sealed class CudaDeviceException : CudaErrorException
{
    /// <summary>Names the GPU and what is wrong with it.</summary>
    public CudaDeviceException(string device, string message)
        : base($"GPU {device}: {message}") => Device = device;

    /// <summary>The GPU, as it was asked for.</summary>
    public string Device { get; }
}

/// <summary>A context that an earlier error has destroyed was used. Dispose what was made in it, and make a new one.</summary>
public sealed class CudaContextLostException : CudaErrorException
{
    /// <summary>Names the GPU and the error that lost the context.</summary>
    public CudaContextLostException(CudaDeviceInfo device, CudaException? cause)
        : base(
            $"GPU {device.Ordinal} ({device.Name}): the context is lost" + (cause is null ? "" : $" since {cause.Call}: {cause.Name} ({cause.Code})")
            + ". Dispose the engine and open it again",
            cause)
    {
    }
}

/// <summary>A library, or a function of it, is not there.</summary>
public sealed class CudaLibraryException : CudaErrorException
{
    /// <summary>Names the library, what is missing and what to install.</summary>
    public CudaLibraryException(string library, string message, string hint)
        : base($"{library}: {message}. {hint}")
    {
        Library = library;
        Hint = hint;
    }

    /// <summary>The library, in words.</summary>
    public string Library { get; }

    /// <summary>What to install.</summary>
    public string Hint { get; }
}

/// <summary>A kernel does not compile.</summary>
public sealed class KernelCompileException : CudaErrorException
{
    /// <summary>The kernel's file, and what the compiler said about it with the lines that it speaks of.</summary>
    public KernelCompileException(string kernel, string log)
        : base($"{kernel} does not compile:{Environment.NewLine}{log}")
    {
        Kernel = kernel;
        Log = log;
    }

    /// <summary>The kernel's file.</summary>
    public string Kernel { get; }

    /// <summary>The compiler's log.</summary>
    public string Log { get; }
}

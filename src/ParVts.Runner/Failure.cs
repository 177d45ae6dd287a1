using ParVts.Cuda;
using ParVts.Engine;
using InsufficientMemoryException = ParVts.Engine.Compute.InsufficientMemoryException;

namespace ParVts.Runner;

/// <summary>What a process ends with.</summary>
internal enum ExitCode
{
    /// <summary>The work is done.</summary>
    Done = 0,

    /// <summary>The work failed.</summary>
    Failed = 1,

    /// <summary>An unknown option, a value that is not allowed, a request that cannot be served as asked.</summary>
    WrongUsage = 2,

    /// <summary>A file is missing or malformed.</summary>
    BadFile = 3,

    /// <summary>A device or a library is missing.</summary>
    MissingDevice = 4,

    /// <summary>It does not fit in memory.</summary>
    OutOfMemory = 5,
}

/// <summary>The command line asks for something that makes no sense.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A file that the runner itself reads (questions, JSON lines) is malformed; the message says where.</summary>
internal sealed class InputFileException : Exception
{
    /// <summary>A line is at fault.</summary>
    public InputFileException(string file, int line, string message)
        : this(file, $"line {line}", message)
    {
    }

    /// <summary>An entry is at fault.</summary>
    public InputFileException(string file, string place, string message)
        : base($"{file}, {place}: {message}")
    {
    }

    /// <summary>The file as a whole is.</summary>
    public InputFileException(string file, string message)
        : base($"{file}: {message}")
    {
    }
}

/// <summary>Turns an error into a message on standard error and an exit code.</summary>
internal static class Failure
{
    /// <summary>Says what went wrong; the whole trace only where <paramref name="verbose"/> asks for it.</summary>
    public static int Report(Exception error, bool verbose)
    {
        Console.Error.WriteLine(verbose ? $"error: {error}" : $"error: {Describe(error)}");
        foreach (string fault in SimulatedGpu.Faults)
            Console.Error.WriteLine($"simulated GPU: {fault}");
        return (int)CodeOf(error);
    }

    /// <summary>The message, with a word on what kind of trouble it is where the message alone would not say it.</summary>
    public static string Describe(Exception error) => error switch
    {
        ParVtsException or CudaErrorException or UsageException or InputFileException => error.Message,
        OperationCanceledException => "cancelled",
        OutOfMemoryException => "out of memory: use fewer or smaller inputs, or --memory-cap to be told beforehand",
        IOException or UnauthorizedAccessException => error.Message,
        _ => $"{error.GetType().Name}: {error.Message} (--verbose shows where)",
    };

    /// <summary>The exit code of an error.</summary>
    public static ExitCode CodeOf(Exception error) => error switch
    {
        UsageException or RequestException or PolicyException => ExitCode.WrongUsage,
        ModelFormatException or ImageFormatException or InputFileException => ExitCode.BadFile,
        FileNotFoundException or DirectoryNotFoundException or UnauthorizedAccessException => ExitCode.BadFile,
        DeviceException or MissingLibraryException or CudaLibraryException or CudaDeviceException => ExitCode.MissingDevice,
        InsufficientMemoryException or OutOfMemoryException or CudaException { IsOutOfMemory: true } => ExitCode.OutOfMemory,
        _ => ExitCode.Failed,
    };
}

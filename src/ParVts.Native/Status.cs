using ParVts.Cuda;
using ParVts.Engine;
using InsufficientMemoryException = ParVts.Engine.Compute.InsufficientMemoryException;

namespace ParVts.Native;

/// <summary>What a call returns; the numbers of include/parvts.h.</summary>
internal enum Status
{
    Ok = 0,
    InvalidArgument = 1,
    BadHandle = 2,
    TooSmall = 3,
    BadFile = 4,
    BadRequest = 5,
    NoMemory = 6,
    NoDevice = 7,
    DeviceFailed = 8,
    Busy = 9,
    Cancelled = 10,
    Forked = 11,
    Unsupported = 12,
    Internal = 13,
}

/// <summary>What a caller did wrong, found before the engine was asked.</summary>
internal sealed class CallException(Status status, string message, string hint = "") : Exception(message)
{
    /// <summary>What the call returns.</summary>
    public Status Status => status;

    /// <summary>What to do.</summary>
    public string Hint => hint;
}

/// <summary>Errors of the engine in the words of the C ABI. Pure functions; any thread.</summary>
internal static class Failures
{
    // ENOMEM, which is an exception's number where the system's own call failed.
    private const int NoMemoryCode = 12;

    /// <summary>What a call returns.</summary>
    public static Status StatusOf(Exception failure) => failure switch
    {
        CallException call => call.Status,
        ModelFormatException or ImageFormatException or SavedSessionException or IOException when LackedMemory(failure) => Status.NoMemory,
        ModelFormatException or ImageFormatException or SavedSessionException or IOException or UnauthorizedAccessException => Status.BadFile,
        RequestException or PolicyException => Status.BadRequest,
        InsufficientMemoryException or OutOfMemoryException or CudaException { IsOutOfMemory: true } => Status.NoMemory,
        ThreadStartException => Status.NoMemory, // the system had none for the thread
        DeviceException or MissingLibraryException or CudaLibraryException or CudaDeviceException => Status.NoDevice,
        CudaErrorException => Status.DeviceFailed,
        ObjectDisposedException => Status.BadHandle,
        OperationCanceledException => Status.Cancelled,
        _ => Status.Internal,
    };

    /// <summary>What was wrong.</summary>
    public static string MessageOf(Exception failure) => StatusOf(failure) switch
    {
        Status.Internal => $"{failure.GetType().Name}: {failure.Message}",
        Status.BadHandle when failure is ObjectDisposedException => "what the handle stands for was closed while the call began",
        _ => failure.Message,
    };

    /// <summary>What to do about it.</summary>
    public static string HintOf(Exception failure) => failure switch
    {
        CallException call => call.Hint,
        MissingLibraryException missing => missing.Hint,
        _ when failure is OutOfMemoryException || LackedMemory(failure) => "use fewer or smaller inputs, or set memory_cap to be told beforehand",
        CudaContextLostException => "close the engine and its sessions, and open it anew",
        _ when StatusOf(failure) == Status.Internal => "this is a defect of the library: please report it with this message",
        _ => "",
    };

    // A file that could not be read for want of memory is not a bad file.
    private static bool LackedMemory(Exception failure)
    {
        for (Exception? cause = failure; cause is not null; cause = cause.InnerException)
        {
            if (cause is OutOfMemoryException || cause is IOException { HResult: NoMemoryCode })
                return true;
        }

        return false;
    }
}

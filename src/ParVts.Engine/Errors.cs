namespace ParVts.Engine;

/// <summary>
/// The base of every error that the engine raises on purpose (contract M3). The message says what is wrong, where,
/// and what to do; it is meant to be shown to a user as it stands.
/// </summary>
public class ParVtsException : Exception
{
    /// <summary>Makes an error with a message for the user and, where there is one, the cause.</summary>
    public ParVtsException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>A model file, a tokenizer or a config is missing, malformed or not supported.</summary>
public sealed class ModelFormatException : ParVtsException
{
    /// <summary>Names the file and, where one is at fault, the tensor (or the JSON property).</summary>
    public ModelFormatException(string file, string? tensor, string message, Exception? inner = null)
        : base(tensor is null ? $"{file}: {message}" : $"{file}: '{tensor}': {message}", inner)
    {
        File = file;
        Tensor = tensor;
    }

    /// <summary>The file at fault.</summary>
    public string File { get; }

    /// <summary>The tensor or property at fault, or null where it is the file as a whole.</summary>
    public string? Tensor { get; }
}

/// <summary>A picture cannot be decoded, or is beyond the stated limits.</summary>
public sealed class ImageFormatException : ParVtsException
{
    /// <summary>Names the format ("PNG", "JPEG", …) and what is wrong with the data.</summary>
    public ImageFormatException(string format, string message, Exception? inner = null)
        : base($"{format}: {message}", inner) => Format = format;

    /// <summary>The image format that was being read, or "image" where it was not recognised.</summary>
    public string Format { get; }
}

/// <summary>A native library is missing or too old.</summary>
public sealed class MissingLibraryException : ParVtsException
{
    /// <summary>Names the library, what needs it and what to install.</summary>
    public MissingLibraryException(string library, string message, string hint, Exception? inner = null)
        : base($"{library}: {message} {hint}", inner)
    {
        Library = library;
        Hint = hint;
    }

    /// <summary>The library's name, as the system's loader is asked for it.</summary>
    public string Library { get; }

    /// <summary>What to install, as a line that can be typed.</summary>
    public string Hint { get; }
}

/// <summary>A request that cannot be served as asked: an empty prompt, one beyond the context, images that do not match placeholders.</summary>
public sealed class RequestException : ParVtsException
{
    /// <summary>Says what is wrong with the request and what to change.</summary>
    public RequestException(string message)
        : base(message)
    {
    }
}

/// <summary>A policy string is wrong: an unknown name or parameter, or a value out of range (contract P5).</summary>
public sealed class PolicyException : ParVtsException
{
    /// <summary>Says what is wrong and lists what is allowed.</summary>
    public PolicyException(string message)
        : base(message)
    {
    }
}

/// <summary>A device that was asked for by name is not there, or cannot be used.</summary>
public sealed class DeviceException : ParVtsException
{
    /// <summary>Names the device and why it cannot be used.</summary>
    public DeviceException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>Why a saved session cannot be restored.</summary>
public enum SavedSessionProblem
{
    /// <summary>It is cut short, damaged, or no saved session.</summary>
    Damaged,

    /// <summary>A version of the format that this engine does not read.</summary>
    Version,

    /// <summary>It was saved with another model.</summary>
    Model,

    /// <summary>It was saved under another policy.</summary>
    Policy,

    /// <summary>Its keys and values are of another type than this device's.</summary>
    KeyValueType,
}

/// <summary>A saved session cannot be restored; the session that was to take it up is empty, and can be used.</summary>
public sealed class SavedSessionException : ParVtsException
{
    /// <summary>Says what does not fit.</summary>
    public SavedSessionException(SavedSessionProblem problem, string message, Exception? inner = null)
        : base($"the saved session {message}", inner) => Problem = problem;

    /// <summary>What kind of thing is wrong.</summary>
    public SavedSessionProblem Problem { get; }
}

using System.Runtime.InteropServices;

namespace ParVts.Cuda.Native;

/// <summary>
/// Where the functions of a library come from: a shared library that is looked for under all its names, or anything else
/// that gives addresses for names (contract G1). Nothing links at build time. Immutable; any thread.
/// </summary>
public sealed class FunctionSource
{
    private readonly Func<string, nint> _resolve;

    /// <summary>A source of the caller's own.</summary>
    /// <param name="library">The library, in words, for messages.</param>
    /// <param name="hint">What to install where something is missing.</param>
    /// <param name="resolve">The address of a function, or 0.</param>
    public FunctionSource(string library, string hint, Func<string, nint> resolve)
    {
        Library = library;
        Hint = hint;
        _resolve = resolve;
    }

    /// <summary>The library, in words.</summary>
    public string Library { get; }

    /// <summary>What to install where something is missing.</summary>
    public string Hint { get; }

    /// <summary>The first library of these names that can be loaded; it stays loaded as long as the process.</summary>
    /// <param name="library">The library, in words.</param>
    /// <param name="hint">What to install.</param>
    /// <param name="names">File names, the best first.</param>
    /// <exception cref="CudaLibraryException">There is none.</exception>
    public static FunctionSource Load(string library, string hint, params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (NativeLibrary.TryLoad(name, out nint handle))
                return new FunctionSource(library, hint, function => NativeLibrary.TryGetExport(handle, function, out nint address) ? address : 0);
        }

        throw new CudaLibraryException(library, $"cannot be loaded (looked for {string.Join(", ", names.ToArray())})", hint);
    }

    /// <summary>A function that must be there.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="since">The first version of CUDA that has it.</param>
    /// <exception cref="CudaLibraryException">It is not there.</exception>
    public nint Require(string name, string since)
    {
        nint address = _resolve(name);
        return address != 0
            ? address
            : throw new CudaLibraryException(Library, $"has no function '{name}', which CUDA {since} brought: the version that is installed is older", Hint);
    }

    /// <summary>A function that may be missing: 0 then.</summary>
    public nint Find(string name) => _resolve(name);
}

namespace ParVts.Cuda.Compilation;

/// <summary>A kernel's source, and the headers that it may include by name. Immutable; any thread.</summary>
/// <param name="Name">The file's name, for messages: <c>norm.cu</c>.</param>
/// <param name="Text">Its text.</param>
/// <param name="Headers">Headers by the name that <c>#include</c> gives; nothing is read from disk.</param>
public sealed record KernelSource(string Name, string Text, IReadOnlyDictionary<string, string> Headers)
{
    /// <summary>Writes the file and its headers into a folder, for profilers; files that are there and the same stay as they are.</summary>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder cannot be written.</exception>
    public void WriteTo(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach ((string name, string text) in Headers.Append(new KeyValuePair<string, string>(Name, Text)))
        {
            string path = Path.Combine(folder, name);
            if (File.Exists(path) && File.ReadAllText(path) == text)
                continue;

            // Somebody may be compiling the file that is there: it is replaced as a whole.
            string partial = $"{path}.{Guid.NewGuid():N}.partial";
            File.WriteAllText(partial, text);
            File.Move(partial, path, overwrite: true);
        }
    }
}

/// <summary>What a kernel is compiled for.</summary>
/// <param name="Architecture">Compute capability: 80, 86, 89, 90 …</param>
/// <param name="Definitions">Macros: a specialisation.</param>
/// <param name="LineInfo">Keep source lines for profilers.</param>
/// <param name="PtxOnly">No machine code is wanted.</param>
/// <param name="SourceFolder">
/// Where the sources are written to and compiled from, so that a profiler finds the lines (<c>--profile-kernels</c>); null compiles from memory.
/// </param>
public sealed record KernelTarget(
    int Architecture, IReadOnlyDictionary<string, string> Definitions, bool LineInfo = false, bool PtxOnly = false, string? SourceFolder = null)
{
    /// <summary>NVRTC's options, in a fixed order.</summary>
    /// <param name="virtualOnly">PTX for the architecture, not machine code.</param>
    internal List<string> Options(bool virtualOnly)
    {
        var options = new List<string>
        {
            $"--gpu-architecture={(virtualOnly ? "compute" : "sm")}_{Architecture}",
            "--std=c++17",
            "--device-as-default-execution-space",
        };
        if (LineInfo || SourceFolder is not null)
            options.Add("--generate-line-info");
        if (SourceFolder is not null)
            options.Add($"--include-path={Path.GetFullPath(SourceFolder)}");
        foreach ((string name, string value) in Definitions.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            options.Add($"--define-macro={name}={value}");
        return options;
    }
}

/// <summary>A compiled kernel file.</summary>
/// <param name="Ptx">PTX, as text.</param>
/// <param name="Cubin">Machine code; empty where only PTX was asked for, or the compiler does not know the architecture.</param>
/// <param name="Log">What the compiler said: warnings, registers and spills.</param>
public sealed record CompiledKernel(string Ptx, byte[] Cubin, string Log);

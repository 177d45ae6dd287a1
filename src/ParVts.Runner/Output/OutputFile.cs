namespace ParVts.Runner.Output;

/// <summary>Files that a command will write, looked at before its work begins.</summary>
internal static class OutputFile
{
    /// <summary>Refuses a path that cannot become a file; null is no path.</summary>
    /// <param name="option">The option that named it.</param>
    /// <param name="path">The path.</param>
    /// <exception cref="UsageException">Its folder is not there, or it is a folder itself.</exception>
    public static void Require(string option, string? path)
    {
        if (path is null)
            return;
        if (Directory.Exists(path))
            throw new UsageException($"{option} {path}: is a folder; name a file in it");
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "";
        if (!Directory.Exists(folder))
            throw new UsageException($"{option} {path}: there is no folder {folder}");
    }
}

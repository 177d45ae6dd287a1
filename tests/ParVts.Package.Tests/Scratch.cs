namespace ParVts.Package.Tests;

/// <summary>A folder that goes with the test.</summary>
internal sealed class Scratch : IDisposable
{
    /// <summary>Its path: outside the checkout, so that nothing of that is found by chance.</summary>
    public string Path { get; } = Directory.CreateTempSubdirectory("parvts-package-").FullName;

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(Path, recursive: true);
}

using System.Formats.Tar;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Xml.Linq;

namespace ParVts.Package.Tests;

/// <summary>
/// What <c>./build.sh pack</c> makes, made once for all tests: with the C library for this machine alone, and in <c>test --full</c> as it is
/// published. PARVTS_PACKAGES names a folder of packages that are to be tested instead.
/// </summary>
internal static class Packages
{
    private static readonly Lazy<(string Folder, string? Failure)> s_made = new(Make);

    /// <summary>Where they lie. The calling test is skipped, by name, where they cannot be made on this machine.</summary>
    public static string Folder
    {
        get
        {
            if (!OperatingSystem.IsLinux() || RuntimeInformation.OSArchitecture != Architecture.X64)
                Assert.Ignore("packages are made on Linux, for x64");
            Tool.Need("bash", "cc", "dpkg-deb", "python3");
            Assert.That(s_made.Value.Failure, Is.Null);
            return s_made.Value.Folder;
        }
    }

    /// <summary>The version that this checkout has.</summary>
    public static string Version { get; } =
        XDocument.Load(Path.Combine(TestData.Root, "Directory.Build.props")).Descendants("Version").Single().Value;

    /// <summary>The folder that the tarball unpacks to, and its name.</summary>
    public static string TarballName { get; } = $"parvts-{Version}-linux-x64";

    /// <summary>The tarball.</summary>
    public static string Tarball => Path.Combine(Folder, $"{TarballName}.tar.gz");

    /// <summary>The Debian package.</summary>
    public static string Debian => Path.Combine(Folder, $"parvts_{Version}_amd64.deb");

    /// <summary>A NuGet package, or its symbols.</summary>
    public static string NuGet(string id, string extension = "nupkg") => Path.Combine(Folder, $"{id}.{Version}.{extension}");

    /// <summary>The regular files of the tarball, by their path below its folder.</summary>
    public static Dictionary<string, byte[]> TarballFiles()
    {
        var files = new Dictionary<string, byte[]>();
        using var reader = new TarReader(new GZipStream(File.OpenRead(Tarball), CompressionMode.Decompress));
        while (reader.GetNextEntry() is TarEntry entry)
        {
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                continue;
            using var content = new MemoryStream();
            entry.DataStream?.CopyTo(content);
            files.Add(entry.Name[(TarballName.Length + 1)..], content.ToArray());
        }

        return files;
    }

    private static (string Folder, string? Failure) Make()
    {
        if (Environment.GetEnvironmentVariable("PARVTS_PACKAGES") is { Length: > 0 } named)
            return (Path.GetFullPath(named), null);
        string folder = Path.Combine(TestData.Root, "artifacts", "packages-tested");
        string[] how = TestData.Full ? [] : ["--quick"];
        Finished made = Tool.Run(Path.Combine(TestData.Root, "build.sh"), ["pack", .. how, "--out", folder]);
        return (folder, made.Code == 0 ? null : made.Errors);
    }
}

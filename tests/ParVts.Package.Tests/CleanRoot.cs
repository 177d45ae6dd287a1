using System.Text;

namespace ParVts.Package.Tests;

/// <summary>
/// A system that holds nothing but the libraries of the packages that the Debian package depends on: what is not declared there is not
/// found. Programs run in it as its own (chroot).
/// </summary>
internal sealed class CleanRoot : IDisposable
{
    private readonly Scratch _folder = new();

    private CleanRoot()
    {
        foreach (string folder in new[] { "usr/lib", "usr/lib64", "usr/bin", "tmp", "proc", "etc", "var/lib/dpkg/info", "var/lib/dpkg/updates" })
            Directory.CreateDirectory(At(folder));
        foreach (string name in new[] { "lib", "lib64", "bin" })
            File.CreateSymbolicLink(At(name), $"usr/{name}");
        File.WriteAllText(At("var/lib/dpkg/available"), "");
    }

    /// <summary>The folder that is the root.</summary>
    public string Folder => _folder.Path;

    /// <summary>Makes one. The calling test is skipped, by name, where this machine cannot.</summary>
    public static CleanRoot Create()
    {
        Tool.Need("unshare", "chroot", "dpkg", "dpkg-query");
        var root = new CleanRoot();
        try
        {
            string[] wanted = [.. Dependencies()];
            if (wanted.FirstOrDefault(name => Tool.Run("dpkg-query", "-W", name).Code != 0) is string missing)
                Assert.Ignore($"the package {missing} is not installed here");
            foreach (string package in Closure(wanted))
                root.Take(package);
            CopyFolder(Asked.Demo, root.At("demo"));
            Finished probe = root.Isolated("mount --rbind /proc \"$1/proc\"", root.Folder);
            if (probe.Code != 0)
                Assert.Ignore($"a process here may not have a root of its own: {probe.Errors.Trim()}");
            return root;
        }
        catch
        {
            root.Dispose();
            throw;
        }
    }

    /// <summary>A path inside, seen from outside.</summary>
    public string At(string path) => Path.Combine(_folder.Path, path.TrimStart('/'));

    /// <summary>Runs a program of this root.</summary>
    public Finished Run(params string[] command) => RunWith("", command);

    /// <summary>The same, where the loader looks into a folder first.</summary>
    public Finished RunWith(string libraries, params string[] command) => Isolated(
        "mount --rbind /proc \"$1/proc\" && root=$1 && libraries=$2 && shift 2 && LD_LIBRARY_PATH=$libraries exec chroot \"$root\" \"$@\"",
        [_folder.Path, libraries, .. command]);

    /// <summary>dpkg, with this root's own list of what is installed.</summary>
    public Finished Dpkg(params string[] arguments) =>
        Tool.Run("dpkg", [$"--root={_folder.Path}", "--force-unsafe-io", "--force-not-root", .. arguments]);

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    // Mounts are gone when the process is.
    private Finished Isolated(string script, params string[] arguments)
    {
        string[] user = Tool.Run("id", "-u").Output.Trim() == "0" ? [] : ["--map-root-user"];
        return Tool.Run(
            "unshare",
            ["--mount", .. user, "sh", "-c", script, "sh", .. arguments],
            null,
            new Dictionary<string, string> { ["HOME"] = "/tmp", ["XDG_CACHE_HOME"] = "/tmp" });
    }

    /// <summary>What the Debian package depends on; of alternatives, the first that is installed here.</summary>
    private static IEnumerable<string> Dependencies()
    {
        string line = Tool.Run("dpkg-deb", "-f", Packages.Debian, "Depends").Succeeded();
        foreach (string dependency in line.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] names = [.. dependency.Split('|', StringSplitOptions.TrimEntries).Select(name => name.Split(' ')[0])];
            yield return names.FirstOrDefault(name => Tool.Run("dpkg-query", "-W", name).Code == 0) ?? names[^1];
        }
    }

    // And what these depend on in turn.
    private static List<string> Closure(IEnumerable<string> packages)
    {
        List<string> all = [.. packages];
        for (int i = 0; i < all.Count; i++)
        {
            string depends = Tool.Run("dpkg-query", "-W", "-f", "${Depends},${Pre-Depends}", all[i]).Output;
            foreach (string name in depends.Split([',', '|'], StringSplitOptions.TrimEntries).Select(entry => entry.Split(' ')[0].Split(':')[0]))
            {
                // debconf and the like serve installation alone.
                if (name.StartsWith("lib", StringComparison.Ordinal) && !all.Contains(name) && Tool.Run("dpkg-query", "-W", name).Code == 0)
                    all.Add(name);
            }
        }

        return all;
    }

    private void Take(string package)
    {
        string[] files = [.. Tool.Run("dpkg-query", "-L", package).Succeeded().Split('\n')
            .Where(file => file.Contains("lib") && file.Contains(".so") && !file.Contains("/gconv/") && File.Exists(file))];
        foreach (string file in files)
            Directory.CreateDirectory(Path.GetDirectoryName(At(file))!);
        if (files.Length > 0)
            Tool.Run("cp", ["-a", "--parents", .. files, _folder.Path]).Succeeded();

        // dpkg is to find it installed, with its version; without scripts, which need a shell.
        string[] told = Tool.Run("dpkg-query", "-s", package).Succeeded().TrimEnd().Split('\n');
        var entry = new StringBuilder();
        foreach (string line in told.Where(line => line.Split(':')[0] is "Package" or "Status" or "Architecture" or "Multi-Arch" or "Version" or "Maintainer" or "Provides"))
            entry.Append(line).Append('\n');
        File.AppendAllText(At("var/lib/dpkg/status"), $"{entry}Description: taken from this machine\n\n");
        string name = told.Contains("Multi-Arch: same") ? $"{package}:amd64" : package;
        File.WriteAllText(At($"var/lib/dpkg/info/{name}.list"), "");
    }

    private static void CopyFolder(string from, string to) => Tool.Run("cp", "-r", from, to).Succeeded();
}

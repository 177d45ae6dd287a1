namespace ParVts.Package.Tests;

/// <summary>Tarball and Debian package, installed into a root that holds nothing but what the latter declares, and used there.</summary>
public sealed class InstalledTests
{
    private static readonly string[] s_question =
        ["--model", "/demo/model", "--image", "/demo/eval/images/0000.png", "--prompt", Asked.Question, "--policy", Asked.Policy, "--max-tokens", $"{Asked.Limit}", "--json"];

    private CleanRoot _root = null!;

    [OneTimeSetUp]
    public void Install()
    {
        _root = CleanRoot.Create();
        Directory.CreateDirectory(_root.At("opt"));
        Tool.Run("tar", "-xzf", Packages.Tarball, "-C", _root.At("opt")).Succeeded();
        _root.Dpkg("-i", Packages.Debian).Succeeded();
    }

    [OneTimeTearDown]
    public void Remove() => _root?.Dispose();

    [TestCase("tarball")]
    [TestCase("deb")]
    public void TheRunnerAnswers(string package)
    {
        string prefix = package == "deb" ? "/usr" : $"/opt/{Packages.TarballName}";
        Asked.Check(_root.Run([$"{prefix}/bin/parvts", "run", .. s_question]).Succeeded());
    }

    // The header, the library and pkg-config's file as they were installed; the program, from the package's own example, runs in the root.
    [TestCase("tarball")]
    [TestCase("deb")]
    public void ACProgramCompilesAgainstItAndAnswers(string package)
    {
        Tool.Need("pkg-config");
        string libraries = package == "deb" ? "/usr/lib/x86_64-linux-gnu" : $"/opt/{Packages.TarballName}/lib";
        string documents = package == "deb" ? "/usr/share/doc/parvts" : $"/opt/{Packages.TarballName}/share/doc/parvts";
        Dictionary<string, string> where = package == "deb"
            ? new() { ["PKG_CONFIG_LIBDIR"] = _root.At($"{libraries}/pkgconfig"), ["PKG_CONFIG_SYSROOT_DIR"] = _root.Folder }
            : new() { ["PKG_CONFIG_LIBDIR"] = _root.At($"{libraries}/pkgconfig") };
        string[] flags = Tool.Run("pkg-config", ["--cflags", "--libs", $"parvts = {Packages.Version}"], null, where).Succeeded()
            .Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        string program = _root.At($"tmp/ask-{package}");
        Tool.Run("cc", ["-std=c11", "-Wall", "-Werror", _root.At($"{documents}/examples/c/ask.c"), "-o", program, .. flags, "-pthread"]).Succeeded();

        // A tarball lies anywhere; an installed library is found.
        string[] lines = _root.RunWith(
            package == "deb" ? "" : libraries, $"/tmp/ask-{package}", "/demo/model", "/demo/eval/images/0000.png", Asked.Question, Asked.Policy).Succeeded().Split('\n');
        Assert.That(lines[0], Is.EqualTo(Asked.Text));
        Asked.Check(lines[1]);
    }

    // The name that programs are linked with stays when the library grows.
    [Test]
    public void ProgramsAskForTheLibraryByItsVersionedName()
    {
        Tool.Need("objdump");
        string header = Tool.Run("objdump", "-p", _root.At("/usr/lib/x86_64-linux-gnu/libparvts.so")).Succeeded();
        Assert.That(header, Does.Match(@"SONAME +libparvts\.so\.1\n"));
        Assert.That(File.Exists(_root.At("/usr/lib/x86_64-linux-gnu/libparvts.so.1")), Is.True);
    }

    [Test]
    public void WhatIsThereIsWhatDpkgListsAndItGoesAltogether()
    {
        using CleanRoot root = CleanRoot.Create();
        root.Dpkg("-i", Packages.Debian).Succeeded();
        Assert.That(root.Dpkg("--verify", "parvts").Succeeded(), Is.Empty, "files as their checksums say");
        root.Dpkg("-P", "parvts").Succeeded();
        Assert.That(Directory.EnumerateFileSystemEntries(root.At("usr"), "*parvts*", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public void NothingIsWritableByOthersOrOwnedByTheBuilder()
    {
        string listed = Tool.Run("dpkg-deb", "-c", Packages.Debian).Succeeded();
        Assert.That(listed.TrimEnd().Split('\n'), Has.All.Match("^(-rw-r--r--|-rwxr-xr-x|drwxr-xr-x|lrwxrwxrwx) root/root "));
    }
}

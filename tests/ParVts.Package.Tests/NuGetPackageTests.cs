using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.Json;
using System.Xml.Linq;

namespace ParVts.Package.Tests;

/// <summary>The NuGet packages: what is in them, and a host that knows nothing but them.</summary>
public sealed class NuGetPackageTests
{
    private static readonly string[] s_frameworks = ["net10.0", "net9.0"];

    [TestCase("ParVts.Engine", "ParVts.Cuda", "System.Numerics.Tensors")]
    [TestCase("ParVts.Cuda")]
    public void ItSaysWhatItIs(string id, params string[] dependencies)
    {
        using ZipArchive archive = ZipFile.OpenRead(Packages.NuGet(id));
        string[] entries = [.. archive.Entries.Select(entry => entry.FullName)];
        using Stream specification = archive.GetEntry($"{id}.nuspec")!.Open();
        XElement metadata = XDocument.Load(specification).Root!.Elements().Single();
        XElement[] groups = [.. metadata.Descendants().Where(element => element.Name.LocalName == "group")];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Value("id"), Is.EqualTo(id));
            Assert.That(Value("version"), Is.EqualTo(Packages.Version));
            Assert.That(Value("license"), Is.EqualTo("Apache-2.0"));
            Assert.That(Value("readme"), Is.EqualTo("README.md"));
            Assert.That(Value("description"), Is.Not.Empty);
            Assert.That(Value("tags").Split(' '), Does.Contain("vlm"));
            Assert.That(Value("authors"), Is.EqualTo("The ParVts.Native authors"));
            Assert.That(entries, Does.Contain("README.md"));
            foreach (string framework in s_frameworks)
                Assert.That(entries, Does.Contain($"lib/{framework}/{id}.dll").And.Contain($"lib/{framework}/{id}.xml"));
            Assert.That(groups.Select(group => group.Attribute("targetFramework")!.Value), Is.EquivalentTo(s_frameworks));
            foreach (XElement group in groups)
                Assert.That(group.Elements().Select(element => element.Attribute("id")!.Value), Is.EquivalentTo(dependencies));
        }

        string Value(string name) => metadata.Elements().Single(element => element.Name.LocalName == name).Value;
    }

    // Documentation that ships is what an editor shows: every public type has an entry.
    [TestCase("ParVts.Engine")]
    [TestCase("ParVts.Cuda")]
    public void EveryPublicTypeIsDocumented(string id)
    {
        using ZipArchive archive = ZipFile.OpenRead(Packages.NuGet(id));
        foreach (string framework in s_frameworks)
        {
            using var assembly = new PEReader(Copy(archive, $"lib/{framework}/{id}.dll"));
            MetadataReader reader = assembly.GetMetadataReader();
            string[] types = [.. reader.TypeDefinitions.Select(reader.GetTypeDefinition)
                .Where(type => (type.Attributes & System.Reflection.TypeAttributes.VisibilityMask) == System.Reflection.TypeAttributes.Public)
                .Select(type => $"T:{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}")];
            IEnumerable<string> documented = XDocument.Load(Copy(archive, $"lib/{framework}/{id}.xml")).Descendants("member")
                .Where(member => member.Value.Trim().Length > 0).Select(member => member.Attribute("name")!.Value);
            Assert.That(types, Is.Not.Empty.And.SubsetOf(documented));
        }
    }

    // What runs on a GPU lies inside the assembly.
    [Test]
    public void TheEngineHoldsTheKernels()
    {
        using ZipArchive archive = ZipFile.OpenRead(Packages.NuGet("ParVts.Engine"));
        string[] kernels = [.. Directory.EnumerateFiles(Path.Combine(TestData.Root, "kernels"), "*.cu*").Select(file => $"ParVts.Engine.kernels.{Path.GetFileName(file)}")];
        foreach (string framework in s_frameworks)
        {
            using var assembly = new PEReader(Copy(archive, $"lib/{framework}/ParVts.Engine.dll"));
            MetadataReader reader = assembly.GetMetadataReader();
            IEnumerable<string> found = reader.ManifestResources.Select(handle => reader.GetString(reader.GetManifestResource(handle).Name));
            Assert.That(kernels, Is.Not.Empty.And.SubsetOf(found), framework);
        }
    }

    // Nobody's folders: the sources are named from the repository's root on, or lie inside.
    [TestCase("ParVts.Engine")]
    [TestCase("ParVts.Cuda")]
    public void TheSymbolsNameSourcesAndNotFolders(string id)
    {
        foreach (string framework in s_frameworks)
        {
            SymbolFile symbols = SymbolFile.Read(Packages.NuGet(id, "snupkg"), $"lib/{framework}/{id}.pdb");
            Assert.That(symbols.Documents, Has.Count.GreaterThan(20));
            Assert.That(symbols.Documents.Select(document => document.Path), Has.All.StartWith("/_"));
            foreach ((string path, bool embedded) in symbols.Documents)
                Assert.That(embedded || File.Exists(Path.Combine(TestData.Root, path[(path.IndexOf('/', 1) + 1)..])), path);
        }
    }

    // This checkout may have no remote; one that has is made of it.
    [Test]
    public void WithARemoteTheSymbolsSayWhereTheSourcesAre()
    {
        Tool.Need("git");
        using var checkout = new Scratch();
        foreach (string file in new[] { "src/ParVts.Cuda", "src/Packages.props", "Directory.Build.props", "Directory.Packages.props", "global.json", ".editorconfig", ".gitignore" })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(checkout.Path, file))!);
            Tool.Run("cp", "-r", Path.Combine(TestData.Root, file), Path.Combine(checkout.Path, file)).Succeeded();
        }

        foreach (string built in new[] { "bin", "obj" })
            Tool.Run("rm", "-rf", Path.Combine(checkout.Path, "src/ParVts.Cuda", built)).Succeeded();
        Git("init", "-q");
        Git("remote", "add", "origin", "https://github.com/example/parvts.git");
        Git("add", "-A");
        Git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "a");
        string commit = Git("rev-parse", "HEAD").Trim();
        Dotnet(checkout.Path, null, "pack", "src/ParVts.Cuda", "-p:TargetFrameworks=net10.0", "-p:ContinuousIntegrationBuild=true", "-p:RunAnalyzers=false", "-o", "out");

        string package = Path.Combine(checkout.Path, "out", $"ParVts.Cuda.{Packages.Version}");
        SymbolFile symbols = SymbolFile.Read($"{package}.snupkg", "lib/net10.0/ParVts.Cuda.pdb");
        using ZipArchive archive = ZipFile.OpenRead($"{package}.nupkg");
        using Stream specification = archive.GetEntry("ParVts.Cuda.nuspec")!.Open();
        XElement repository = XDocument.Load(specification).Descendants().Single(element => element.Name.LocalName == "repository");
        using JsonDocument link = JsonDocument.Parse(symbols.SourceLink!);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(
                link.RootElement.GetProperty("documents").GetProperty("/_/*").GetString(), Is.EqualTo($"https://raw.githubusercontent.com/example/parvts/{commit}/*"));
            Assert.That(symbols.Documents.Where(document => !document.Embedded).Select(document => document.Path), Has.All.StartWith("/_/src/ParVts.Cuda/"));
            Assert.That(symbols.Documents.Where(document => document.Embedded), Is.Not.Empty, "what no repository holds");
            Assert.That(repository.Attribute("url")!.Value, Is.EqualTo("https://github.com/example/parvts.git"));
            Assert.That(repository.Attribute("commit")!.Value, Is.EqualTo(commit));
            Assert.That(repository.Attribute("branch"), Is.Null);
        }

        string Git(params string[] arguments) => Tool.Run("git", arguments, checkout.Path, null).Succeeded();
    }

    // The shipped example in a folder of its own, with a package folder of its own. What is not of this project was restored on this machine
    // before: nothing is fetched.
    [Test]
    public void AFreshHostBuildsAgainstThePackageAndAnswers()
    {
        string said = Tool.Run("dotnet", "nuget", "locals", "global-packages", "--list").Succeeded();
        string machine = said[(said.LastIndexOf("global-packages:", StringComparison.Ordinal) + 16)..].Trim();
        using var host = new Scratch();
        foreach (string file in Directory.EnumerateFiles(Path.Combine(TestData.Root, "examples/csharp")).Where(file => Path.GetExtension(file) is ".cs" or ".csproj"))
            File.Copy(file, Path.Combine(host.Path, Path.GetFileName(file)));
        File.WriteAllText(
            Path.Combine(host.Path, "nuget.config"),
            $"""
            <configuration>
              <packageSources><clear /></packageSources>
              <fallbackPackageFolders><clear /><add key="machine" value="{machine}" /></fallbackPackageFolders>
            </configuration>
            """);
        string own = Path.Combine(host.Path, "packages");
        Dotnet(
            host.Path, new Dictionary<string, string> { ["NUGET_PACKAGES"] = own },
            "build", "-warnaserror", $"-p:FromPackage={Packages.Version}",
            $"-p:RestoreAdditionalProjectSources={Packages.Folder}", "-o", "out");
        Finished answer = Tool.Run(
            "dotnet", Path.Combine(host.Path, "out/Ask.dll"), "--model", Asked.Model, "--image", Asked.Picture, "--prompt", Asked.Question, "--policy", Asked.Policy, "--json");
        Asked.Check(answer.Succeeded());
        Assert.That(
            Directory.EnumerateDirectories(own).Select(Path.GetFileName), Is.EquivalentTo(new[] { "parvts.cuda", "parvts.engine" }), "from the packages under test");
    }

    private static void Dotnet(string folder, Dictionary<string, string>? environment, params string[] arguments) => Tool.Run(
        "dotnet", [.. arguments, "-c", "Release", "-nologo", "-v:quiet", "-nodeReuse:false", "-p:UseSharedCompilation=false"], folder, environment).Succeeded();

    private static MemoryStream Copy(ZipArchive archive, string entry)
    {
        var copy = new MemoryStream();
        using (Stream content = archive.GetEntry(entry)!.Open())
            content.CopyTo(copy);
        copy.Position = 0;
        return copy;
    }
}

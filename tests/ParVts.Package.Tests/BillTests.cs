using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;

namespace ParVts.Package.Tests;

/// <summary>The bill of materials (SPDX 2.3), the notices and the checksums, held against what is really in the packages.</summary>
public sealed class BillTests
{
    private Dictionary<string, byte[]> _files = null!;
    private JsonElement _bill;

    [OneTimeSetUp]
    public void Read()
    {
        _files = Packages.TarballFiles();
        _bill = JsonDocument.Parse(_files["share/doc/parvts/sbom.spdx.json"]).RootElement;
    }

    // The specification's mandatory members, and no element that is named and not there.
    [Test]
    public void ItHasWhatTheSpecificationAsksFor()
    {
        string[] known = [.. Elements("packages").Concat(Elements("files")).Select(element => Text(element, "SPDXID")), "SPDXRef-DOCUMENT"];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Text(_bill, "spdxVersion"), Is.EqualTo("SPDX-2.3"));
            Assert.That(Text(_bill, "dataLicense"), Is.EqualTo("CC0-1.0"));
            Assert.That(Text(_bill, "SPDXID"), Is.EqualTo("SPDXRef-DOCUMENT"));
            Assert.That(Text(_bill, "name"), Is.EqualTo(Packages.TarballName));
            Assert.That(Uri.TryCreate(Text(_bill, "documentNamespace"), UriKind.Absolute, out Uri? address) && address.Fragment.Length == 0);
            Assert.That(DateTime.TryParseExact(
                Text(_bill.GetProperty("creationInfo"), "created"), "yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture, DateTimeStyles.None, out _));
            Assert.That(Elements("creators", _bill.GetProperty("creationInfo")), Is.Not.Empty);
            Assert.That(known, Is.Unique);
            Assert.That(known, Has.All.Match("^SPDXRef-[A-Za-z0-9.-]+$"));
            Assert.That(Elements("packages").Select(package => Text(package, "downloadLocation")), Has.All.Not.Empty);
            Assert.That(Elements("packages").Select(package => Text(package, "name")), Has.All.Not.Empty);
            Assert.That(Elements("relationships").Select(relation => Text(relation, "spdxElementId")).Distinct(), Is.SubsetOf(known));
            Assert.That(Elements("relationships").Select(relation => Text(relation, "relatedSpdxElement")).Distinct(), Is.SubsetOf(known));
            Assert.That(
                Elements("relationships").Where(relation => Text(relation, "relationshipType") == "DESCRIBES").Select(relation => Text(relation, "spdxElementId")),
                Has.All.EqualTo("SPDXRef-DOCUMENT").And.Not.Empty);
        }
    }

    [Test]
    public void EveryFileIsListedWithItsHash()
    {
        Dictionary<string, string> listed = Elements("files").ToDictionary(file => Text(file, "fileName"), file => Checksum(file, "SHA256"));
        var found = _files.Where(file => file.Key != "share/doc/parvts/sbom.spdx.json")
            .ToDictionary(file => $"./{file.Key}", file => Convert.ToHexStringLower(SHA256.HashData(file.Value)));
        Assert.That(listed, Is.EquivalentTo(found));

        // The specification wants this one, too.
        foreach (JsonElement file in Elements("files"))
            Assert.That(Checksum(file, "SHA1"), Is.EqualTo(Sha1(_files[Text(file, "fileName")[2..]])), Text(file, "fileName"));
    }

    // By what the runner itself says that it is made of, and by the C library's lock file.
    [Test]
    public void EveryThirdPartyIsListedWithVersionLicenceAndNotice()
    {
        using JsonDocument runner = JsonDocument.Parse(_files["lib/parvts/parvts.deps.json"]);
        using JsonDocument native = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Root, "src/ParVts.Native/packages.lock.json")));
        List<string> expected = [.. runner.RootElement.GetProperty("libraries").EnumerateObject()
            .Where(library => Text(library.Value, "type") != "project").Select(library => library.Name.Replace("runtimepack.", ""))];
        const string Compiler = "runtime.linux-x64.Microsoft.DotNet.ILCompiler";
        JsonElement dependencies = native.RootElement.GetProperty("dependencies");
        expected.Add($"{Compiler}/{Text(dependencies.GetProperty("net9.0/linux-x64").GetProperty(Compiler), "resolved")}");

        string notices = System.Text.Encoding.UTF8.GetString(_files["THIRD-PARTY-NOTICES"]);
        JsonElement[] theirs = [.. Elements("packages").Where(package => Text(package, "licenseDeclared") != "Apache-2.0")];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(expected, Has.Count.GreaterThanOrEqualTo(5));
            Assert.That(theirs.Select(package => $"{Text(package, "name")}/{Text(package, "versionInfo")}"), Is.EquivalentTo(expected));
            Assert.That(theirs.Select(package => Text(package, "licenseDeclared")), Has.All.EqualTo("MIT"));
            foreach (string name in expected)
                Assert.That(notices, Does.Contain(name.Replace('/', ' ')));
            Assert.That(notices, Does.Contain("Permission is hereby granted, free of charge"));
            Assert.That(_files, Does.ContainKey("LICENSE"));
        }
    }

    // Each assembly, to the package that NuGet gave it with.
    [TestCase("System.CommandLine.dll", "System.CommandLine")]
    [TestCase("Spectre.Console.dll", "Spectre.Console")]
    [TestCase("System.Numerics.Tensors.dll", "System.Numerics.Tensors")]
    [TestCase("libcoreclr.so", "Microsoft.NETCore.App.Runtime.linux-x64")]
    [TestCase("ParVts.Engine.dll", "parvts")]
    public void AFileBelongsToItsPackage(string file, string package)
    {
        string id = Text(Elements("files").Single(entry => Text(entry, "fileName") == $"./lib/parvts/{file}"), "SPDXID");
        string owner = Text(
            Elements("relationships").Single(relation => Text(relation, "relationshipType") == "CONTAINS" && Text(relation, "relatedSpdxElement") == id), "spdxElementId");
        Assert.That(owner, Is.EqualTo($"SPDXRef-Package-{package}"));
    }

    [Test]
    public void TheNuGetPackagesAreListedAsTheyLieBesideIt()
    {
        Dictionary<string, string> listed = Elements("packages").Where(package => package.TryGetProperty("packageFileName", out _))
            .ToDictionary(package => Text(package, "packageFileName"), package => Checksum(package, "SHA256"));
        Dictionary<string, string> found = Directory.EnumerateFiles(Packages.Folder, "*.nupkg").ToDictionary(file => Path.GetFileName(file), Sha256);
        Assert.That(listed, Is.EquivalentTo(found).And.Count.EqualTo(2));
    }

    [Test]
    public void TheOneBesideTheTarballIsTheOneInIt() => Assert.That(
        File.ReadAllBytes(Path.Combine(Packages.Folder, $"{Packages.TarballName}.spdx.json")), Is.EqualTo(_files["share/doc/parvts/sbom.spdx.json"]));

    [Test]
    public void TheChecksumsAreThoseOfEveryFile()
    {
        string[] lines = File.ReadAllLines(Path.Combine(Packages.Folder, "SHA256SUMS"));
        IEnumerable<string> found = Directory.EnumerateFiles(Packages.Folder).Where(file => Path.GetFileName(file) != "SHA256SUMS")
            .Select(file => $"{Sha256(file)}  {Path.GetFileName(file)}");
        Assert.That(lines, Is.EquivalentTo(found).And.Length.EqualTo(7));
    }

    // The simulated GPU and a host's own launches read them from here.
    [Test]
    public void TheKernelsAreThoseOfTheCheckout()
    {
        foreach (string kernel in Directory.EnumerateFiles(Path.Combine(TestData.Root, "kernels")))
            Assert.That(_files[$"share/parvts/kernels/{Path.GetFileName(kernel)}"], Is.EqualTo(File.ReadAllBytes(kernel)), kernel);
    }

    private static string Text(JsonElement element, string member) => element.GetProperty(member).GetString()!;

    private IEnumerable<JsonElement> Elements(string member, JsonElement? parent = null) => (parent ?? _bill).GetProperty(member).EnumerateArray();

    private static string Checksum(JsonElement element, string algorithm) => Text(
        element.GetProperty("checksums").EnumerateArray().Single(checksum => Text(checksum, "algorithm") == algorithm), "checksumValue");

    private static string Sha256(string file) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file)));

#pragma warning disable CA5350 // The format asks for it; nothing is protected by it.
    private static string Sha1(byte[] data) => Convert.ToHexStringLower(SHA1.HashData(data));
#pragma warning restore CA5350
}

namespace ParVts.Package.Tests;

/// <summary>Whoever builds a commit gets the bytes that are published.</summary>
public sealed class ReproducibilityTests
{
    // Minutes: each of two copies compiles the C library three times.
    [Test]
    public void TwoCheckoutsGiveTheSameBytes()
    {
        if (!TestData.Full)
            Assert.Ignore("a test of minutes: './build.sh test --full' runs it");
        Tool.Need("git");
        _ = Packages.Folder;
        using var scratch = new Scratch();
        string[] sums = [.. new[] { "one", "another/folder" }.Select(folder =>
        {
            string copy = Path.Combine(scratch.Path, folder);
            Tool.Run("git", "clone", "-q", TestData.Root, copy).Succeeded();
            Tool.Run("git", ["checkout", "-q", "-B", $"branch-{folder.Length}"], copy, null).Succeeded();
            Tool.Run(Path.Combine(copy, "build.sh"), ["pack"], copy, null).Succeeded();
            return File.ReadAllText(Path.Combine(copy, "artifacts/packages/SHA256SUMS"));
        })];
        Assert.That(sums[1], Is.EqualTo(sums[0]));
    }
}

namespace ParVts.Native.Tests;

/// <summary>
/// What the library asks the system for is refused, at the first place, the second, and so on to the last: a status, never a crash, nothing left
/// behind, and the next use works. The clients say how (clients/failing.c, clients/starved.c).
/// </summary>
public sealed class RefusalTests
{
    // Once: that call alone fails. On: it and all that follow, to the end of the use.
    [TestCase("buffers", "once")]
    [TestCase("buffers", "on")]
    [TestCase("files", "once")]
    [TestCase("threads", "once")]
    [TestCase("threads", "on")]
    [TestCase("heap", "once")]
    [TestCase("heap", "on")]
    [TestCase("memory", "once")]
    public void EveryRefusalIsAStatus(string kind, string how)
    {
        Finished run = NativeLibraryFiles.Run(NativeLibraryFiles.CompileClient("failing"), SmallModel.Folder, Host.Picture, kind, how);
        TestContext.Out.WriteLine(run.Output);
        Assert.That(run.Code, Is.Zero, run.Errors + run.Output);
        Assert.That(run.Output, Does.Match(@"\d+ calls: [1-9]\d* attempts"));
        Assert.That(run.Output, Does.Not.Contain("status 13"), "a defect of the library");
    }

    // The collector's heap may take 32 MiB, of ample addresses: what does not fit is refused wherever it is asked for.
    [Test]
    public void AFullHeapIsAStatus()
    {
        Finished run = NativeLibraryFiles.Run(
            "env", "DOTNET_GCHeapHardLimit=2000000", "DOTNET_GCRegionRange=1000000000", NativeLibraryFiles.CompileClient("starved"), SmallModel.Folder, Host.Picture);
        TestContext.Out.WriteLine(run.Output);
        Assert.That(run.Code, Is.Zero, run.Errors + run.Output);
    }
}

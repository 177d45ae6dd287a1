namespace ParVts.Native.Tests;

/// <summary>Threads that use the same handles without regard for each other (clients/random_calls.c).</summary>
public sealed class ThreadTests
{
    [Test]
    public void RandomCallsOnSharedHandlesAreStatuses()
    {
        string seed = $"{Environment.TickCount & 0xFFFF}";
        TestContext.Out.WriteLine($"seed {seed}");
        Finished run = NativeLibraryFiles.Run(
            NativeLibraryFiles.CompileClient("random_calls"), SmallModel.Folder, Host.Picture, TestData.Full ? "120" : "4", seed);
        TestContext.Out.WriteLine(run.Output);
        Assert.That(run.Code, Is.Zero, $"seed {seed}: {run.Errors}{run.Output}");
        foreach (Status often in new[] { Status.Ok, Status.InvalidArgument, Status.BadHandle, Status.TooSmall, Status.BadRequest, Status.Busy })
            Assert.That(run.Output, Does.Match($@"\b{(int)often}:[1-9]"), $"{often} came up");
    }
}

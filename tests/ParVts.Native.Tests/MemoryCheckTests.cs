namespace ParVts.Native.Tests;

/// <summary>
/// A C client under valgrind: it loses nothing, and the library writes nowhere but where it was told to. What of the library's own memory a .NET
/// runtime keeps is passed over (clients/valgrind.supp); everything that the client allocates, and every access to it, by whomever, is checked.
/// </summary>
public sealed class MemoryCheckTests
{
    // What memcheck ends with where it found something.
    private const int Found = 99;

    [Test]
    public void AClientWithTwoThreadsLosesNothing()
    {
        (string model, string tokens) = TestData.Full ? (Host.Model, "8") : (SmallModel.Folder, "3");
        Finished run = Check("two_threads", model, Host.Picture, tokens);
        Assert.That(run.Code, Is.Zero, run.Output + run.Errors);
        Assert.That(run.Output, Does.Contain("KV rows by layer:").And.Contain("all is well"));
    }

    // The suppressions do not hide what they are not meant to.
    [TestCase("lost", "definitely lost")]
    [TestCase("short", "Invalid write")]
    [TestCase("used", "Invalid read")]
    public void WhatAClientDoesWrongIsFound(string fault, string message)
    {
        Finished run = Check("broken", fault);
        Assert.That(run.Code, Is.EqualTo(Found), run.Errors);
        Assert.That(run.Errors, Does.Contain(message));
    }

    // Valgrind has no room for the 256 GiB of addresses that the runtime reserves unless it is told of another number.
    private static Finished Check(string client, params string[] arguments)
    {
        if (!NativeLibraryFiles.Has("valgrind"))
            Assert.Ignore("there is no valgrind");
        string program = NativeLibraryFiles.CompileClient(client);
        return NativeLibraryFiles.Run(
            "env",
            [
                "DOTNET_GCRegionRange=80000000", "valgrind", "--fair-sched=yes", "--leak-check=full", "--show-leak-kinds=definite,indirect",
                "--errors-for-leak-kinds=definite,indirect", $"--error-exitcode={Found}", "--num-callers=30",
                "--suppressions=" + NativeLibraryFiles.Client("valgrind.supp"), program, .. arguments,
            ]);
    }
}

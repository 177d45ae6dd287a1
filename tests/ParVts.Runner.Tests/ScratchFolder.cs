namespace ParVts.Runner.Tests;

/// <summary>Removes what the tests wrote.</summary>
[SetUpFixture]
public sealed class ScratchFolder
{
    [OneTimeTearDown]
    public void Remove() => Directory.Delete(DemoModel.Scratch, recursive: true);
}

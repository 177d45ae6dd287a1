namespace ParVts.Package.Tests;

/// <summary>The C# example as it is built in the checkout.</summary>
public sealed class ExampleTests
{
    private static string Program { get; } = Path.Combine(TestData.Root, "examples/csharp/bin/Release/net10.0/Ask.dll");

    [Test]
    public void ItPrintsTheAnswer() => Assert.That(Ask().Succeeded().TrimEnd(), Is.EqualTo(Asked.Text));

    [Test]
    public void ItPrintsTheRunnersMembers() => Asked.Check(Ask("--json").Succeeded());

    [Test]
    public void ADeadlineEndsTheAnswer()
    {
        Finished answer = Ask("--json", "--deadline", "0.001");
        Assert.That(answer.Succeeded(), Does.Contain("\"finish\":\"cancelled\""));
    }

    [TestCase(2, "--polcy", "usage")]
    [TestCase(2, "--deadline", "needs a value")]
    public void WrongUsageIsSaid(int code, string option, string expected)
    {
        Finished run = Ask(option);
        Assert.That(run.Code, Is.EqualTo(code));
        Assert.That(run.Errors, Does.Contain(expected));
    }

    [Test]
    public void AnErrorOfTheEngineIsAMessage()
    {
        Finished run = Ask("--policy", "parvts:kep=3");
        Assert.That(run.Code, Is.EqualTo(1));
        Assert.That(run.Errors, Does.StartWith("error: ").And.Contain("keep").And.Not.Contain("   at "));
    }

    private static Finished Ask(params string[] more) => Tool.Run(
        "dotnet", [Program, "--model", Asked.Model, "--image", Asked.Picture, "--prompt", Asked.Question, "--policy", Asked.Policy, .. more]);
}

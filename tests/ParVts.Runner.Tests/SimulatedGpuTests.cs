using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>The device "sim" from the command line.</summary>
public sealed class SimulatedGpuTests
{
    [Test]
    public void KernelsAreNamedWithLaunchesAndHash()
    {
        DemoQuestion question = DemoModel.Question("presence");
        string[] line = ["run", "--model", DemoModel.Model, "--image", question.Image, "--prompt", question.Text, "--policy", "parvts:keep=36,migrate=1", "--json"];
        Outcome outcome = Parvts.Run([.. line, "--device", "sim"]);
        if (outcome.Code == 4)
            Assert.Ignore(outcome.Errors);
        JsonElement json = outcome.Json;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("device").GetString(), Is.EqualTo("sim"));
            Assert.That(json.GetProperty("tokens").Numbers(), Is.EqualTo(Parvts.Run(line).Json.GetProperty("tokens").Numbers()));
            JsonElement kernels = json.GetProperty("kernels");
            Assert.That(kernels.EnumerateObject().Select(kernel => kernel.Name), Is.SupersetOf((string[])["decode_attention", "fuse_paths", "segment_attention", "select_top"]));
            foreach (JsonProperty kernel in kernels.EnumerateObject())
            {
                JsonElement[] each = [.. kernel.Value.GetProperty("specialisations").EnumerateArray()];
                Assert.That(kernel.Value.GetProperty("launches").GetInt64(), Is.Positive.And.EqualTo(each.Sum(use => use.GetProperty("launches").GetInt64())), kernel.Name);
                Assert.That(each.Select(use => use.GetProperty("ptx_sha256").GetString()), Is.All.Match("^[0-9a-f]{64}$"), kernel.Name);
            }
        }
    }
}

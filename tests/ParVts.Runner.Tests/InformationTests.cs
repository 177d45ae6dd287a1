using System.Text.Json;

namespace ParVts.Runner.Tests;

/// <summary>The commands that only tell: plan, inspect, doctor, policies, help.</summary>
public sealed class InformationTests
{
    [Test]
    public void PlanAddsUpAndComparesWithTheCap()
    {
        string[] line = ["plan", "--model", DemoModel.Model, "--image", DemoModel.Question("count").Image, "--prompt", "x", "--json"];
        JsonElement json = Parvts.Run(line).Json;
        JsonElement longer = Parvts.Run([.. line, "--max-tokens", "1500", "--memory-cap", "4G"]).Json;
        Outcome refused = Parvts.Run([.. line, "--memory-cap", "1M"]);
        JsonElement memory = json.GetProperty("memory_bytes");
        long[] parts = [.. new[] { "weights", "kv", "workspace", "process" }.Select(name => memory.GetProperty(name).GetInt64())];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(parts, Is.All.GreaterThan(0));
            Assert.That(memory.GetProperty("total").GetInt64(), Is.EqualTo(parts.Sum()));
            Assert.That(longer.GetProperty("memory_bytes").GetProperty("kv").GetInt64(), Is.GreaterThan(parts[1]));
            Assert.That(longer.GetProperty("fits").GetBoolean(), Is.True);
            Assert.That(refused.Code, Is.EqualTo(5));
            Assert.That(refused.Output, Does.Contain("\"fits\":false"));
        }
    }

    [Test]
    public void PlanIsWhatTheRunReports()
    {
        string[] line = ["--model", DemoModel.Model, "--image", DemoModel.Question("count").Image, "--prompt", "x", "--json"];
        JsonElement plan = Parvts.Run(["plan", .. line]).Json.GetProperty("memory_bytes");
        JsonElement run = Parvts.Run(["run", .. line]).Json.GetProperty("memory_bytes");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(run.GetProperty("weights").GetInt64(), Is.EqualTo(plan.GetProperty("weights").GetInt64()));
            Assert.That(run.GetProperty("workspace").GetInt64(), Is.EqualTo(plan.GetProperty("workspace").GetInt64()));
            Assert.That(run.GetProperty("kv").GetInt64(), Is.LessThanOrEqualTo(plan.GetProperty("kv").GetInt64()));
        }
    }

    [Test]
    public void InspectListsEveryTensor()
    {
        JsonElement json = Parvts.Run("inspect", "--model", DemoModel.Model, "--json").Json;
        JsonElement[] tensors = [.. json.GetProperty("tensors").EnumerateArray()];
        long elements = tensors.Sum(tensor => tensor.GetProperty("shape").Numbers().Aggregate(1L, (product, extent) => product * extent));
        Outcome table = Parvts.Run("inspect", Path.Combine(DemoModel.Model, "model.safetensors"));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("config").GetProperty("model_type").GetString(), Is.EqualTo("llava"));
            Assert.That(json.GetProperty("parameters").GetInt64(), Is.EqualTo(elements).And.GreaterThan(1_000_000));
            Assert.That(
                json.GetProperty("bytes").GetInt64(), Is.EqualTo(tensors.Sum(tensor => tensor.GetProperty("bytes").GetInt64())));
            Assert.That(tensors.Select(tensor => tensor.GetProperty("dtype").GetString()), Is.All.EqualTo("BF16"));
            Assert.That(table.Code, Is.Zero, table.Errors);
            foreach (JsonElement tensor in tensors)
                Assert.That(table.Output, Does.Contain($" {tensor.GetProperty("name").GetString()} "));
        }
    }

    [Test]
    public void DoctorKnowsTheMachine()
    {
        JsonElement json = Parvts.Run("doctor", "--json").Json;
        Outcome text = Parvts.Run("doctor");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("logical_processors").GetInt32(), Is.EqualTo(Environment.ProcessorCount));
            Assert.That(json.GetProperty("memory_bytes").GetInt64(), Is.GreaterThan(1L << 28));
            Assert.That(json.GetProperty("libraries").GetArrayLength(), Is.GreaterThan(3));
            Assert.That(text.Code, Is.Zero);
            Assert.That(text.Output, Does.Contain("SIMD").And.Contain("CUDA driver"));
        }
    }

    [Test]
    public void PoliciesListsThem()
    {
        JsonElement all = Parvts.Run("policies", "--json").Json.GetProperty("policies");
        JsonElement one = Parvts.Run("policies", "dense", "--json").Json.GetProperty("policies");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(all.EnumerateArray().Select(policy => policy.GetProperty("name").GetString()), Does.Contain("dense"));
            Assert.That(one.GetArrayLength(), Is.EqualTo(1));
            Assert.That(one[0].GetProperty("source").GetString(), Is.Not.Empty);
        }
    }

    [TestCase("run")]
    [TestCase("chat")]
    [TestCase("dump")]
    [TestCase("inspect")]
    [TestCase("plan")]
    [TestCase("doctor")]
    [TestCase("policies")]
    [TestCase("eval")]
    [TestCase("analyze")]
    [TestCase("tokenize")]
    [TestCase("image")]
    public void HelpHasExamples(string command)
    {
        Outcome outcome = Parvts.Run(command, "--help");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Code, Is.Zero);
            Assert.That(outcome.Output, Does.Contain("Examples:").And.Contain($"parvts {command}").And.Contain("Exit codes:"));
        }
    }
}

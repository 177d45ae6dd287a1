using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ParVts.Engine.Compute;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Generation;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>The demo model answers on the device as on the CPU, and says by which kernels.</summary>
internal class DemoModelTests
{
    private const int Questions = 20;

    private DeviceModel _model = null!;

    [OneTimeSetUp]
    public void Open() => _model = new DeviceModel(DemoModel.Folder);

    [OneTimeTearDown]
    public void Close() => _model?.Dispose();

    // Of bfloat16 one answer in twenty may tip over.
    [TestCase("dense")]
    [TestCase("parvts:keep=36,migrate=1")]
    public void Answers_are_those_of_the_CPU(string policy)
    {
        using Session device = _model.Engine.CreateSession(policy);
        using Session cpu = DemoModel.Engine.CreateSession(policy);
        var options = new GenerationOptions { MaxTokens = 8 };
        var different = new List<string>();

        // All questions about every sixth picture: four each.
        JsonElement[] questions = [.. DemoModel.Questions().Where((_, i) => i / 4 % 6 == 0).Take(Questions)];
        Assert.That(questions, Has.Length.EqualTo(Questions));
        foreach (JsonElement question in questions)
        {
            string picture = Path.Combine(Path.GetDirectoryName(DemoModel.EvaluationFile)!, question.GetProperty("image").GetString()!);
            string text = question.GetProperty("question").GetString()!;
            GenerationResult actual = device.Generate(DemoModel.Ask(_model.Engine, text, picture), options);
            GenerationResult expected = cpu.Generate(DemoModel.Ask(text, picture), options);
            if (!actual.Tokens.SequenceEqual(expected.Tokens))
                different.Add($"{question.GetProperty("image")}: {text} -> {actual.Text}, on the CPU {expected.Text}");
        }

        TestContext.Out.WriteLine($"{policy}: {Questions - different.Count} of {Questions} answers equal the CPU's. {string.Join("; ", different)}");
        Assert.That(different, Has.Count.LessThanOrEqualTo(1), string.Join('\n', different));
    }

    [Test]
    public void Every_kernel_is_named_with_its_launches_and_the_PTX_that_ran()
    {
        using Session session = _model.Engine.CreateSession("parvts:keep=36,migrate=1");
        _model.Sim.ResetCounters();
        session.Generate(DemoModel.Ask(_model.Engine, "is there a blue cross?", DemoModel.Picture(0)), new GenerationOptions { MaxTokens = 6, IgnoreEndOfSequence = true });
        IReadOnlyList<KernelUse> uses = session.KernelUses;
        HashSet<string> loaded = [.. _model.Sim.LoadedPtx.Select(ptx => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(ptx))))];
        Assert.That(uses.Select(use => use.PtxSha256).Distinct(), Is.SubsetOf(loaded));
        Assert.That(
            uses.GroupBy(use => use.Kernel).ToDictionary(kernel => kernel.Key, kernel => kernel.Sum(use => use.Launches)),
            Is.EquivalentTo(_model.Sim.Counters.Kernels.ToDictionary(kernel => kernel.Key, kernel => kernel.Value.Launches)));
        Assert.That(
            uses.Select(use => use.Kernel),
            Is.SupersetOf((string[])["segment_attention", "decode_attention", "decode_combine", "select_top", "fuse_paths", "rms_norm", "rope_store"]));
    }
}

using ParVts.Engine.Generation;
using InferenceEngine = ParVts.Engine.Generation.Engine;

namespace ParVts.Runner.Tests;

/// <summary>Models of random weights, made in memory from a config alone.</summary>
public sealed class RandomModelTests
{
    [Test]
    public void TheSameSeedMakesTheSameModel()
    {
        float[] first = Logits(seed: 1);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first, Is.All.Matches<float>(float.IsFinite));
            Assert.That(first.Max() - first.Min(), Is.GreaterThan(0.1), "they say something");
            Assert.That(Logits(seed: 1), Is.EqualTo(first));
            Assert.That(Logits(seed: 2), Is.Not.EqualTo(first));
        }
    }

    // All matrices have 2 bytes a value in one and 4 in the other.
    [TestCase("float16", 2)]
    [TestCase("bfloat16", 2)]
    [TestCase("float32", 4)]
    [TestCase("int8", 2)]
    public void WeightsHaveTheConfigsType(string type, int bytes)
    {
        using InferenceEngine engine = Open(type, seed: 1);
        using InferenceEngine half = Open("bfloat16", seed: 1);
        Assert.That(engine.Model.MappedBytes, Is.EqualTo(half.Model.MappedBytes / 2 * bytes));
    }

    [Test]
    public void ItTakesNoPictures()
    {
        using InferenceEngine engine = Open("float16", seed: 1);
        Assert.That(() => engine.PrepareImage(new(1, 1, new byte[3])), Throws.TypeOf<Engine.ModelFormatException>().With.Message.Contains("config alone"));
        Assert.That(() => engine.CreateRawPrompt("x", []), Throws.TypeOf<Engine.ModelFormatException>());
    }

    private static InferenceEngine Open(string type, int seed) =>
        InferenceEngine.OpenRandom(BenchSample.Config(type), seed, new EngineOptions { Device = "cpu", Threads = 1 });

    private static float[] Logits(int seed)
    {
        using InferenceEngine engine = Open("float16", seed);
        using Session session = engine.CreateSession();
        Prompt prompt = engine.CreatePrompt([1, 2, 255, 3], [new PromptImage([.. Enumerable.Range(0, 3 * 32 * 32).Select(i => i % 7 - 3f)])]);
        return [.. session.Generate(prompt, new GenerationOptions { MaxTokens = 1, KeepLogits = true }).PromptLogits!];
    }
}

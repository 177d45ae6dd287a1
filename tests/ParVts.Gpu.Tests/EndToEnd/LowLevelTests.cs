using ParVts.Engine;
using ParVts.Engine.Generation;
using ParVts.Engine.Tests.Scheduling;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>What a host gives and takes below the level of text, on the device: embeddings, log-probabilities, hidden rows, a saved cache.</summary>
internal sealed class LowLevelTests
{
    private TestGpu _gpu = null!;

    [SetUp]
    public void Open() => _gpu = DeviceModel.OpenGpu();

    [TearDown]
    public void Close()
    {
        _gpu.RequireNoFaults();
        _gpu.Dispose();
    }

    [Test]
    public void The_projectors_rows_give_the_ordinary_run_to_the_bit([Values("dense", "fastv:layer=K,keep=k", "keep:layer=K,tokens=1/4-6")] string policy)
    {
        using TinyModel model = Model(2);
        Prompt pixels = model.Prompt(images: 2);
        string filled = DevicePolicies.Fill(policy, model);
        Run expected = model.Run(pixels, filled, 3);
        Assert.That(model.Run(model.Embedded(pixels), filled, 3).Logits, Is.EqualTo(expected.Logits));
    }

    [Test]
    public void Outputs_are_those_of_the_run([Values("dense", "parvts:keep=k,migrate=K,fuse=mean")] string policy)
    {
        using TinyModel model = Model(3);
        Prompt prompt = model.Prompt();
        string filled = DevicePolicies.Fill(policy, model);
        Run expected = model.Run(prompt, filled, 4);
        using Session session = model.Engine.CreateSession(filled);
        var raw = new List<float[]>();
        session.Logits = (_, logits) => raw.Add(logits.ToArray());
        var options = new GenerationOptions { MaxTokens = 4, IgnoreEndOfSequence = true, LogProbabilities = 2, HiddenLayers = [1, model.Layers] };
        GenerationResult result = session.Generate(prompt, options);
        Assert.That(result.Tokens, Is.EqualTo(expected.Result.Tokens));
        Assert.That(raw, Is.EqualTo(expected.Logits));
        Assert.That(result.HiddenRows.SelectMany(rows => rows.Values.ToArray()), Is.EqualTo(expected.Hidden[1].Values.Concat(expected.Hidden[model.Layers].Values).SelectMany(row => row)));
        for (int step = 0; step < 4; step++)
        {
            double largest = raw[step].Max();
            double sum = largest + Math.Log(raw[step].Sum(logit => Math.Exp(logit - largest)));
            Assert.That(result.LogProbabilities!.Chosen[step], Is.EqualTo(raw[step][result.Tokens[step]] - sum).Within(1e-5), $"step {step}");
            Assert.That(result.LogProbabilities.TopIds(step)[0], Is.EqualTo(result.Tokens[step]), "greedy");
        }
    }

    [Test]
    public void A_saved_cache_goes_on_to_the_bit(
        [Values("dense", "parvts:keep=k,migrate=K,fuse=mean", "st3:start=1,stride=1,keep=0.7,floor=2,anneal=0.6,every=2")] string policy)
    {
        using TinyModel model = Model(4);
        string filled = DevicePolicies.Fill(policy, model);
        Prompt prompt = model.Prompt();
        using Session whole = model.Engine.CreateSession(filled);
        Run first = model.Run(whole, prompt, 4);
        byte[] saved = TinyModel.Save(whole);
        using Session restored = model.Engine.CreateSession(filled);
        restored.Restore(new MemoryStream(saved));
        Assert.That(TinyModel.Save(restored), Is.EqualTo(saved));
        int image = model.Engine.Config.ImageTokenId;
        Prompt second = model.Continue(prompt, [.. first.Result.Tokens.TakeWhile(token => token != image), 5, 9, 3]);
        Run expected = model.Run(whole, second, 3);
        Run actual = model.Run(restored, second, 3);
        Assert.That(actual.Logits, Is.EqualTo(expected.Logits));
        Assert.That(actual.Result.CachedTokens, Is.EqualTo(expected.Result.CachedTokens).And.Positive);
    }

    [Test]
    public void A_cache_of_the_cpu_has_another_type()
    {
        using TinyModel model = Model(5);
        using VlmEngine cpu = VlmEngine.Open(model.Folder);
        using Session exact = cpu.CreateSession();
        Prompt prompt = model.Prompt();
        exact.Generate(prompt, new GenerationOptions { MaxTokens = 1 });
        byte[] saved = TinyModel.Save(exact);
        using Session session = model.Engine.CreateSession();
        SavedSessionException? error = Assert.Throws<SavedSessionException>(() => session.Restore(new MemoryStream(saved)));
        Assert.That(error!.Problem, Is.EqualTo(SavedSessionProblem.KeyValueType));
        Assert.That(error.Message, Does.Contain("of type 'F32'; this device keeps BF16"));
        Assert.That(session.Generate(prompt, new GenerationOptions { MaxTokens = 1 }).CachedTokens, Is.Zero);
    }

    private TinyModel Model(int seed) => new(seed, openDevice: () => _gpu.Device);
}

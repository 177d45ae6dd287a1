using System.Text.Json;
using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Text;

namespace ParVts.Native.Tests;

/// <summary>Hosts in other languages: the examples that are shipped, run against the library as it is compiled ahead of time.</summary>
public sealed class ClientTests
{
    private const string Question = "what color is the circle?";
    private const int Limit = 16;

    [TestCase("c", "dense")]
    [TestCase("c", "parvts:keep=36")]
    [TestCase("python", "dense")]
    [TestCase("python", "parvts:keep=36")]
    public void AClientGetsTheEnginesAnswer(string language, string policy)
    {
        Finished run = Ask(language, Host.Model, Host.Picture, Question, policy);
        Assert.That(run.Code, Is.Zero, run.Errors);
        using var engine = Engine.Generation.Engine.Open(Host.Model);
        using Session session = engine.CreateSession(policy);
        GenerationResult expected = session.Generate(
            engine.CreatePrompt(
                [new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)])], [engine.PrepareImage(ImageDecoder.Load(Host.Picture))]),
            new GenerationOptions { MaxTokens = Limit });
        string[] lines = run.Output.TrimEnd().Split('\n');
        using JsonDocument info = JsonDocument.Parse(lines[1]);
        using JsonDocument trace = JsonDocument.Parse(Caller.Json(json => ResultJson.WriteTrace(json, expected.Trace)));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(lines[0], Is.EqualTo(expected.Text), "piece by piece");
            Assert.That(info.RootElement.GetProperty("text").GetString(), Is.EqualTo(expected.Text));
            Assert.That(info.RootElement.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32()), Is.EqualTo(expected.Tokens));
            Assert.That(JsonElement.DeepEquals(info.RootElement.GetProperty("trace"), trace.RootElement.GetProperty("trace")), lines[1]);
            Assert.That(lines[2], Is.EqualTo("KV rows by layer: " + string.Join(' ', session.KeyValueLengths())));
        }
    }

    [Test]
    public void CCancelsFromAnotherThread()
    {
        Finished run = NativeLibraryFiles.Run(NativeLibraryFiles.Compile(Source("c/ask.c"), "ask-cancel"), Host.Model, Host.Picture, Question, "parvts:keep=36", "3");
        Assert.That(run.Code, Is.Zero, run.Errors);
        using JsonDocument info = JsonDocument.Parse(run.Output.TrimEnd().Split('\n')[1]);
        Assert.That(info.RootElement.GetProperty("finish").GetString(), Is.EqualTo("cancelled"));
        Assert.That(info.RootElement.GetProperty("tokens").GetArrayLength(), Is.InRange(3, 999));
    }

    // The program compares with the formula itself, and fails where they differ.
    [Test]
    public void CCallsTheKernelsOnItsOwnMemory()
    {
        Finished run = NativeLibraryFiles.Run(NativeLibraryFiles.Compile(Source("c/kernels.c"), "kernels"));
        Assert.That(run.Code, Is.Zero, run.Output + run.Errors);
        Assert.That(run.Output, Does.Contain("83 rows in two paths").And.Contain("path A's share"));
    }

    [TestCase("c")]
    [TestCase("python")]
    public void AClientIsToldWhatIsWrong(string language)
    {
        Finished run = Ask(language, Host.Model, "nowhere.png", Question, "dense");
        Finished policy = Ask(language, Host.Model, Host.Picture, Question, "parvts:kep=3");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(run.Code, Is.EqualTo(1));
            Assert.That(run.Errors, Does.Contain("nowhere.png").And.Not.Contain("Traceback"));
            Assert.That(policy.Code, Is.EqualTo(1));
            Assert.That(policy.Errors, Does.Contain("kep").And.Contain("keep"));
        }
    }

    // What may be used is decided when the library is compiled, and the loader picks: it must be what the runtime would use here.
    [Test]
    public void TheLibraryUsesTheVectorsThatTheRunnerDoes()
    {
        string python = "import sys; sys.path.insert(0, sys.argv[1]); import parvts; info = parvts.Library(sys.argv[2]).info; print(*info['simd'], info['vector_bits'])";
        Finished run = Python("-c", python, Source("python"), NativeLibraryFiles.Library);
        string expected = $"{string.Join(' ', InstructionSets.Names)} {InstructionSets.VectorBits}";
        Assert.That(run.Code, Is.Zero, run.Errors);
        Assert.That(run.Output.Trim(), Is.EqualTo(expected), "as doctor says it");
    }

    [Test]
    public void PythonReachesTheLowLevel()
    {
        const string python = """
            import json, os, sys, tempfile
            sys.path.insert(0, sys.argv[1])
            import parvts
            with parvts.Library(sys.argv[2]) as library, library.open(sys.argv[3]) as engine:
                image = engine.image(sys.argv[4])
                prompt = engine.prompt("what color is the circle?", image)
                with engine.session() as session, engine.session() as other:
                    for one in (session, other):
                        one.keep([3, 70, 71, 143], 2)
                    result = session.generate(prompt, max_tokens=4, log_probabilities=1, hidden_layer=[1, 2])
                    file = os.path.join(tempfile.mkdtemp(), "session.safetensors")
                    session.save(file)
                    other.restore(file)
                    os.remove(file)
                    made = engine.embeddings([0.25] * 2 * engine.info["hidden"])
                    print(json.dumps({
                        "tokens": result.tokens, "log_probabilities": [float(x) for x in result.log_probabilities],
                        "rows": [len(result.hidden(layer)) // engine.info["hidden"] for layer in (1, 2)],
                        "kv": session.kv_lengths, "restored": other.kv_lengths,
                        "embedded": len(engine.prompt("what?", made).tokens) - len(engine.prompt("what?").tokens)}))
            """;
        Finished run = Python("-c", python, Source("python"), NativeLibraryFiles.Library, Host.Model, Host.Picture);
        Assert.That(run.Code, Is.Zero, run.Errors);
        using JsonDocument told = JsonDocument.Parse(run.Output);
        using var engine = Engine.Generation.Engine.Open(Host.Model);
        using Session session = engine.CreateSession("keep:layer=2,tokens=3/70/71/143");
        GenerationResult expected = session.Generate(
            engine.CreatePrompt(
                [new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)])], [engine.PrepareImage(ImageDecoder.Load(Host.Picture))]),
            new GenerationOptions { MaxTokens = 4, LogProbabilities = 1, HiddenLayers = [1, 2] });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Numbers("tokens"), Is.EqualTo(expected.Tokens));
            Assert.That(told.RootElement.GetProperty("log_probabilities").EnumerateArray().Select(one => one.GetSingle()), Is.EqualTo(expected.LogProbabilities!.Chosen.ToArray()));
            Assert.That(Numbers("rows"), Is.EqualTo(expected.HiddenRows.Select(rows => rows.Tokens.Count)));
            Assert.That(Numbers("kv"), Is.EqualTo(session.KeyValueLengths()));
            Assert.That(Numbers("restored"), Is.EqualTo(session.KeyValueLengths()));
            Assert.That(told.RootElement.GetProperty("embedded").GetInt32(), Is.GreaterThanOrEqualTo(2));
        }

        IEnumerable<int> Numbers(string name) => told.RootElement.GetProperty(name).EnumerateArray().Select(one => one.GetInt32());
    }

    // Every function by name and in order: the file that Python hosts copy cannot drift from the header.
    [Test]
    public void PythonsTableIsTheHeaders()
    {
        string[] names = [.. File.ReadLines(Source("python/parvts.py")).SkipWhile(line => !line.StartsWith("_FUNCTIONS", StringComparison.Ordinal))
            .Skip(1).TakeWhile(line => line != ")").Select(line => line.Split('"')[1])];
        Assert.That(names, Is.EqualTo(Header.Functions.Select(function => function.Name)));
    }

    private static Finished Ask(string language, params string[] arguments) => language == "c"
        ? NativeLibraryFiles.Run(NativeLibraryFiles.Compile(Source("c/ask.c"), "ask"), arguments)
        : Python([Source("python/ask.py"), NativeLibraryFiles.Library, .. arguments]);

    private static Finished Python(params string[] arguments)
    {
        if (!NativeLibraryFiles.Has("python3"))
            Assert.Ignore("there is no python3");
        return NativeLibraryFiles.Run("python3", arguments);
    }

    private static string Source(string relative) => Path.Combine(TestData.Root, "examples", relative);
}

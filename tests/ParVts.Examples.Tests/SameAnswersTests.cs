using System.Text.Json;
using ParVts.Engine.Generation;
using ParVts.Native.Tests;

namespace ParVts.Examples.Tests;

/// <summary>One question, every host: the same text, tokens and trace.</summary>
public sealed class SameAnswersTests
{
    // What the C and Python examples ask for.
    private const int MaxTokens = 16;

    private Server? _server;

    [OneTimeTearDown]
    public void Stop() => _server?.Dispose();

    // A host is added here and in AnswerOf: its program prints, or its response holds, what ResultJson writes.
    [Test]
    public async Task EveryHostAnswersAlike(
        [Values("runner", "c", "python", "csharp", "http")] string host, [Values("dense", "parvts:keep=36", "cls-prune:keep=48+fastv:layer=3,keep=20")] string policy)
    {
        int number = policy.Length % 7;
        const string Question = "how many objects are there?";
        GenerationResult expected = Demo.Ask(policy, Demo.Picture(number), Question, new GenerationOptions { MaxTokens = MaxTokens });
        JsonElement answer = await AnswerOf(host, Demo.Picture(number), Question, policy);
        JsonElement trace = answer.GetProperty("trace");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.GetProperty("text").GetString(), Is.EqualTo(expected.Text));
            Assert.That(answer.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32()), Is.EqualTo(expected.Tokens));
            Assert.That(answer.GetProperty("finish").GetString(), Is.EqualTo(ResultJson.NameOf(expected.Finish)));
            Assert.That(answer.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(expected.PromptTokens));
            Assert.That(answer.GetProperty("visual_tokens").GetInt32(), Is.EqualTo(expected.VisualTokens));
            Assert.That(answer.GetProperty("cached_tokens").GetInt32(), Is.Zero);
            Assert.That(JsonElement.DeepEquals(trace, Demo.Trace(expected)), trace.GetRawText());
        }
    }

    private async Task<JsonElement> AnswerOf(string host, string picture, string question, string policy)
    {
        switch (host)
        {
            case "runner":
                return Printed(0, "dotnet", Demo.Program("src/ParVts.Runner", "parvts"), "run", "--model", Demo.Model, "--image", picture, "--prompt", question, "--policy", policy, "--max-tokens", $"{MaxTokens}", "--json");
            case "c":
                return Printed(1, NativeLibraryFiles.Compile(Source("c/ask.c"), "ask-the-same"), Demo.Model, picture, question, policy);
            case "python":
                if (!NativeLibraryFiles.Has("python3"))
                    Assert.Ignore("there is no python3");
                return Printed(1, "python3", Source("python/ask.py"), NativeLibraryFiles.Library, Demo.Model, picture, question, policy);
            case "csharp":
                return Printed(0, "dotnet", Demo.Program("examples/csharp", "Ask"), "--model", Demo.Model, "--image", picture, "--prompt", question, "--policy", policy, "--json");
            default:
                _server ??= Server.Start();
                return (await _server.Ask(Demo.Request(question, picture, policy, MaxTokens).With("parvts_trace", true))).GetProperty("parvts");
        }
    }

    // The line of a program's output that holds its answer as JSON.
    private static JsonElement Printed(int line, string program, params string[] arguments)
    {
        Finished run = NativeLibraryFiles.Run(program, arguments);
        Assert.That(run.Code, Is.Zero, run.Errors);
        return JsonDocument.Parse(line == 0 ? run.Output : run.Output.Split('\n')[line]).RootElement;
    }

    private static string Source(string relative) => Path.Combine(TestData.Root, "examples", relative);
}

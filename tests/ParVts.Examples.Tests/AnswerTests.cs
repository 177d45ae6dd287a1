using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using ParVts.Engine.Generation;
using ParVts.Engine.Text;

namespace ParVts.Examples.Tests;

/// <summary>What the HTTP sample answers, held to the engine's own answers.</summary>
public sealed class AnswerTests
{
    private const string Question = "what color is the circle?";

    // The demo model goes on about this for a while.
    private const string Talk = "what is the top color?";

    private Server _server = null!;

    [OneTimeSetUp]
    public void Start() => _server = Server.Start();

    [OneTimeTearDown]
    public void Stop()
    {
        string errors = _server.Errors;
        _server.Dispose();
        Assert.That(errors, Is.Empty);
    }

    [TestCase("dense")]
    [TestCase("parvts:keep=36")]
    [TestCase("cls-prune:keep=48+fastv:layer=3,keep=20")]
    public async Task AnAnswerIsTheEngines(string policy)
    {
        GenerationResult expected = Demo.Ask(policy, Demo.Picture(), Question, new GenerationOptions { MaxTokens = 16 });
        JsonElement answer = await _server.Ask(Demo.Request(Question, Demo.Picture(), policy).With("parvts_trace", true));
        JsonElement usage = answer.GetProperty("usage");
        JsonElement choice = answer.GetProperty("choices")[0];
        JsonElement parvts = answer.GetProperty("parvts");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.GetProperty("object").GetString(), Is.EqualTo("chat.completion"));
            Assert.That(answer.GetProperty("id").GetString(), Does.StartWith("chatcmpl-"));
            Assert.That(answer.GetProperty("model").GetString(), Is.EqualTo(Demo.Name));
            Assert.That(answer.GetProperty("created").GetInt64(), Is.EqualTo(DateTimeOffset.UtcNow.ToUnixTimeSeconds()).Within(60));
            Assert.That(choice.GetProperty("message").GetProperty("role").GetString(), Is.EqualTo("assistant"));
            Assert.That(choice.GetProperty("message").GetProperty("content").GetString(), Is.EqualTo(expected.Text));
            Assert.That(choice.GetProperty("finish_reason").GetString(), Is.EqualTo(ResultJson.NameOf(expected.Finish)));
            Assert.That(usage.GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(expected.PromptTokens));
            Assert.That(usage.GetProperty("completion_tokens").GetInt32(), Is.EqualTo(expected.Tokens.Count));
            Assert.That(usage.GetProperty("total_tokens").GetInt32(), Is.EqualTo(expected.PromptTokens + expected.Tokens.Count));
            Assert.That(parvts.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32()), Is.EqualTo(expected.Tokens));
            Assert.That(parvts.GetProperty("policy").GetString(), Does.StartWith(policy.Split(':', '+')[0]));
            Assert.That(JsonElement.DeepEquals(parvts.GetProperty("trace"), Demo.Trace(expected)), parvts.GetProperty("trace").GetRawText());
        }
    }

    [TestCase(null, Talk)]
    [TestCase("dense", Question)]
    [TestCase("parvts:keep=36", Question)]
    public async Task AStreamSaysTheSame(string? policy, string question)
    {
        string? picture = policy is null ? null : Demo.Picture();
        JsonElement plain = await _server.Ask(Demo.Request(question, picture, policy ?? "dense").With("parvts_trace", true));
        using ServerStream stream = await _server.Open(
            Demo.Request(question, picture, policy ?? "dense").With("parvts_trace", true).With("stream_options", new JsonObject { ["include_usage"] = true }));
        StreamedAnswer answer = await stream.Read();
        string whole = plain.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
        JsonElement last = answer.Chunks[^1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Done);
            Assert.That(answer.Text, Is.EqualTo(whole));
            Assert.That(answer.Pieces.Count(piece => piece.Length > 0), Is.GreaterThan(whole.Split(' ').Length / 2), "piece by piece");
            Assert.That(answer.Choices.First().GetProperty("delta").GetProperty("role").GetString(), Is.EqualTo("assistant"));
            Assert.That(answer.Choices.SkipLast(1).Select(choice => choice.GetProperty("finish_reason").ValueKind), Is.All.EqualTo(JsonValueKind.Null));
            Assert.That(answer.Finish, Is.EqualTo(plain.GetProperty("choices")[0].GetProperty("finish_reason").GetString()));
            Assert.That(answer.Chunks.Select(chunk => chunk.GetProperty("object").GetString()), Is.All.EqualTo("chat.completion.chunk"));
            Assert.That(answer.Chunks.Select(chunk => chunk.GetProperty("id").GetString()).Distinct().Count(), Is.EqualTo(1));
            Assert.That(last.GetProperty("choices").GetArrayLength(), Is.Zero);
            Assert.That(JsonElement.DeepEquals(last.GetProperty("usage"), plain.GetProperty("usage")), last.GetRawText());
            JsonElement trace = answer.Chunks[^2].GetProperty("parvts").GetProperty("trace");
            Assert.That(JsonElement.DeepEquals(trace, plain.GetProperty("parvts").GetProperty("trace")), trace.GetRawText());
        }
    }

    [Test]
    public async Task WhatNobodyAskedForIsNotSent()
    {
        using ServerStream stream = await _server.Open(Demo.Request(Question, Demo.Picture()));
        StreamedAnswer answer = await stream.Read();
        JsonElement plain = await _server.Ask(Demo.Request(Question, Demo.Picture()));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Chunks.Any(chunk => chunk.TryGetProperty("usage", out _) || chunk.TryGetProperty("parvts", out _)), Is.False);
            Assert.That(plain.TryGetProperty("parvts", out _), Is.False);
        }
    }

    // Hot sampling puts out single bytes: characters of several bytes must come whole, and what is broken just as the engine says it.
    [TestCase(11UL)]
    [TestCase(12UL)]
    [TestCase(13UL)]
    public async Task AChunkHoldsWholeCharacters(ulong seed)
    {
        var options = new GenerationOptions { MaxTokens = 300, Temperature = 4, Seed = seed, IgnoreEndOfSequence = true };
        var pieces = new List<string>();
        Demo.Ask("dense", null, Talk, options, text => pieces.Add(text.ToString()));
        using ServerStream stream = await _server.Open(Demo.LongRequest(300).With("temperature", 4).With("seed", seed));
        StreamedAnswer answer = await stream.Read();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Text.Any(letter => letter > 127), "the test says nothing without such characters");
            Assert.That(answer.Pieces.Where(piece => piece.Length > 0), Is.EqualTo(pieces));
        }
    }

    [TestCase("\" top\"", "1 no")]
    [TestCase("[\"nowhere\", \"no t\", \"p n\"]", "1 ")]
    public async Task AStopTextEndsTheAnswer(string stop, string expected)
    {
        Assert.That((await _server.Ask(Demo.Request(Talk))).GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), Does.StartWith("1 no top no top"));
        using ServerStream stream = await _server.Open(Demo.Request(Talk).With("stop", JsonNode.Parse(stop)));
        StreamedAnswer streamed = await stream.Read();
        JsonElement plain = (await _server.Ask(Demo.Request(Talk).With("stop", JsonNode.Parse(stop)))).GetProperty("choices")[0];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(streamed.Text, Is.EqualTo(expected));
            Assert.That(streamed.Finish, Is.EqualTo("stop"));
            Assert.That(plain.GetProperty("message").GetProperty("content").GetString(), Is.EqualTo(expected));
            Assert.That(plain.GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        }
    }

    [Test]
    public async Task ASeedRepeatsAnAnswer()
    {
        string[] answers = new string[4];
        for (int i = 0; i < answers.Length; i++)
        {
            JsonObject request = Demo.LongRequest(40).With("temperature", 1.5);
            answers[i] = (await _server.Ask(i < 3 ? request.With("seed", i == 2 ? 8 : 7) : request)).GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!;
        }

        string expected = Demo.Ask("dense", null, Talk, new GenerationOptions { MaxTokens = 40, Temperature = 1.5f, Seed = 7, IgnoreEndOfSequence = true }).Text;
        Assert.That(answers[..2], Is.All.EqualTo(expected));
        Assert.That(answers.Distinct().Count(), Is.EqualTo(3), "another seed, and none at all, say something else");
    }

    [Test]
    public async Task TopPIsTaken()
    {
        JsonElement greedy = await _server.Ask(Demo.Request(Talk));
        JsonElement narrow = await _server.Ask(Demo.Request(Talk).With("temperature", 2).With("top_p", 0.0001));
        Assert.That(narrow.GetProperty("choices")[0].GetRawText(), Is.EqualTo(greedy.GetProperty("choices")[0].GetRawText()));
    }

    [TestCase("max_tokens")]
    [TestCase("max_completion_tokens")]
    public async Task ALimitOfTokensHolds(string name)
    {
        JsonObject request = Demo.Request(Talk, maxTokens: 9).With(name, 3);
        JsonElement answer = await _server.Ask(request);
        Assert.That(answer.GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(3));
        Assert.That(answer.GetProperty("choices")[0].GetProperty("finish_reason").GetString(), Is.EqualTo("length"));
    }

    // Pictures in two turns, an answer between, a system text: as the engine has it.
    [Test]
    public async Task AConversationIsTakenWhole()
    {
        const string Second = "how many objects are there?";
        string first = Demo.Ask("parvts:keep=36", Demo.Picture(), Question, new GenerationOptions { MaxTokens = 16 }).Text;
        GenerationResult expected = Demo.Ask(
            "parvts:keep=36",
            [
                new ChatMessage("system", [ChatPart.OfText("be brief")]),
                new ChatMessage("user", [ChatPart.Image, ChatPart.OfText(Question)]),
                new ChatMessage("assistant", [ChatPart.OfText(first)]),
                new ChatMessage("user", [ChatPart.OfText("and here: "), ChatPart.Image, ChatPart.OfText(Second)]),
            ],
            [Demo.Picture(), Demo.Picture(3)], new GenerationOptions { MaxTokens = 16 });
        JsonObject request = Demo.Request("", null, "parvts:keep=36").With("parvts_trace", true).With("messages", new JsonArray(
            Demo.Turn("developer", "be brief"),
            Demo.Turn("user", Demo.ImagePart(Demo.DataUri(Demo.Picture())), Demo.TextPart(Question)),
            Demo.Turn("assistant", first),
            Demo.Turn("user", Demo.TextPart("and here: "), Demo.ImagePart(Demo.DataUri(Demo.Picture(3))), Demo.TextPart(Second))));
        JsonElement parvts = (await _server.Ask(request)).GetProperty("parvts");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(expected.VisualTokens, Is.EqualTo(288));
            Assert.That(parvts.GetProperty("text").GetString(), Is.EqualTo(expected.Text));
            Assert.That(parvts.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32()), Is.EqualTo(expected.Tokens));
            Assert.That(JsonElement.DeepEquals(parvts.GetProperty("trace"), Demo.Trace(expected)), parvts.GetProperty("trace").GetRawText());
        }
    }

    [Test]
    public async Task ItSaysWhatItServes()
    {
        (HttpStatusCode status, string body, _) = await _server.Get("v1/models");
        JsonElement models = JsonDocument.Parse(body).RootElement;
        (HttpStatusCode health, string words, _) = await _server.Get("health");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(models.GetProperty("object").GetString(), Is.EqualTo("list"));
            Assert.That(models.GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()), Is.EqualTo([Demo.Name]));
            Assert.That(health, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(words, Is.EqualTo("ok\n"));
        }
    }
}

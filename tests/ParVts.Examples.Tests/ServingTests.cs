using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ParVts.Examples.Tests;

/// <summary>Places, turns, deadlines, clients that leave, and the end of the server.</summary>
public sealed class ServingTests
{
    // What the demo model's context leaves: seconds of work.
    private const int Long = 1900;

    private static readonly TimeSpan s_second = TimeSpan.FromSeconds(1);

    [Test]
    public async Task AFullServerSaysSo()
    {
        using var server = Server.Start("--workers", "1", "--queue", "1");
        using ServerStream running = await server.Open(Demo.LongRequest(Long));
        Task<JsonElement> waiting = server.Ask(Demo.LongRequest(2));
        await server.Until(page => page["parvts_requests_waiting"] == 1);
        (HttpStatusCode status, string text, HttpResponseMessage response) = await server.Post(Demo.LongRequest(2).ToJsonString());
        JsonElement error = JsonDocument.Parse(text).RootElement.GetProperty("error");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.TooManyRequests));
            Assert.That(response.Headers.RetryAfter?.Delta, Is.EqualTo(s_second));
            Assert.That(error.GetProperty("type").GetString(), Is.EqualTo("rate_limit_error"));
            Assert.That(error.GetProperty("code").GetString(), Is.EqualTo("queue_full"));
            Assert.That(error.GetProperty("message").GetString(), Does.Contain("full"));
        }

        // Who waits has its turn when the other has left, and then there is a place again.
        running.Dispose();
        Assert.That((await waiting).GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(2));
        await server.Ask(Demo.LongRequest(2));
        MetricsPage page = await server.Until(page => page["parvts_requests_total"] >= 3);
        Assert.That(page["parvts_requests_total", ("http_response_status_code", "429")], Is.EqualTo(1));
    }

    // In the middle of a stream, before the first token of a plain answer, and while it waits.
    [Test]
    public async Task WhoLeavesFreesTheSession()
    {
        using var server = Server.Start("--workers", "1", "--queue", "4");
        ServerStream stream = await server.Open(Demo.LongRequest(Long));
        for (int i = 0; i < 5; i++)
            await stream.Next();
        MetricsPage page = await server.Metrics();
        Assert.That(page["parvts_sessions"], Is.EqualTo(1));
        Assert.That(page["parvts_kv_cache_size_bytes"], Is.GreaterThan(0));
        stream.Dispose();
        page = await server.Idle(s_second);
        double made = page["parvts_tokens_total", ("gen_ai_token_type", "output")];
        Assert.That(made, Is.InRange(4, Long - 100), "the rest of the answer was not made");

        using var leaving = new CancellationTokenSource();
        Task plain = server.Post(Demo.LongRequest(Long).ToJsonString(), leaving.Token);
        await server.Until(metrics => metrics["parvts_sessions"] == 1);
        Task waiting = server.Post(Demo.LongRequest(Long).ToJsonString(), leaving.Token);
        await server.Until(metrics => metrics["parvts_requests_waiting"] == 1);
        await leaving.CancelAsync();
        Assert.That(async () => await plain, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(async () => await waiting, Throws.InstanceOf<OperationCanceledException>());
        await server.Idle(s_second);
        page = await server.Until(metrics => metrics["parvts_requests_total"] >= 3);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(page["parvts_requests_total", ("http_response_status_code", "499")], Is.EqualTo(3));
            Assert.That(page["parvts_requests_total"], Is.EqualTo(3));
            Assert.That(page["parvts_tokens_total", ("gen_ai_token_type", "output")] - made, Is.LessThan(Long - 100));
            Assert.That(server.Errors, Is.Empty);
        }
    }

    [Test]
    public async Task AnAnswerThatTakesTooLongIsCutOff()
    {
        // Eight at a time, so that a second is not enough on any machine; the stream begins alone, so that it does begin on a busy one.
        using var server = Server.Start("--workers", "8", "--deadline", "1");
        using ServerStream stream = await server.Open(Demo.LongRequest(Long));
        Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)>[] plain =
            [.. Enumerable.Range(0, 7).Select(_ => server.Post(Demo.LongRequest(Long).ToJsonString()))];
        StreamedAnswer cut = await stream.Read();
        Assert.That(cut.Done, Is.False);
        Assert.That(cut.Chunks[^1].GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("deadline_exceeded"));
        foreach ((HttpStatusCode status, string body, _) in await Task.WhenAll(plain))
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(JsonDocument.Parse(body).RootElement.GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("deadline_exceeded"));
        }

        await server.Idle(s_second);
        Assert.That(server.Errors, Is.Empty);
    }

    [Test]
    public async Task TheEndIsOrderly()
    {
        using var server = Server.Start("--workers", "1");
        using ServerStream running = await server.Open(Demo.LongRequest(Long).With("stream_options", new JsonObject { ["include_usage"] = true }));
        await running.Next();
        Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> waiting = server.Post(Demo.LongRequest(2).ToJsonString());
        await server.Until(page => page["parvts_requests_waiting"] == 1);
        server.Terminate();
        (HttpStatusCode status, string body, _) = await waiting;
        (HttpStatusCode late, string reason, HttpResponseMessage response) = await server.Post(Demo.LongRequest(2).ToJsonString());
        (HttpStatusCode health, _, _) = await server.Get("health");
        StreamedAnswer answer = await running.Read();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(status, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(body, Does.Contain("shutting_down"));
            Assert.That(late, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(reason, Does.Contain("shutting_down"));
            Assert.That(response.Headers.RetryAfter?.Delta, Is.EqualTo(s_second));
            Assert.That(health, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
            Assert.That(answer.Done, "what runs is finished");
            Assert.That(answer.Chunks[^1].GetProperty("usage").GetProperty("completion_tokens").GetInt32(), Is.EqualTo(Long));
            Assert.That(server.ExitCode(), Is.Zero);
            Assert.That(server.Errors, Is.Empty);
        }
    }

    [Test]
    public async Task TheEndDoesNotWaitForever()
    {
        using var server = Server.Start("--workers", "1", "--drain", "0");
        using ServerStream running = await server.Open(Demo.LongRequest(Long));
        await running.Next();
        server.Terminate();
        StreamedAnswer answer = await running.Read();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Done, Is.False);
            Assert.That(answer.Chunks[^1].GetProperty("error").GetProperty("code").GetString(), Is.EqualTo("shutting_down"));
            Assert.That(server.ExitCode(), Is.Zero);
        }
    }

    [TestCase(2, "--model", "--nonsense", "1")]
    [TestCase(2, "--workers", "--workers", "0")]
    [TestCase(3, "config.json", "--model", "/nowhere")]
    [TestCase(4, "cuda:99", "--device", "cuda:99")]
    public void AWrongStartIsExplained(int code, string message, params string[] options)
    {
        var start = new ProcessStartInfo("dotnet") { UseShellExecute = false, RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (string argument in (string[])[Demo.Program("examples/http", "parvts-http"), "--model", Demo.Model, .. options])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(process.ExitCode, Is.EqualTo(code), errors);
            Assert.That(errors, Does.Contain(message).And.Not.Contain("   at "));
        }
    }
}

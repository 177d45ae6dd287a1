using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ParVts.Examples.Tests;

/// <summary>Sixty-four clients at once, a third of which leave before their answer is there.</summary>
public sealed class LoadTests
{
    private const int Clients = 64;
    private const double MostGrowth = 1.1;
    private const double MostMebibytes = 320;

    private static readonly (string Policy, int Picture, string Question)[] s_questions =
    [
        ("dense", 0, "what color is the circle?"), ("parvts:keep=36", 1, "how many objects are there?"), ("parvts:keep=36", 3, "what color is the background?"),
        ("vtw:layer=4", 5, "what color is the cross?"), ("fastv:layer=2,keep=0.5", 6, "how many objects are there?"),
    ];

    private readonly ConcurrentDictionary<int, int> _statuses = new();
    private readonly ConcurrentDictionary<int, string> _answers = new();
    private readonly ConcurrentBag<string> _wrong = [];
    private int _left;
    private int _leftStream;

    [Test]
    public async Task ManyClientsAreServed()
    {
        TimeSpan duration = TimeSpan.FromSeconds(TestData.Full ? 120 : 8);
        using var server = Server.Start("--workers", "2", "--queue", "6");
        var resident = new List<long>();
        using var end = new CancellationTokenSource(duration);
        Task[] clients = [.. Enumerable.Range(0, Clients).Select(client => Task.Run(() => Run(server, client, end.Token)))];
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < duration)
        {
            resident.Add(server.ResidentBytes);
            await Task.Delay(100);
        }

        await Task.WhenAll(clients);
        await server.Idle(TimeSpan.FromSeconds(1));
        MetricsPage page = await server.Until(page => page["parvts_requests_total"] >= _statuses.Values.Sum());
        double[] quarters = [.. resident.Chunk((resident.Count + 3) / 4).Select(quarter => quarter.Average() / (1 << 20))];
        string report = $"{string.Join(", ", _statuses.OrderBy(status => status.Key).Select(status => $"{status.Value} × {status.Key}"))}, {_left} left before a word came and {_leftStream} in mid-stream; "
            + $"memory by quarters {string.Join(", ", quarters.Select(mean => $"{mean:0.0}"))} MiB, {resident.Max() >> 20} MiB at most; "
            + $"{page["parvts_tokens_total", ("gen_ai_token_type", "output")]} tokens made";
        TestContext.Out.WriteLine(report);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(_wrong, Is.Empty);
            Assert.That(_statuses.Keys, Is.SubsetOf([200, 429, 503]), report);
            Assert.That(_statuses.GetValueOrDefault(200), Is.GreaterThan(TestData.Full ? 100 : 3), report);
            Assert.That(_statuses.GetValueOrDefault(429), Is.GreaterThan(0), "more clients than places: " + report);
            Assert.That(_left, Is.GreaterThan(0), report);
            Assert.That(_leftStream, Is.GreaterThan(0), report);
            Assert.That(page["parvts_requests_total", ("http_response_status_code", "200")], Is.GreaterThanOrEqualTo(_statuses.GetValueOrDefault(200)));
            Assert.That(page["parvts_requests_total", ("http_response_status_code", "500")], Is.Zero);

            // In eight seconds a process only warms up.
            Assert.That(quarters[^1], Is.LessThan(TestData.Full ? MostGrowth * quarters[1] : MostMebibytes), report);
            Assert.That(server.Errors, Is.Empty);
        }

        server.Terminate();
        Assert.That(server.ExitCode(), Is.Zero);
    }

    private async Task Run(Server server, int client, CancellationToken end)
    {
        var random = new Random(client);
        while (!end.IsCancellationRequested)
        {
            int number = random.Next(s_questions.Length);
            (string policy, int picture, string question) = s_questions[number];
            JsonObject request = Demo.Request(question, Demo.Picture(picture), policy);
            try
            {
                if (client % 3 == 0)
                    await Leave(server, request, random);
                else if (random.Next(2) == 0)
                    await Stream(server, number, request);
                else
                    await Ask(server, number, request);
            }
            catch (Exception error)
            {
                _wrong.Add(error.ToString());
                return;
            }
        }
    }

    private async Task Ask(Server server, int number, JsonObject request)
    {
        (HttpStatusCode status, string body, HttpResponseMessage response) = await server.Post(request.ToJsonString());
        if (status == HttpStatusCode.OK)
            Heard(number, JsonDocument.Parse(body).RootElement.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!);
        await Served(status, body, response.Headers.RetryAfter is not null);
    }

    private async Task Stream(Server server, int number, JsonObject request)
    {
        using ServerStream stream = await server.Open(request);
        if (stream.Status != HttpStatusCode.OK)
        {
            await Served(stream.Status, await stream.Rest(), true);
            return;
        }

        StreamedAnswer answer = await stream.Read();
        if (!answer.Done)
            _wrong.Add($"a stream broke off: {answer.Chunks[^1]}");
        Heard(number, answer.Text);
        await Served(stream.Status, "", false);
    }

    // After a while of waiting, or at the first words.
    private async Task Leave(Server server, JsonObject request, Random random)
    {
        request["ignore_eos"] = true;
        request["max_tokens"] = 200;
        using var patience = new CancellationTokenSource(random.Next(2) == 0 ? random.Next(20, 2000) : Timeout.Infinite);
        try
        {
            using ServerStream stream = await server.Open(request, patience.Token);
            if (stream.Status != HttpStatusCode.OK)
            {
                await Served(stream.Status, await stream.Rest(), true);
                return;
            }

            for (int events = random.Next(1, 10); events > 0; events--)
                await stream.Next();
            Interlocked.Increment(ref _leftStream);
        }
        catch (OperationCanceledException)
        {
            Interlocked.Increment(ref _left);
        }
    }

    // The same question has the same answer, whoever asks.
    private void Heard(int number, string text)
    {
        if (_answers.GetOrAdd(number, text) != text)
            _wrong.Add($"question {number}: '{text}', and '{_answers[number]}' before");
    }

    private async Task Served(HttpStatusCode status, string body, bool retry)
    {
        _statuses.AddOrUpdate((int)status, 1, (_, count) => count + 1);
        if (status == HttpStatusCode.OK)
            return;
        if (!retry || !body.Contains("\"error\"", StringComparison.Ordinal))
            _wrong.Add($"{status} without a reason: {body}");
        await Task.Delay(300);
    }
}

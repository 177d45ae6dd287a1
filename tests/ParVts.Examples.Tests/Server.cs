using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ParVts.Examples.Tests;

/// <summary>The HTTP sample as a process of its own, with the demo model, on a free port of this machine.</summary>
internal sealed class Server : IDisposable
{
    private const string Chat = "v1/chat/completions";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly HttpClient _client;
    private readonly StringBuilder _errors = new();

    private Server(params string[] options)
    {
        var start = new ProcessStartInfo("dotnet") { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        string[] arguments = [Demo.Program("examples/http", "parvts-http"), "--model", Demo.Model, "--name", Demo.Name, "--urls", "http://127.0.0.1:0", .. options];
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, line) => Log(line.Data);
        _process.BeginErrorReadLine();
        string? ready = _process.StandardOutput.ReadLine();
        if (ready is null)
            throw new AssertionException($"the server did not start: {Errors}");
        _ = Task.Run(async () =>
        {
            while (await _process.StandardOutput.ReadLineAsync() is string line)
                Log(line);
        });
        int address = ready.IndexOf("http://", StringComparison.Ordinal);

        // Who leaves a stream closes the connection at once, and does not read on for a while.
        _client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1000, MaxResponseDrainSize = 0, ResponseDrainTimeout = TimeSpan.Zero })
        {
            BaseAddress = new Uri(ready[address..ready.IndexOf(',', address)]),
            Timeout = s_patience,
        };
    }

    /// <summary>What it has said beside its first line; nothing, where no request failed by its own fault.</summary>
    public string Errors
    {
        get
        {
            lock (_errors)
                return _errors.ToString();
        }
    }

    /// <summary>Bytes of memory that the process occupies now.</summary>
    public long ResidentBytes => 1024 * long.Parse(
        File.ReadLines($"/proc/{_process.Id}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    public static Server Start(params string[] options) => new(options);

    /// <summary>Asks, and expects an answer.</summary>
    public async Task<JsonElement> Ask(JsonObject request)
    {
        (HttpStatusCode status, string body, _) = await Post(request.ToJsonString());
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body);
        return JsonDocument.Parse(body).RootElement;
    }

    /// <summary>Sends a body as it stands.</summary>
    public Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> Post(string body, CancellationToken cancellation = default) =>
        Post(new StringContent(body, Encoding.UTF8, "application/json"), cancellation);

    /// <summary>Sends a body as it stands.</summary>
    public async Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> Post(HttpContent body, CancellationToken cancellation = default)
    {
        HttpResponseMessage response = await _client.PostAsync(Chat, body, cancellation);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(cancellation), response);
    }

    /// <summary>Asks for a stream; the response's headers have come when it returns.</summary>
    public async Task<ServerStream> Open(JsonObject request, CancellationToken cancellation = default)
    {
        var message = new HttpRequestMessage(HttpMethod.Post, Chat) { Content = new StringContent(request.Streamed().ToJsonString(), Encoding.UTF8, "application/json") };
        return new ServerStream(await _client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellation));
    }

    /// <summary>Gets a page.</summary>
    public async Task<(HttpStatusCode Status, string Body, HttpResponseMessage Response)> Get(string path)
    {
        HttpResponseMessage response = await _client.GetAsync(path);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(), response);
    }

    /// <summary>What it has measured so far.</summary>
    public async Task<MetricsPage> Metrics() => MetricsPage.Parse((await Get("metrics")).Body);

    /// <summary>Waits until nothing runs, waits or is open; fails where that takes longer.</summary>
    public async Task<MetricsPage> Idle(TimeSpan patience)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            TimeSpan asked = watch.Elapsed;
            MetricsPage page = await Metrics();
            string busy = string.Join(", ", MetricsPage.Busy.Where(name => page[name] != 0).Select(name => $"{name} {page[name]}"));
            if (busy.Length == 0)
                return page;
            if (asked > patience)
                throw new AssertionException($"still busy after {asked.TotalSeconds:0.0} s: {busy}");
            await Task.Delay(20);
        }
    }

    /// <summary>Waits until its metrics say so: a request is counted when its response has ended, which is after the client has read it.</summary>
    public async Task<MetricsPage> Until(Func<MetricsPage, bool> holds)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            MetricsPage page = await Metrics();
            if (holds(page))
                return page;
            Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)), "it does not come to that");
            await Task.Delay(5);
        }
    }

    /// <summary>Asks it to end, as a system does.</summary>
    public void Terminate()
    {
        using var kill = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
        kill.WaitForExit();
    }

    /// <summary>Its exit code, once it has ended by itself.</summary>
    public int ExitCode()
    {
        if (!_process.WaitForExit(s_patience))
            throw new AssertionException("the server does not end");
        _process.WaitForExit();
        return _process.ExitCode;
    }

    public void Dispose()
    {
        _client.Dispose();
        if (!_process.HasExited)
            _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private void Log(string? line)
    {
        if (line is null)
            return;
        lock (_errors)
            _errors.AppendLine(line);
    }
}

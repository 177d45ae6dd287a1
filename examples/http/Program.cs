using System.Diagnostics;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http.Features;
using ParVts.Engine;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Text;

namespace ChatServer;

/// <summary>An OpenAI-compatible server round one engine; README.md says how to use it, and what its limits are.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        try
        {
            Settings settings = Settings.Parse(arguments);
            using var engine = Engine.Open(settings.Model, new EngineOptions { Device = settings.Device, Threads = settings.Threads });
            await Serve(engine, settings);
            return 0;
        }
        catch (Exception error) when (error is ParVtsException or ArgumentException or IOException)
        {
            await Console.Error.WriteLineAsync($"parvts-http: {error.Message}");
            return error switch { ArgumentException => 2, ModelFormatException => 3, DeviceException or MissingLibraryException => 4, _ => 1 };
        }
    }

    private static async Task Serve(Engine engine, Settings settings)
    {
        long started = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        using var gate = new Gate(settings.Workers, settings.Queue);
        using var metrics = new ServerMetrics(settings.Name, gate);
        var chat = new Chat(engine, settings, gate, metrics);

        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddSimpleConsole().SetMinimumLevel(LogLevel.Warning);
        builder.WebHost.UseUrls(settings.Urls);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = settings.MaxBody;
            kestrel.Limits.MaxConcurrentConnections = settings.Connections;
        });

        await using WebApplication app = builder.Build();
        app.UseStatusCodePages(context => Refusal.Write(context.HttpContext, Refusal.OfStatus(context.HttpContext)));
        app.MapPost("/v1/chat/completions", chat.Answer);
        app.MapGet("/v1/models", http => http.Response.WriteAsJsonAsync(new ModelList([new ModelEntry(settings.Name, started)]), Json.Wire.ModelList));
        app.MapGet("/metrics", http =>
        {
            http.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
            return http.Response.WriteAsync(metrics.Scrape());
        });
        app.MapGet("/health", http =>
        {
            http.Response.StatusCode = gate.Draining.IsCancellationRequested ? 503 : 200;
            return http.Response.WriteAsync(gate.Draining.IsCancellationRequested ? "shutting down\n" : "ok\n");
        });
        await app.StartAsync();
        Console.WriteLine($"'{settings.Name}' on {engine.DeviceName} at {string.Join(", ", app.Urls)}, {settings.Workers} at once, {settings.Queue} waiting");

        // What runs is finished before the listener closes, so that whoever comes meanwhile is told why and not just turned away.
        var stopping = new TaskCompletionSource();
        using CancellationTokenRegistration signal = app.Lifetime.ApplicationStopping.Register(stopping.SetResult);
        await stopping.Task;
        await gate.Drain(settings.Drain);
        await app.StopAsync();
    }
}

/// <summary>
/// Bounds what is accepted at all, and what runs at once. A request has a place from its first byte until its answer is made; of those that
/// have a place, some have a turn, and the others wait, first come, first served. Any thread.
/// </summary>
internal sealed class Gate(int workers, int queue) : IDisposable
{
    private readonly SemaphoreSlim _places = new(workers + queue);
    private readonly SemaphoreSlim _turns = new(workers);
    private readonly CancellationTokenSource _draining = new();
    private readonly CancellationTokenSource _ending = new();
    private int _waiting;

    public int Waiting => Volatile.Read(ref _waiting);

    public int Running => workers - _turns.CurrentCount;

    /// <summary>Nothing begins any more.</summary>
    public CancellationToken Draining => _draining.Token;

    /// <summary>What runs is cut off.</summary>
    public CancellationToken Ending => _ending.Token;

    public void Enter()
    {
        if (Draining.IsCancellationRequested)
            throw Refusal.Stopping();
        if (!_places.Wait(0))
            throw new Refusal(429, $"the server is full: {workers} answers are being made and {queue} requests wait; try again later", "queue_full");
    }

    public void Leave() => _places.Release();

    public async Task BeginTurn(CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, Draining);
        Interlocked.Increment(ref _waiting);
        try
        {
            await _turns.WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (Draining.IsCancellationRequested)
        {
            throw Refusal.Stopping();
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    public void EndTurn() => _turns.Release();

    /// <summary>Lets nothing begin, waits for what runs, and cuts off what takes longer.</summary>
    public async Task Drain(TimeSpan limit)
    {
        await _draining.CancelAsync();
        using var late = new CancellationTokenSource(limit);
        using CancellationTokenRegistration end = late.Token.Register(_ending.Cancel);
        for (int i = 0; i < workers; i++)
            await _turns.WaitAsync(CancellationToken.None);
    }

    public void Dispose()
    {
        _places.Dispose();
        _turns.Dispose();
        _draining.Dispose();
        _ending.Dispose();
    }
}

/// <summary>A request as the engine takes it: whatever can be checked before its turn is.</summary>
internal sealed class Job
{
    private readonly List<ChatMessage> _messages = [];
    private readonly List<byte[]> _images = [];
    private readonly VisualTokenPolicy _policy;
    private readonly GenerationOptions _options;

    public Job(ChatRequest request, Engine engine, Settings settings)
    {
        string? other = request.Others?.FirstOrDefault(other => other.Value.ValueKind != JsonValueKind.Null).Key;
        Require(other is null, "is not supported here", other);
        if (request.Model is not null && request.Model != settings.Name)
            throw new Refusal(404, $"there is no model '{request.Model}' here; there is '{settings.Name}'", "model_not_found", "model");
        Require(request.N is null or 1, "must be 1: one answer a request", "n");
        Require(request.Messages is { Count: > 0 and <= Settings.MaxMessages }, $"must be a list of 1 to {Settings.MaxMessages} messages", "messages");
        for (int i = 0; i < request.Messages!.Count; i++)
            _messages.Add(Read(request.Messages[i], $"messages[{i}]", settings.MaxImages));
        Require(_messages[^1].Role == "user", "must end with a message of the role 'user'", "messages");
        long characters = _messages.Sum(message => message.Content.Sum(part => (long)part.Text.Length));
        if (characters > (long)Settings.MaxCharactersPerToken * engine.Config.Text.MaxPositions)
            throw TooLong($"the text has {characters} characters");

        string policy = request.Policy ?? "dense";
        Require(policy.Length <= Settings.MaxPolicyLength, $"is longer than {Settings.MaxPolicyLength} characters", "policy");
        _policy = PolicyRegistry.Create(policy, files: false);
        IReadOnlyList<string?> stops = request.Stop ?? [];
        Require(stops.Count <= Settings.MaxStops, $"has more than {Settings.MaxStops} texts", "stop");
        Require(stops.All(text => text?.Length is > 0 and <= Settings.MaxStopLength), $"must be of 1 to {Settings.MaxStopLength} characters", "stop");
        _options = new GenerationOptions
        {
            MaxTokens = request.MaxCompletionTokens ?? request.MaxTokens ?? settings.MaxTokens,
            Temperature = request.Temperature ?? 0,
            TopP = request.TopP ?? 1,
            Seed = (ulong)(request.Seed ?? Random.Shared.NextInt64()),
            Stop = [.. stops.OfType<string>()],
            IgnoreEndOfSequence = request.IgnoreEos is true,
        };
        _options.Validate();
    }

    /// <summary>Answers, on the calling thread: pictures, prompt, a session for this request alone.</summary>
    public Answered Run(Engine engine, Settings settings, ServerMetrics metrics, TextSink onText, CancellationToken stop)
    {
        var decoding = new ImageDecodeOptions { Limits = new ImageLimits { MaxPixels = settings.MaxPixels } };
        var images = new List<PromptImage>();
        foreach (byte[] image in _images)
        {
            stop.ThrowIfCancellationRequested();
            images.Add(engine.PrepareImage(ImageDecoder.Decode(image, decoding)));
        }

        Prompt prompt = engine.CreatePrompt(_messages, images);
        if (prompt.Length >= engine.Config.Text.MaxPositions)
            throw TooLong($"the prompt has {prompt.Length} tokens, {prompt.VisualTokens} of them visual, and the context {engine.Config.Text.MaxPositions}");
        using Session session = engine.CreateSession(_policy);
        using IDisposable watch = metrics.Watch(session);
        GenerationResult result = session.Generate(prompt, _options, onText, stop);
        return new Answered(result, session.Policy, engine.DeviceName);
    }

    private ChatMessage Read(ChatTurn? turn, string place, int maxImages)
    {
        string? role = turn?.Role is "developer" ? "system" : turn?.Role;
        Require(role is "system" or "user" or "assistant", "must be 'system', 'user' or 'assistant'", place + ".role");
        Require(turn!.Content is { Count: > 0 }, "must be a text, or a list of parts", place + ".content");
        var parts = new List<ChatPart>();
        foreach (TurnPart? part in turn.Content!)
        {
            string where = $"{place}.content[{parts.Count}]";
            if (part is { Type: "text", Text: not null })
            {
                parts.Add(ChatPart.OfText(part.Text));
                continue;
            }

            Require(part is { Type: "image_url", ImageUrl.Url: not null }, "must be {\"type\": \"text\", \"text\": …} or {\"type\": \"image_url\", \"image_url\": {\"url\": …}}", where);
            Require(role == "user", "is a picture, which only a message of the role 'user' may have", where);
            Require(_images.Count < maxImages, $"is a picture too many: {maxImages} may be sent", where);
            _images.Add(Picture(part!.ImageUrl!.Url!, where + ".image_url.url"));
            parts.Add(ChatPart.Image);
        }

        return new ChatMessage(role!, parts);
    }

    private static byte[] Picture(string url, string place)
    {
        int comma = url.IndexOf(',');
        bool inline = url.StartsWith("data:image/", StringComparison.OrdinalIgnoreCase) && comma > 0
            && url.AsSpan(0, comma).EndsWith(";base64", StringComparison.OrdinalIgnoreCase);
        Require(inline, "must be a data URI, as in data:image/png;base64,…; this server fetches nothing", place);
        byte[] bytes = new byte[(url.Length - comma) / 4 * 3 + 3];
        Require(Convert.TryFromBase64Chars(url.AsSpan(comma + 1), bytes, out int count), "is not base64", place);
        return bytes[..count];
    }

    private static Refusal TooLong(string what) => new(400, what + ": shorten the conversation, or send fewer pictures", "context_length_exceeded", "messages");

    private static void Require(bool condition, string what, string? parameter)
    {
        if (!condition)
            throw new Refusal(400, $"'{parameter}' {what}", "invalid_value", parameter);
    }
}

/// <summary>Answers requests. Any thread.</summary>
internal sealed class Chat(Engine engine, Settings settings, Gate gate, ServerMetrics metrics)
{
    public async Task Answer(HttpContext http)
    {
        var clock = Stopwatch.StartNew();
        int status = 200;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, gate.Ending);
        stop.CancelAfter(settings.Deadline);
        try
        {
            await Answer(http, clock, stop);
        }
        catch (Exception error)
        {
            var refusal = Refusal.Of(error, http, gate);
            status = refusal.Status;

            // A stream that has begun ends with the error, and without [DONE].
            await (http.Response.HasStarted ? Send(http, JsonSerializer.Serialize(refusal.Body, Json.Wire.ErrorBody)) : Refusal.Write(http, refusal));
        }
        finally
        {
            metrics.Served(status, clock.Elapsed);
        }
    }

    private async Task Answer(HttpContext http, Stopwatch clock, CancellationTokenSource stop)
    {
        var pieces = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        (ChatRequest request, Task<Answered> work) = await Begin(http, clock, pieces.Writer, stop.Token);
        try
        {
            var reply = new Completion("chatcmpl-" + Guid.NewGuid().ToString("N"), "chat.completion", DateTimeOffset.UtcNow.ToUnixTimeSeconds(), settings.Name);
            if (request.Stream is true)
            {
                await Stream(http, request, pieces.Reader, work, reply with { Object = "chat.completion.chunk" });
                return;
            }

            Answered done = await work;
            reply = reply with { Choices = [new Choice(done.Finish) { Message = new Said(done.Result.Text, "assistant") }], Usage = done.Usage, Parvts = request.ParvtsTrace is true ? done : null };
            await http.Response.WriteAsJsonAsync(reply, Json.Wire.Completion);
        }
        finally
        {
            // Whatever went wrong here, nothing is computed for nobody; and the token lives as long as the work.
            await stop.CancelAsync();
            await Task.WhenAny(work);
        }
    }

    // A place is taken before the body is read, so that bodies in memory are bounded, too. Place and turn end with the work, not with the
    // response: a client that reads slowly holds neither.
    private async Task<(ChatRequest Request, Task<Answered> Work)> Begin(HttpContext http, Stopwatch clock, ChannelWriter<string> pieces, CancellationToken stop)
    {
        gate.Enter();
        bool begun = false;
        try
        {
            if (!http.Request.HasJsonContentType())
                throw new Refusal(415, "the body must be sent as application/json", "unsupported_media_type");
            if (http.Request.ContentLength > settings.MaxBody)
            {
                // The server reads what comes and throws it away, or the connection would break before the client has read why.
                http.Features.GetRequiredFeature<IHttpMaxRequestBodySizeFeature>().MaxRequestBodySize = null;
                throw Refusal.TooLarge();
            }

            ChatRequest request = await JsonSerializer.DeserializeAsync(http.Request.Body, Json.Default.ChatRequest, stop)
                ?? throw new Refusal(400, "the body must be a JSON object, not null", "invalid_json");
            var job = new Job(request, engine, settings);
            await gate.BeginTurn(stop);
            begun = true;

            // A thread of its own: an answer computes for seconds, and the pool's threads serve connections.
            return (request with { Messages = null }, Task.Factory.StartNew(() => Work(job, clock, pieces, stop), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
        }
        finally
        {
            if (!begun)
                gate.Leave();
        }
    }

    private Answered Work(Job job, Stopwatch clock, ChannelWriter<string> pieces, CancellationToken stop)
    {
        try
        {
            Answered done = job.Run(engine, settings, metrics, text => pieces.TryWrite(text.ToString()), stop);
            metrics.Made(done.Result, clock.Elapsed);
            return done.Result.Finish == FinishReason.Cancelled ? throw new OperationCanceledException() : done;
        }
        finally
        {
            gate.EndTurn();
            gate.Leave();
            pieces.Complete();
        }
    }

    private static async Task Stream(HttpContext http, ChatRequest request, ChannelReader<string> pieces, Task<Answered> work, Completion chunk)
    {
        // Until there is something to say, an error still has a status of its own.
        if (!await pieces.WaitToReadAsync())
            await work;
        http.Response.ContentType = "text/event-stream";
        http.Response.Headers.CacheControl = "no-cache";
        await Say(new Choice(null) { Delta = new Said("", "assistant") });
        await foreach (string piece in pieces.ReadAllAsync())
            await Say(new Choice(null) { Delta = new Said(piece) });
        Answered done = await work;
        chunk = chunk with { Parvts = request.ParvtsTrace is true ? done : null };
        await Say(new Choice(done.Finish) { Delta = new Said() });
        if (request.StreamOptions?.IncludeUsage is true)
            await Send(http, JsonSerializer.Serialize(chunk with { Choices = [], Usage = done.Usage, Parvts = null }, Json.Wire.Completion));
        await Send(http, "[DONE]");

        Task Say(Choice choice) => Send(http, JsonSerializer.Serialize(chunk with { Choices = [choice] }, Json.Wire.Completion));
    }

    private static Task Send(HttpContext http, string data) => http.Response.WriteAsync($"data: {data}\n\n");
}

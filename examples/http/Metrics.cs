using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using ParVts.Engine.Generation;

namespace ChatServer;

/// <summary>
/// What the server measures, by the names of OpenTelemetry's semantic conventions for generative AI where these have one; the README lists
/// all. Any thread.
/// </summary>
internal sealed class ServerMetrics : IDisposable
{
    private static readonly double[] s_firstToken = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    private static readonly double[] s_perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
    private static readonly double[] s_duration = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    private static readonly double[] s_speed = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

    private readonly Meter _meter = new("ChatServer");
    private readonly MeterProvider _provider;
    private readonly PrometheusText _text = new();
    private readonly ConcurrentDictionary<Session, bool> _sessions = new();
    private readonly KeyValuePair<string, object?>[] _model;
    private readonly Histogram<double> _firstToken;
    private readonly Histogram<double> _perToken;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _speed;
    private readonly Counter<long> _requests;
    private readonly Counter<long> _tokens;
    private readonly Counter<long> _visual;
    private readonly Counter<long> _kept;

    public ServerMetrics(string model, Gate gate)
    {
        _model = [new("gen_ai.operation.name", "chat"), new("gen_ai.provider.name", "parvts"), new("gen_ai.request.model", model)];
        _firstToken = Histogram("gen_ai.server.time_to_first_token", "s", "From a request's first byte to the first token of its answer.", s_firstToken);
        _perToken = Histogram("gen_ai.server.time_per_output_token", "s", "Mean time of a token after the first, of each answer.", s_perToken);
        _duration = Histogram("gen_ai.server.request.duration", "s", "From a request's first byte to the last of its response.", s_duration);
        _speed = Histogram("parvts.decode.tokens", "{token}/s", "Tokens a second after the first, of each answer.", s_speed);
        _requests = _meter.CreateCounter<long>("parvts.requests", "{request}", "Requests, by the status that they were answered with; 499: the client left.");
        _tokens = _meter.CreateCounter<long>("parvts.tokens", "{token}", "Tokens of prompts (input) and of answers (output).");
        _visual = _meter.CreateCounter<long>("parvts.visual_tokens", "{token}", "Visual tokens of the pictures that were asked about.");
        _kept = _meter.CreateCounter<long>("parvts.visual_tokens.kept", "{token}", "Of these, those that were left after the last layer.");
        _meter.CreateObservableGauge("parvts.kv_cache.size", () => _sessions.Keys.Sum(session => session.KeyValueBytes), "By", "Bytes of keys and values that sessions hold.");
        _meter.CreateObservableGauge("parvts.sessions", () => _sessions.Count, "{session}", "Sessions that are open.");
        _meter.CreateObservableGauge("parvts.requests.running", () => gate.Running, "{request}", "Requests whose answer is being made.");
        _meter.CreateObservableGauge("parvts.requests.waiting", () => gate.Waiting, "{request}", "Requests that wait for their turn.");
        _provider = Sdk.CreateMeterProviderBuilder().AddMeter(_meter.Name).AddReader(new BaseExportingMetricReader(_text)).Build();
    }

    public string Scrape() => _text.Scrape();

    /// <summary>Counts a session as open until what is returned is disposed.</summary>
    public IDisposable Watch(Session session)
    {
        _sessions.TryAdd(session, true);
        return new Watched(_sessions, session);
    }

    /// <summary>An answer was made, or cut off.</summary>
    /// <param name="result">The answer.</param>
    /// <param name="elapsed">Since the request's first byte; the engine's own clock started later.</param>
    public void Made(GenerationResult result, TimeSpan elapsed)
    {
        _tokens.Add(result.PromptTokens, [.. _model, new("gen_ai.token.type", "input")]);
        _tokens.Add(result.Tokens.Count, [.. _model, new("gen_ai.token.type", "output")]);
        if (result.Finish == FinishReason.Cancelled)
            return;
        _visual.Add(result.VisualTokens, _model);
        _kept.Add(result.Trace.KeptAt(result.Trace.RowsByLayer.Length).Count, _model);
        _firstToken.Record((elapsed.TotalMilliseconds - result.Times.Total + result.Times.FirstToken) / 1000, _model);
        if (result.Times.DecodePerToken <= 0)
            return;
        _perToken.Record(result.Times.DecodePerToken / 1000, _model);
        _speed.Record(1000 / result.Times.DecodePerToken, _model);
    }

    /// <summary>A response has ended.</summary>
    public void Served(int status, TimeSpan elapsed)
    {
        _requests.Add(1, new KeyValuePair<string, object?>("http.response.status_code", status));
        _duration.Record(elapsed.TotalSeconds, status == 200 ? _model : [.. _model, new("error.type", status)]);
    }

    public void Dispose()
    {
        _provider.Dispose();
        _meter.Dispose();
    }

    private Histogram<double> Histogram(string name, string unit, string description, double[] bounds) =>
        _meter.CreateHistogram(name, unit, description, tags: null, new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });

    private sealed class Watched(ConcurrentDictionary<Session, bool> sessions, Session session) : IDisposable
    {
        public void Dispose() => sessions.TryRemove(session, out _);
    }
}

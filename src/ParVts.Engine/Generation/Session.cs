using ParVts.Engine.Compute;
using ParVts.Engine.Models;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Text;

namespace ParVts.Engine.Generation;

/// <summary>
/// A KV cache and the memory to run in. One caller at a time (a second one is refused with an
/// <see cref="InvalidOperationException"/>); <see cref="Dispose"/> may be called from any thread, also while another
/// generates: the answer then ends as cancelled.
/// <para>
/// A prompt is always the whole conversation. What it shares with the cache from its beginning on is not computed
/// again, so a further turn costs only its own rows.
/// </para>
/// </summary>
public sealed partial class Session : IDisposable
{
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _disposal = new();
    private readonly Engine _engine;
    private readonly ComputeDevice _device;
    private readonly LlavaRun _run;
    private readonly ScheduleState _state = new();
    private readonly ScheduleTrace _trace;
    private readonly CachedTurns _turns = new();
    private readonly VisionState _visionState = new();
    private readonly List<int> _labels = [];
    private readonly DecodeState _decodeState;
    private readonly Detokenizer? _detokenizer;
    private readonly float[] _logits;
    private readonly List<int> _cachedIds = [];
    private readonly List<byte[]> _cachedImages = [];
    private VisualTokenPolicy _policy;
    private float[]? _promptLogits;
    private LogitsObserver? _observer;
    private char[] _text = new char[1024];
    private int _textLength;
    private bool _endedByText;
    private bool _disposed;
    private bool _freed;

    internal Session(Engine engine, ComputeDevice device, VisualTokenPolicy policy)
    {
        _engine = engine;
        _device = device;
        _policy = policy;
        _run = new LlavaRun(engine.Model, device, engine.Ranges);
        _decodeState = new DecodeState(engine.Config.Text.Layers, layer => _run.Kv.Length(layer), Thin);
        _trace = new ScheduleTrace(engine.Config.Text, new Tensor(0, engine.Model.InputType, 0, 0).ElementBytes);
        _detokenizer = engine.TokenizerOrNull?.CreateDetokenizer(skipSpecialTokens: true);
        _logits = new float[engine.Config.Text.VocabularySize];
    }

    /// <summary>The policy string in force.</summary>
    public string Policy => _policy.Name;

    /// <summary>What the last prefill did.</summary>
    public ScheduleTrace Trace => _trace;

    /// <summary>Tokens that the cache stands for; a layer may hold fewer rows.</summary>
    public int CachedTokens => _cachedIds.Count;

    /// <summary>Bytes of the KV store's pages that hold rows now. Any thread; while an answer is made, a moment's value.</summary>
    public long KeyValueBytes => _run.Kv.UsedBytes;

    /// <summary>How often each kernel was launched for this session so far; empty on the CPU.</summary>
    public IReadOnlyList<KernelUse> KernelUses => _device.KernelUses;

    /// <summary>Called after each token was chosen, before the next step: for measurements.</summary>
    internal Action<int>? OnStep { get; set; }

    /// <summary>Receives every stage's output; null on the fast path.</summary>
    internal StageSink? Sink { get; set; }

    internal KvStore Kv => _run.Kv;

    /// <summary>The queue that this session computes on: what its stages put out is read through it.</summary>
    internal ComputeDevice Device => _device;

    /// <summary>The rows of the prefill under way; during a call of <see cref="Sink"/>, those of its layer.</summary>
    internal RowBatch Rows => _state.Rows;

    /// <summary>Receives progress; called on the generating thread.</summary>
    public Action<GenerationProgress>? Progress { get; set; }

    /// <summary>
    /// Receives the raw logits of every step, before a token is chosen of them; called on the generating thread. On a GPU each step's logits
    /// then come to the host.
    /// </summary>
    public LogitsSink? Logits { get; set; }

    /// <summary>Changes the policy; the cache, which another policy filled, is emptied.</summary>
    /// <exception cref="PolicyException">The policy string is wrong, or does not fit the model.</exception>
    public void SetPolicy(string policy) => SetPolicy(PolicyRegistry.Create(policy));

    /// <summary>The same with a policy of the host's own, which serves this session alone from then on.</summary>
    /// <exception cref="PolicyException">It does not fit the model.</exception>
    public void SetPolicy(VisualTokenPolicy policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        using Lease lease = Enter();
        _engine.Bind(policy);
        Forget(0);
        _policy = policy;
    }

    /// <summary>Rows that each layer's KV cache holds.</summary>
    public int[] KeyValueLengths()
    {
        using Lease lease = Enter();
        return CachedTurns.Lengths(_run.Kv);
    }

    /// <summary>Empties the cache.</summary>
    public void Reset()
    {
        using Lease lease = Enter();
        Forget(0);
    }

    /// <summary>What <see cref="Generate"/> would take with an empty cache (contract D4).</summary>
    /// <exception cref="RequestException">The prompt is beyond the context.</exception>
    public MemoryPlan Plan(Prompt prompt, GenerationOptions? options = null)
    {
        // The policy itself is asked: not while it is at work.
        using Lease lease = Enter();
        RequireServable(prompt);
        options ??= new GenerationOptions();
        return PlanRows(prompt, 0, new int[_engine.Config.Text.Layers], NewTokens(prompt, options), options).Plan;
    }

    /// <summary>
    /// Rows, KV rows and FLOPs that <see cref="Generate"/> would take with an empty cache, layer by layer; which visual
    /// tokens stay is not known beforehand. Where a policy decides sizes while it runs, everything stays in it.
    /// </summary>
    public ScheduleTrace PlanTrace(Prompt prompt)
    {
        using Lease lease = Enter();
        RequireServable(prompt);
        return PlanSchedule(prompt, 0, new int[_engine.Config.Text.Layers]).Trace;
    }

    /// <summary>Answers a prompt.</summary>
    /// <param name="prompt">The whole conversation.</param>
    /// <param name="options">Sampling and limits; greedy where not given.</param>
    /// <param name="onText">Receives the answer piece by piece.</param>
    /// <param name="cancellation">Looked at between tokens, and between the layers of the prefill.</param>
    /// <exception cref="RequestException">The prompt is beyond the context, or the options are out of range.</exception>
    /// <exception cref="InsufficientMemoryException">The run does not fit the memory cap.</exception>
    public GenerationResult Generate(
        Prompt prompt, GenerationOptions? options = null, TextSink? onText = null, CancellationToken cancellation = default) =>
        Answer(prompt, options, onText is null ? null : _ => onText, cancellation);

    /// <summary>Answers a prompt on a thread of its own, for <c>await foreach</c>.</summary>
    /// <param name="prompt">The whole conversation.</param>
    /// <param name="options">Sampling and limits; greedy where not given.</param>
    /// <param name="cancellation">Ends the answer; looked at between tokens, and between the layers of the prefill.</param>
    /// <returns>The answer's pieces; its errors, which are those of <see cref="Generate"/>, come with them.</returns>
    public AnswerStream StreamAsync(Prompt prompt, GenerationOptions? options = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return new AnswerStream(this, prompt, options, cancellation);
    }

    // A sink that waits is told by what it has to end: cancellation, deadline, disposal.
    internal GenerationResult Answer(
        Prompt prompt, GenerationOptions? options, Func<CancellationToken, TextSink>? onText, CancellationToken cancellation)
    {
        options ??= new GenerationOptions();
        options.Validate(_engine.Config.Text.Layers, _logits.Length);
        using Lease lease = Enter();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _disposal.Token);
        if (options.Deadline is TimeSpan deadline)
            stop.CancelAfter(deadline);
        return Run(prompt, options, onText?.Invoke(stop.Token), stop.Token);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, true))
            return;
        _disposal.Cancel();

        // From inside a callback of a running call, the memory is still in use: that call frees it on its way out.
        if (_gate.IsHeldByCurrentThread)
            return;
        lock (_gate)
            Free();
    }

    private Lease Enter()
    {
        if (_gate.IsHeldByCurrentThread || !_gate.TryEnter())
            throw new InvalidOperationException("a session serves one caller at a time; open another session");
        if (!_disposed)
            return new Lease(this);
        _gate.Exit();
        throw new ObjectDisposedException(nameof(Session));
    }

    private void Leave()
    {
        if (_disposed)
            Free();
        _gate.Exit();
    }

    private void Free()
    {
        if (_freed)
            return;
        _freed = true;
        _run.Dispose();
        _device.Dispose();
        _engine.Model.Release();
        _disposal.Dispose();
    }

    private readonly ref struct Lease(Session session)
    {
        public void Dispose() => session.Leave();
    }
}

using System.Diagnostics;
using System.Runtime.InteropServices;
using ParVts.Engine.Compute;
using ParVts.Engine.Models;
using ParVts.Engine.Profiling;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;

namespace ParVts.Engine.Generation;

/// <content>One answer: plan, prefill, decode loop.</content>
public sealed partial class Session
{
    private GenerationResult Run(Prompt prompt, GenerationOptions options, TextSink? onText, CancellationToken stop)
    {
        var watch = Stopwatch.StartNew();
        _trace.Clear();
        RequireServable(prompt);
        int limit = NewTokens(prompt, options);
        int cached = SharedRows(prompt);
        Forget(cached);
        (MemoryPlan plan, RunNeeds needs) = PlanRows(prompt, cached, CachedTurns.Lengths(_run.Kv), limit, options);
        plan.Require(_engine.Options.MemoryCap);
        plan.RequireFree(_run.Missing(plan.KeyValues, plan.Workspace), _device);
        _run.Prepare(needs);

        Sampler? sampler = BeginSampling(prompt, options, limit);
        var tokens = new List<int>(limit);
        _textLength = 0;
        _promptLogits = null;
        _observer = LogitsObserver.Create(_logits.Length, limit, options.LogProbabilities, Logits);
        HiddenCollector? hidden = options.HiddenLayers.Count == 0 ? null : new(options.HiddenLayers, _state.Rows, _device, Sink);
        _endedByText = false;
        double vision = 0;
        double first = 0;
        double prefill = 0;
        FinishReason finish;
        try
        {
            vision = Embed(prompt, cached, watch, stop);
            Prefill(prompt, cached, options.KeepLogits, hidden is null ? Sink : hidden.Receive, stop);
            prefill = watch.Elapsed.TotalMilliseconds - vision;
            finish = Decode(prompt, options, limit, sampler, tokens, onText, watch, ref first, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            finish = FinishReason.Cancelled;
            _state.ReadBack?.Invoke();
        }
        finally
        {
            // What the device decided belongs to the trace, also of a pass that was left in the middle: some layers then hold rows that
            // others do not.
            Forget(_cachedIds.Count);
        }

        double total = watch.Elapsed.TotalMilliseconds;
        return new GenerationResult
        {
            Text = FinalText(tokens),
            Tokens = tokens,
            Finish = finish,
            PromptTokens = prompt.Length,
            VisualTokens = prompt.VisualTokens,
            CachedTokens = cached,
            Times = new GenerationTimes(
                vision, prefill, first, tokens.Count > 1 ? (total - first) / (tokens.Count - 1) : 0, total),
            Memory = plan,
            Trace = _trace,
            PromptLogits = _promptLogits,
            LogProbabilities = _observer?.Finish(),
            HiddenRows = hidden?.Collected ?? [],
        };
    }

    // Byte tokens that turn out malformed later can no longer be taken back from a stream; the text as a whole is what
    // the tokenizer makes of all tokens.
    private string FinalText(List<int> tokens) => _endedByText || _engine.TokenizerOrNull is not Text.Tokenizer tokenizer
        ? new string(_text, 0, _textLength)
        : tokenizer.Decode(CollectionsMarshal.AsSpan(tokens), skipSpecialTokens: true);

    private int NewTokens(Prompt prompt, GenerationOptions options)
    {
        int context = _engine.Config.Text.MaxPositions;
        if (prompt.Length >= context)
        {
            throw new RequestException(
                $"the prompt has {prompt.Length} tokens, but the model's context is {context}: shorten it, or use fewer images");
        }

        return Math.Min(options.MaxTokens, context - prompt.Length);
    }

    // What the rows after the cached ones take, and the tokens after them (contract D4).
    private (MemoryPlan Plan, RunNeeds Needs) PlanRows(
        Prompt prompt, int cached, int[] lengths, int newTokens, GenerationOptions options)
    {
        SchedulePlan schedule = PlanSchedule(prompt, cached, lengths);
        var needs = new RunNeeds(
            schedule.MaxRows,
            Math.Max(schedule.MaxKeys, schedule.Cache(newTokens).Rows),
            prompt.Images.Any(image => !image.IsEmbedded),
            Schedules: _policy is not DensePolicy,
            _policy.Needs,
            schedule.Cache(newTokens));
        (long keyValues, long workspace) = LlavaRun.Measure(_engine.Model, _device, needs);
        long weights = _engine.Model.TouchedBytes(prompt.Length - cached);

        // On a GPU the plan is of its memory; the process's is not the scarce one.
        if (_engine.Model.DeviceBytes is not null)
            return (new MemoryPlan(weights, keyValues, workspace, 0), needs);
        long logits = sizeof(float) * (long)_logits.Length + LogitsObserver.BytesFor(_logits.Length, newTokens, options.LogProbabilities);
        foreach (int layer in options.HiddenLayers.Distinct())
            logits += sizeof(float) * (long)_engine.Config.Text.HiddenSize * schedule.Trace.RowsByLayer[Math.Min(layer, _run.Kv.Layers - 1)];
        return (new MemoryPlan(weights, keyValues, workspace + logits, _engine.ProcessBytes), needs);
    }

    private SchedulePlan PlanSchedule(Prompt prompt, int cached, int[] lengths) => SchedulePlan.Create(
        _engine.Config.Text, _policy, rows => FillRows(rows, prompt, cached), lengths, cached, NewImages(prompt, cached));

    private void Forget(int rows)
    {
        _turns.Cut(rows, _run.Kv);
        _cachedIds.RemoveRange(rows, _cachedIds.Count - rows);
    }

    private void Prefill(Prompt prompt, int cached, bool keepLogits, StageSink? sink, CancellationToken stop)
    {
        Action<int, int>? progress = Progress is null
            ? null
            : (done, total) => Progress(new GenerationProgress("prefill", done, total));
        int[] before = CachedTurns.Lengths(_run.Kv);
        int images = NewImages(prompt, cached);
        _state.Begin(_trace, before, cached, prompt.Length - cached, images, CollectionsMarshal.AsSpan(_labels));
        foreach (ScheduleEvent done in _visionState.Events)
            _trace.Add(done with { Kept = [.. Enumerable.Range(0, _labels.Count)], Note = images > 1 ? done.Note : null });
        _run.Prefill(_policy, _state, _trace, progress, sink, stop);
        foreach (int id in prompt.Ids[cached..])
            _cachedIds.Add(id);
        int firstVisual = images > 0 ? prompt.ImageStarts[prompt.Images.Count - images] : prompt.Length;
        bool ordinary = !_policy.Spans.Any(span => span.Effect is PolicyEffect.View or PolicyEffect.Grid);
        _turns.Add(cached, firstVisual, prompt.Length, before, _run.Kv, ordinary || images == 0);
        for (int layer = 0; layer < before.Length; layer++)
            _decodeState.SetVisual(layer, before[layer], _state.VisualStored(layer));
        AfterStep(0);
        for (int layer = 0; layer < _run.Kv.Layers; layer++)
            _trace.RecordStored(layer, _run.Kv.Length(layer));
        if (!keepLogits)
            return;
        _promptLogits = new float[_logits.Length];
        _device.Download<float>(_run.Logits, _promptLogits);
    }

    private void AfterStep(int step)
    {
        _decodeState.Step = step;
        _policy.OnDecodeStep(_decodeState);
    }

    private void Thin(int layer, ReadOnlyMemory<int> rows)
    {
        try
        {
            _run.KeepKeys(layer, rows);
        }
        catch
        {
            // Rows may have moved over others already.
            Forget(0);
            throw;
        }

        _turns.Thin(_cachedIds.Count, _run.Kv);
    }

    private FinishReason Decode(
        Prompt prompt, GenerationOptions options, int limit, Sampler? sampler, List<int> tokens, TextSink? onText,
        Stopwatch watch, ref double first, CancellationToken stop)
    {
        var filter = new StopFilter(options.Stop);
        int[] endOfSequence = EndOfSequence(options);
        _detokenizer?.Reset();
        FinishReason finish = FinishReason.Length;
        while (tokens.Count < limit)
        {
            if (stop.IsCancellationRequested)
            {
                finish = FinishReason.Cancelled;
                break;
            }

            if (tokens.Count > 0)
            {
                int position = prompt.Length + tokens.Count - 1;
                using ProfileRanges.Scope range = _engine.Ranges.Begin(RangeKind.Decode, position);
                _decodeState.Step = tokens.Count;
                _run.Step(tokens[^1], position, _policy, _decodeState);
                _cachedIds.Add(tokens[^1]);
                AfterStep(tokens.Count);
            }

            int token = Choose(sampler, tokens.Count);
            tokens.Add(token);
            if (tokens.Count == 1)
            {
                first = watch.Elapsed.TotalMilliseconds;
                _state.ReadBack?.Invoke();
            }

            OnStep?.Invoke(token);
            if (endOfSequence.Contains(token))
            {
                finish = FinishReason.Stop;
                break;
            }

            if (_detokenizer is not null)
                Emit(filter.Push(_detokenizer.Push(token)), onText);
            if (filter.Stopped)
            {
                _endedByText = true;
                return FinishReason.Stop;
            }
        }

        if (_detokenizer is not null)
        {
            Emit(filter.Push(_detokenizer.Flush()), onText);
            if (!filter.Stopped)
                Emit(filter.Rest(), onText);
        }

        return finish;
    }

    private int[] EndOfSequence(GenerationOptions options) => options.IgnoreEndOfSequence ? [] : _engine.GenerationDefaults.EosTokenIds;

    // Where the device chooses tokens, the host has no sampler.
    private Sampler? BeginSampling(Prompt prompt, GenerationOptions options, int limit)
    {
        if (_run.Sampler is DeviceSampler device)
        {
            var rules = new SamplingRules(options.Temperature, options.TopK, options.TopP, options.MinP, options.RepetitionPenalty);
            device.Begin(rules, options.Seed, limit, EndOfSequence(options), prompt.Ids);
            return null;
        }

        var sampler = new Sampler(options, _logits.Length);
        sampler.Observe(prompt.Ids);
        return sampler;
    }

    // Within a step the device has chosen the next token already; the first one is chosen here.
    private int Choose(Sampler? sampler, int made)
    {
        using ProfileRanges.Scope range = _engine.Ranges.Begin(RangeKind.Sample, made);
        if (made == 0)
            _run.Sampler?.Choose(_run.Logits);
        Sink?.Invoke("logits", _run.Logits);
        int token;
        bool sawNaN;
        if (sampler is not null || _observer is not null)
            _device.Download<float>(_run.Logits, _logits);
        _observer?.Look(_logits);
        if (sampler is null)
        {
            (token, sawNaN) = _run.Sampler!.Read();
        }
        else
        {
            token = sampler.Next(_logits);
            sawNaN = sampler.SawNaN;
        }

        if (sawNaN)
            _engine.WarnNaN();
        if (token < 0)
        {
            throw new ModelFormatException(
                _engine.Directory, null, "every logit is NaN or -infinity: the weights are damaged, or not this model's");
        }

        _observer?.Choose(token);
        return token;
    }

    private void Emit(ReadOnlySpan<char> text, TextSink? onText)
    {
        if (text.Length == 0)
            return;
        if (_textLength + text.Length > _text.Length)
            Array.Resize(ref _text, Math.Max(2 * _text.Length, _textLength + text.Length));
        text.CopyTo(_text.AsSpan(_textLength));
        _textLength += text.Length;
        onText?.Invoke(text);
    }
}

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
        RequireTextBehindPictures(prompt);
        int limit = NewTokens(prompt, options);
        int cached = SharedRows(prompt);
        Forget(cached);
        (MemoryPlan plan, RunNeeds needs) = PlanRows(prompt, cached, CachedTurns.Lengths(_run.Kv), limit);
        plan.Require(_engine.Options.MemoryCap);
        plan.RequireFree(_run.Missing(plan.KeyValues, plan.Workspace), _device);
        _run.Prepare(needs);

        Sampler? sampler = BeginSampling(prompt, options, limit);
        var tokens = new List<int>(limit);
        _textLength = 0;
        _promptLogits = null;
        _endedByText = false;
        double vision = 0;
        double first = 0;
        double prefill = 0;
        FinishReason finish;
        try
        {
            vision = Embed(prompt, cached, watch, stop);
            Prefill(prompt, cached, options.KeepLogits, stop);
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
            VisualTokens = prompt.Images.Count * prompt.TokensPerImage,
            CachedTokens = cached,
            Times = new GenerationTimes(
                vision, prefill, first, tokens.Count > 1 ? (total - first) / (tokens.Count - 1) : 0, total),
            Memory = plan,
            Trace = _trace,
            PromptLogits = _promptLogits,
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
    private (MemoryPlan Plan, RunNeeds Needs) PlanRows(Prompt prompt, int cached, int[] lengths, int newTokens)
    {
        SchedulePlan schedule = PlanSchedule(prompt, cached, lengths);
        var needs = new RunNeeds(
            schedule.MaxRows,
            Math.Max(schedule.MaxKeys, schedule.Cache(newTokens).Rows),
            prompt.Images.Count > 0,
            Schedules: _policy is not DensePolicy,
            _policy.Needs,
            schedule.Cache(newTokens));
        (long keyValues, long workspace) = LlavaRun.Measure(_engine.Model, _device, needs);
        long weights = _engine.Model.TouchedBytes(prompt.Length - cached);

        // On a GPU the plan is of its memory; the process's is not the scarce one.
        if (_engine.Model.DeviceBytes is not null)
            return (new MemoryPlan(weights, keyValues, workspace, 0), needs);
        long logits = sizeof(float) * (long)_logits.Length;
        return (new MemoryPlan(weights, keyValues, workspace + logits, _engine.ProcessBytes), needs);
    }

    private SchedulePlan PlanSchedule(Prompt prompt, int cached, int[] lengths) => SchedulePlan.Create(
        _engine.Config.Text, _policy, rows => FillRows(rows, prompt, cached), lengths, cached, NewImages(prompt, cached));

    // The last row makes the first token: it must not be one that may leave.
    private void RequireTextBehindPictures(Prompt prompt)
    {
        if (_policy is not DensePolicy && prompt.Ids[^1] == _engine.Config.ImageTokenId)
            throw new RequestException($"the prompt ends with a picture; policy '{_policy.Name}' needs text behind the last one");
    }

    private static int NewImages(Prompt prompt, int cached)
    {
        int images = 0;
        foreach (int start in prompt.ImageStarts)
            images += start >= cached ? 1 : 0;
        return images;
    }

    // Rows from the beginning that the cache holds already: same ids, same pictures. The last row is always computed,
    // since its logits are wanted, and a picture is reused as a whole or not at all.
    private int SharedRows(Prompt prompt)
    {
        ReadOnlySpan<int> ids = prompt.Ids;
        int shared = Math.Min(
            ids.CommonPrefixLength(CollectionsMarshal.AsSpan(_cachedIds)), ids.Length - 1);
        for (int image = 0; image < prompt.Images.Count; image++)
        {
            int start = prompt.ImageStarts[image];
            if (start >= shared)
                break;
            bool same = image < _cachedImages.Count && _cachedImages[image].AsSpan().SequenceEqual(prompt.Images[image].Hash);
            if (!same || shared < start + prompt.TokensPerImage)
                return _turns.Boundary(start);
        }

        return _turns.Boundary(shared);
    }

    private void Forget(int rows)
    {
        _turns.Cut(rows, _run.Kv);
        _cachedIds.RemoveRange(rows, _cachedIds.Count - rows);
    }

    // Fills the prefill's hidden rows (text from the embedding table, pictures through tower and projector) and says what
    // each of them is.
    private double Embed(Prompt prompt, int cached, Stopwatch watch, CancellationToken stop)
    {
        double vision = 0;
        int images = NewImages(prompt, cached);
        int first = prompt.Images.Count - images;
        RowBatch rows = _state.Rows;
        rows.Clear(prompt.Length - cached);
        _labels.Clear();
        _visionState.Events.Clear();
        _cachedImages.Clear();
        _cachedImages.AddRange(prompt.Images.Select(image => image.Hash));
        int next = cached;
        int unmerged = 0;
        for (int image = 0; image < images; image++)
        {
            int start = prompt.ImageStarts[first + image];
            EmbedText(prompt, next, start, image == 0 ? RowRole.Prefix : RowRole.Text);
            stop.ThrowIfCancellationRequested();
            double before = watch.Elapsed.TotalMilliseconds;
            int visual = rows.CountOf(RowRole.Visual);
            int made = _run.EmbedPicture(prompt.Images[first + image].Pixels.Span, image, rows.Count, _policy, _visionState, Sink);
            AddLabels(image, made, prompt.TokensPerImage);
            for (int i = 0; i < made; i++)
                rows.Add(Row.OfVisual(start + i, visual + i, image));
            unmerged += made == prompt.TokensPerImage ? 1 : 0;
            vision += watch.Elapsed.TotalMilliseconds - before;
            Progress?.Invoke(new GenerationProgress("vision", image + 1, images));
            next = start + prompt.TokensPerImage;
        }

        EmbedText(prompt, next, prompt.Length, RowRole.Text);
        bool measured = _policy.Needs.HasFlag(PolicyNeeds.ClassAttention) && unmerged == images;
        _state.SetClassAttention(measured ? images * prompt.TokensPerImage : 0, _run.ReadClassAttention);
        return vision;
    }

    // Who the rows of a picture are, picture by picture in raster order.
    private void AddLabels(int image, int made, int tokens)
    {
        int first = image * tokens;
        for (int row = 0; row < made; row++)
        {
            int label = _visionState.Labels is int[] labels ? labels[row] : made == tokens ? row : ScheduleState.MergedLabel;
            _labels.Add(label >= 0 ? first + label : label);
        }
    }

    private void EmbedText(Prompt prompt, int from, int to, RowRole role)
    {
        if (from == to)
            return;
        _run.EmbedText(prompt.Ids[from..to], _state.Rows.Count);
        for (int token = from; token < to; token++)
            _state.Rows.Add(Row.OfText(role, token));
    }

    // The rows that Embed makes where no policy merges in the tower: for the plan.
    private static void FillRows(RowBatch rows, Prompt prompt, int cached)
    {
        rows.Clear(prompt.Length - cached);
        int images = NewImages(prompt, cached);
        int first = prompt.Images.Count - images;
        int visual = 0;
        int image = 0;
        for (int token = cached; token < prompt.Length; token++)
        {
            while (image < images && token >= prompt.ImageStarts[first + image] + prompt.TokensPerImage)
                image++;
            if (image < images && token >= prompt.ImageStarts[first + image])
                rows.Add(Row.OfVisual(token, visual++, image));
            else
                rows.Add(Row.OfText(images > 0 && token < prompt.ImageStarts[first] ? RowRole.Prefix : RowRole.Text, token));
        }
    }

    private void Prefill(Prompt prompt, int cached, bool keepLogits, CancellationToken stop)
    {
        Action<int, int>? progress = Progress is null
            ? null
            : (done, total) => Progress(new GenerationProgress("prefill", done, total));
        int[] before = CachedTurns.Lengths(_run.Kv);
        int images = NewImages(prompt, cached);
        _state.Begin(_trace, before, cached, prompt.Length - cached, images, CollectionsMarshal.AsSpan(_labels));
        foreach (ScheduleEvent done in _visionState.Events)
            _trace.Add(done with { Kept = [.. Enumerable.Range(0, _labels.Count)], Note = images > 1 ? done.Note : null });
        _run.Prefill(_policy, _state, _trace, progress, Sink, stop);
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
        if (sampler is null)
        {
            (token, sawNaN) = _run.Sampler!.Read();
        }
        else
        {
            _device.Download<float>(_run.Logits, _logits);
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

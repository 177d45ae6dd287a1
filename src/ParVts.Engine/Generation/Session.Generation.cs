using System.Diagnostics;
using ParVts.Engine.Compute;
using ParVts.Engine.Models;
using ParVts.Engine.Scheduling;

namespace ParVts.Engine.Generation;

/// <content>One answer: plan, prefill, decode loop.</content>
public sealed partial class Session
{
    private GenerationResult Run(Prompt prompt, GenerationOptions options, TextSink? onText, CancellationToken stop)
    {
        var watch = Stopwatch.StartNew();
        int limit = NewTokens(prompt, options);
        int cached = SharedRows(prompt);
        MemoryPlan plan = PlanRows(prompt, prompt.Length - cached, limit);
        plan.Require(_engine.Options.MemoryCap);
        Forget(cached);
        _run.Prepare(prompt.Length - cached, prompt.Length + limit, prompt.Images.Count > 0);

        var sampler = new Sampler(options, _logits.Length);
        sampler.Observe(prompt.Ids);
        var tokens = new List<int>(limit);
        _textLength = 0;
        _endedByText = false;
        double vision = 0;
        double first = 0;
        double prefill = 0;
        FinishReason finish;
        try
        {
            vision = Embed(prompt, cached, watch, stop);
            Prefill(prompt, cached, stop);
            prefill = watch.Elapsed.TotalMilliseconds - vision;
            finish = Decode(prompt, options, limit, sampler, tokens, onText, watch, ref first, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            finish = FinishReason.Cancelled;
        }
        finally
        {
            // Where a pass was left in the middle, some layers hold rows that others do not.
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
        };
    }

    // Byte tokens that turn out malformed later can no longer be taken back from a stream; the text as a whole is what
    // the tokenizer makes of all tokens.
    private string FinalText(List<int> tokens) => _endedByText || _engine.TokenizerOrNull is not Text.Tokenizer tokenizer
        ? new string(_text, 0, _textLength)
        : tokenizer.Decode(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(tokens), skipSpecialTokens: true);

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

    private MemoryPlan PlanRows(Prompt prompt, int rows, int newTokens)
    {
        (long keyValues, long workspace) = LlavaRun.Measure(
            _engine.Config, _device, rows, prompt.Length + newTokens, prompt.Images.Count > 0);
        long logits = sizeof(float) * (long)_logits.Length;
        return new MemoryPlan(_engine.Model.TouchedBytes(rows), keyValues, workspace + logits, _engine.ProcessBytes);
    }

    // Rows from the beginning that the cache holds already: same ids, same pictures. The last row is always computed,
    // since its logits are wanted, and a picture is reused as a whole or not at all.
    private int SharedRows(Prompt prompt)
    {
        ReadOnlySpan<int> ids = prompt.Ids;
        int shared = Math.Min(
            ids.CommonPrefixLength(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_cachedIds)), ids.Length - 1);
        for (int image = 0; image < prompt.Images.Count; image++)
        {
            int start = prompt.ImageStarts[image];
            if (start >= shared)
                break;
            bool same = image < _cachedImages.Count && _cachedImages[image].AsSpan().SequenceEqual(prompt.Images[image].Hash);
            if (!same || shared < start + prompt.TokensPerImage)
                return start;
        }

        return shared;
    }

    private void Forget(int rows)
    {
        for (int layer = 0; layer < _run.Kv.Layers; layer++)
            _run.Kv.Truncate(layer, rows);
        _cachedIds.RemoveRange(rows, _cachedIds.Count - rows);
    }

    // Fills the prefill's hidden rows: text from the embedding table, pictures through tower and projector.
    private double Embed(Prompt prompt, int cached, Stopwatch watch, CancellationToken stop)
    {
        double vision = 0;
        int row = cached;
        int done = 0;
        _cachedImages.Clear();
        for (int image = 0; image < prompt.Images.Count; image++)
        {
            int start = prompt.ImageStarts[image];
            _cachedImages.Add(prompt.Images[image].Hash);
            if (start < cached)
                continue;
            EmbedText(prompt, row, start, cached);
            stop.ThrowIfCancellationRequested();
            double before = watch.Elapsed.TotalMilliseconds;
            _run.EmbedPicture(prompt.Images[image].Pixels.Span, start - cached, Sink);
            vision += watch.Elapsed.TotalMilliseconds - before;
            Progress?.Invoke(new GenerationProgress("vision", ++done, prompt.Images.Count));
            row = start + prompt.TokensPerImage;
        }

        EmbedText(prompt, row, prompt.Length, cached);
        return vision;
    }

    private void EmbedText(Prompt prompt, int from, int to, int cached)
    {
        if (from < to)
            _run.EmbedText(prompt.Ids[from..to], from - cached);
    }

    private void Prefill(Prompt prompt, int cached, CancellationToken stop)
    {
        RowBatch rows = _state.Rows;
        rows.Clear(prompt.Length - cached);
        int firstImage = prompt.Images.Count > 0 ? prompt.ImageStarts[0] : 0;
        int image = 0;
        for (int row = 0; row < prompt.Length; row++)
        {
            while (image < prompt.Images.Count && row >= prompt.ImageStarts[image] + prompt.TokensPerImage)
                image++;
            bool visual = image < prompt.Images.Count && row >= prompt.ImageStarts[image];
            if (row >= cached)
                rows.Add(visual ? RowRole.Visual : row < firstImage ? RowRole.Prefix : RowRole.Text, row, row, row, row);
        }

        Action<int, int>? progress = Progress is null
            ? null
            : (done, total) => Progress(new GenerationProgress("prefill", done, total));
        _run.Prefill(_policy, _state, _trace, progress, Sink, stop);
        foreach (int id in prompt.Ids[cached..])
            _cachedIds.Add(id);
    }

    private FinishReason Decode(
        Prompt prompt, GenerationOptions options, int limit, Sampler sampler, List<int> tokens, TextSink? onText,
        Stopwatch watch, ref double first, CancellationToken stop)
    {
        var filter = new StopFilter(options.Stop);
        int[] endOfSequence = options.IgnoreEndOfSequence ? [] : _engine.GenerationDefaults.EosTokenIds;
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
                _run.Step(tokens[^1], position);
                _cachedIds.Add(tokens[^1]);
            }

            int token = Choose(sampler);
            tokens.Add(token);
            if (tokens.Count == 1)
                first = watch.Elapsed.TotalMilliseconds;
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

    private int Choose(Sampler sampler)
    {
        _device.Download<float>(_run.Logits, _logits);
        Sink?.Invoke("logits", _run.Logits);
        int token = sampler.Next(_logits);
        if (sampler.SawNaN)
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

using System.Diagnostics;
using System.Runtime.InteropServices;
using ParVts.Engine.Models;
using ParVts.Engine.Scheduling;
using ParVts.Engine.Scheduling.Policies;

namespace ParVts.Engine.Generation;

/// <content>From a prompt to the rows that enter the decoder.</content>
public sealed partial class Session
{
    // The last row makes the first token: it must not be one that may leave. Embeddings have no tower to look into, and no grid unless
    // they are as many as a picture's.
    private void RequireServable(Prompt prompt)
    {
        if (_policy is not DensePolicy && prompt.Ids[^1] == _engine.Config.ImageTokenId)
            throw new RequestException($"the prompt ends with a picture; policy '{_policy.Name}' needs text behind the last one");
        for (int image = 0; image < prompt.Images.Count; image++)
        {
            if (!prompt.Images[image].IsEmbedded)
                continue;
            if ((_policy.Needs & (PolicyNeeds.ClassAttention | PolicyNeeds.VisionKeys)) != PolicyNeeds.None || Has(PolicyEffect.Merge))
            {
                throw new PolicyException(
                    $"policy '{_policy.Name}' ranks or merges by what it measures in the vision tower, and picture {image + 1} is given as "
                    + "embeddings, which skip it: give pixels, or use a policy that decides by other means");
            }

            if (prompt.ImageTokens[image] != prompt.TokensPerImage && Has(PolicyEffect.Grid))
            {
                throw new PolicyException(
                    $"policy '{_policy.Name}' lets visual tokens see their neighbours in a grid of {prompt.TokensPerImage}, and picture {image + 1} "
                    + $"is given as {prompt.ImageTokens[image]} rows of embeddings");
            }
        }
    }

    private bool Has(PolicyEffect effect) => _policy.Spans.Any(span => span.Effect == effect);

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
            if (!same || shared < start + prompt.ImageTokens[image])
                return _turns.Boundary(start);
        }

        return _turns.Boundary(shared);
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
        int named = 0;
        int unmerged = 0;
        for (int image = 0; image < images; image++)
        {
            int start = prompt.ImageStarts[first + image];
            EmbedText(prompt, next, start, image == 0 ? RowRole.Prefix : RowRole.Text);
            stop.ThrowIfCancellationRequested();
            double before = watch.Elapsed.TotalMilliseconds;
            int visual = rows.CountOf(RowRole.Visual);
            int tokens = prompt.ImageTokens[first + image];
            int made = EmbedImage(prompt.Images[first + image], image, tokens);
            AddLabels(named, made, tokens);
            named += tokens;
            for (int i = 0; i < made; i++)
                rows.Add(Row.OfVisual(start + i, visual + i, image));
            unmerged += made == tokens ? 1 : 0;
            vision += watch.Elapsed.TotalMilliseconds - before;
            Progress?.Invoke(new GenerationProgress("vision", image + 1, images));
            next = start + tokens;
        }

        EmbedText(prompt, next, prompt.Length, RowRole.Text);
        bool measured = _policy.Needs.HasFlag(PolicyNeeds.ClassAttention) && unmerged == images;
        _state.SetClassAttention(measured ? named : 0, _run.ReadClassAttention);
        return vision;
    }

    private int EmbedImage(PromptImage picture, int image, int tokens)
    {
        if (!picture.IsEmbedded)
            return _run.EmbedPicture(picture.Pixels.Span, image, _state.Rows.Count, _policy, _visionState, Sink);
        _visionState.Labels = null;
        _run.EmbedRows(picture.Embeddings.Span, _state.Rows.Count, tokens, Sink);
        return tokens;
    }

    // Who the rows of a picture are, picture by picture in raster order.
    private void AddLabels(int first, int made, int tokens)
    {
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
            while (image < images && token >= prompt.ImageStarts[first + image] + prompt.ImageTokens[first + image])
                image++;
            if (image < images && token >= prompt.ImageStarts[first + image])
                rows.Add(Row.OfVisual(token, visual++, image));
            else
                rows.Add(Row.OfText(images > 0 && token < prompt.ImageStarts[first] ? RowRole.Prefix : RowRole.Text, token));
        }
    }
}

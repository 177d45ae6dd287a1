using ParVts.Engine.Generation;

namespace ParVts.Gpu.Tests.EndToEnd;

/// <summary>Logits of a run that is led along given tokens, whatever it would say itself.</summary>
internal static class TeacherForcing
{
    /// <summary>
    /// [tokens, vocabulary], row by row: row i is what chooses token i. While the session says what it should, it decodes as ever; where
    /// it says something else it is stopped, and goes on with the right token as a further turn.
    /// </summary>
    /// <param name="engine">The model.</param>
    /// <param name="session">Its session.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="tokens">What is fed.</param>
    /// <param name="first">Sees the first run, before a further turn overwrites its trace.</param>
    public static float[] Logits(VlmEngine engine, Session session, Prompt prompt, int[] tokens, Action<GenerationResult>? first = null)
    {
        var logits = new List<float>();
        int fed = 0;
        while (fed < tokens.Length)
        {
            using var astray = new CancellationTokenSource();
            var decoded = new List<float>();
            int start = fed;
            session.OnStep = token =>
            {
                // From here on somebody watches; the prefill ran unwatched, with nothing read back in between.
                session.Sink = (stage, tensor) =>
                {
                    if (stage != "logits")
                        return;
                    float[] row = new float[tensor.Columns];
                    session.Device.Download<float>(tensor, row);
                    decoded.AddRange(row);
                };
                if (token != tokens[fed++])
                    astray.Cancel();
            };
            GenerationResult result = session.Generate(
                start == 0 ? prompt : engine.CreatePrompt([.. prompt.Ids, .. tokens.AsSpan(0, start)], prompt.Images),
                new GenerationOptions { MaxTokens = tokens.Length - start, IgnoreEndOfSequence = true, KeepLogits = true }, null, astray.Token);
            (session.OnStep, session.Sink) = (null, null);
            if (start == 0)
                first?.Invoke(result);
            logits.AddRange(result.PromptLogits!);
            logits.AddRange(decoded);
        }

        return [.. logits];
    }
}

using ParVts.Engine.Generation;
using ParVts.Runner.Output;

namespace ParVts.Runner;

/// <summary>One answer with a progress display; Ctrl-C ends it early.</summary>
internal static class Answering
{
    /// <summary>Generates, with progress bars until the first token.</summary>
    public static GenerationResult Generate(
        Session session, Prompt prompt, GenerationOptions options, TextSink? onText = null)
    {
        using var interrupt = new Interrupt();
        using var progress = new ProgressDisplay();
        session.Progress = step =>
        {
            progress.Report(step);
            if (step.Phase == "prefill" && step.Done == step.Total)
                progress.Finish();
        };
        try
        {
            return session.Generate(prompt, options, onText, interrupt.Token);
        }
        finally
        {
            session.Progress = null;
        }
    }
}

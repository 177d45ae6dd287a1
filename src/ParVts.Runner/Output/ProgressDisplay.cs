using ParVts.Engine.Generation;
using Spectre.Console;

namespace ParVts.Runner.Output;

/// <summary>
/// Progress bars on standard error while something takes long; nothing where that is no terminal, and nothing for work
/// that is over at once. The bars are gone before the answer begins.
/// </summary>
internal sealed class ProgressDisplay : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan Refresh = TimeSpan.FromMilliseconds(50);

    private readonly Lock _gate = new();
    private readonly ManualResetEventSlim _finished = new();
    private readonly Task? _drawing;
    private readonly Dictionary<string, GenerationProgress> _phases = [];

    /// <summary>Starts with a phase whose length nobody knows, or with none.</summary>
    public ProgressDisplay(string? openEnd = null)
    {
        if (!Terminal.IsInteractive)
            return;
        if (openEnd is not null)
            _phases[openEnd] = new GenerationProgress(openEnd, 0, 0);
        _drawing = Task.Run(Draw);
    }

    /// <summary>Takes a step; any thread.</summary>
    public void Report(GenerationProgress progress)
    {
        lock (_gate)
            _phases[progress.Phase] = progress;
    }

    /// <summary>Clears the bars; may be called twice.</summary>
    public void Finish()
    {
        _finished.Set();
        _drawing?.Wait();
    }

    public void Dispose()
    {
        Finish();
        _finished.Dispose();
    }

    private void Draw()
    {
        if (_finished.Wait(Patience))
            return;
        Terminal.Error.Progress()
            .AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .Start(context =>
            {
                var bars = new Dictionary<string, ProgressTask>();
                do
                    Update(context, bars);
                while (!_finished.Wait(Refresh));
            });
    }

    private void Update(ProgressContext context, Dictionary<string, ProgressTask> bars)
    {
        lock (_gate)
        {
            foreach ((string name, GenerationProgress phase) in _phases)
            {
                if (!bars.TryGetValue(name, out ProgressTask? bar))
                    bars[name] = bar = context.AddTask(name, maxValue: Math.Max(1, phase.Total));
                bar.IsIndeterminate = phase.Total == 0;
                bar.Value = phase.Done;
            }
        }
    }
}

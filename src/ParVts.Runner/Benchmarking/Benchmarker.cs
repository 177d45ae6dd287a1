using ParVts.Engine.Compute.Cpu;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Runner.Evaluation;

namespace ParVts.Runner.Benchmarking;

/// <summary>A run is done.</summary>
/// <param name="Policy">Whose.</param>
/// <param name="Done">Runs so far.</param>
/// <param name="Total">Of at most so many.</param>
internal readonly record struct BenchmarkStep(string Policy, int Done, int Total);

/// <summary>
/// Measures every policy on every case. A round runs everything once, policies in turn and each of them first in its turn, so that whatever
/// else the machine does falls on all alike, and on every round a little.
/// </summary>
internal sealed class Benchmarker(BenchmarkSettings settings)
{
    private const string Cpu = "cpu";

    private readonly List<BenchmarkResult> _results = [];
    private int _done;

    /// <summary>Told after every run.</summary>
    public Action<BenchmarkStep>? Progress { get; init; }

    /// <summary>Receives warnings.</summary>
    public Action<string>? Warning { get; init; }

    /// <summary>Runs; where it is cancelled, the rounds that are complete count.</summary>
    /// <returns>The results, and whether that is all.</returns>
    /// <exception cref="OperationCanceledException">Not one round is complete.</exception>
    public (IReadOnlyList<BenchmarkResult> Results, bool IsComplete) Run(CancellationToken stop)
    {
        ModelConfig config = settings.Model.ReadConfig();
        foreach (BenchmarkCase one in settings.Cases)
            one.Require(config);
        try
        {
            foreach (string device in settings.Devices)
            {
                foreach (int threads in settings.Threads)
                {
                    if (!MeasureEngine(device, threads, stop))
                        break;
                }
            }

            return (_results, true);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested && _results.Count > 0)
        {
            return (_results, false);
        }
    }

    // False where the number of threads makes no difference.
    private bool MeasureEngine(string device, int threads, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        using InferenceEngine engine = settings.Model.Open(new EngineOptions
        {
            Device = device,
            OpenDevice = device == SimulatedGpu.Name ? () => SimulatedGpu.Open(settings.Cuda) : null,
            Threads = threads,
            Cuda = settings.Cuda,
            Warning = Warning,
        });
        Cell[] cells = [.. settings.Cases.SelectMany(one => Cells(engine, one))];
        using var clocks = new Clocks(engine, settings.Policies);
        try
        {
            MeasureMemory(engine, cells, clocks, stop);
            for (int round = -settings.WarmUp; round < settings.Repeats; round++)
                MeasureRound(cells, clocks, round, stop);
        }
        finally
        {
            // Rounds that are complete count, also where the last one was cut off.
            _results.AddRange(cells.Where(cell => cell.Rounds.Count > 0).Select(cell => cell.ToResult(engine)));
        }

        return engine.DeviceName == Cpu;
    }

    private Cell[] Cells(InferenceEngine engine, BenchmarkCase one)
    {
        ModelConfig config = engine.Config;
        int[] ids = one.Text.Ids(one.Images, config.ImageTokenId, config.Text.VocabularySize, settings.Model.Seed);
        PromptImage[] pictures = [.. Enumerable.Range(0, one.Images).Select(image => Picture(config, settings.Model.Seed + image))];
        Prompt prompt = engine.CreatePrompt(ids, pictures);
        return [.. settings.Policies.Select(policy => new Cell(one, policy, prompt))];
    }

    // Noise, of the size that normalised pixels have.
    private static PromptImage Picture(ModelConfig config, int seed)
    {
        var random = new Random(seed);
        float[] pixels = new float[3 * config.Vision.ImageSize * config.Vision.ImageSize];
        for (int i = 0; i < pixels.Length; i++)
            pixels[i] = random.NextSingle() * 4 - 2;
        return new PromptImage(pixels);
    }

    // Each run in a session of its own, the smallest first: what a larger one leaves behind in the process counts for none of the others.
    private void MeasureMemory(InferenceEngine engine, Cell[] cells, Clocks clocks, CancellationToken stop)
    {
        foreach (Cell cell in cells)
            cell.Planned = clocks[cell.Policy].Session.Plan(cell.Prompt, new GenerationOptions { MaxTokens = cell.Case.NewTokens }).Total;
        foreach (Cell cell in cells.OrderBy(cell => cell.Planned))
        {
            using var clock = new PhaseClock(engine.CreateSession(cell.Policy));
            GC.Collect();
            bool watched = PeakMemory.Begin();
            GenerationResult result = clock.Run(cell.Prompt, cell.Case.NewTokens, stop).Result;
            cell.Memory = BenchmarkMemory.Of(result.Memory, watched ? PeakMemory.Read() : null);
            cell.Trace = BenchmarkTrace.Of(result.Trace);
            Step(cell, cells.Length);
        }
    }

    private void MeasureRound(Cell[] cells, Clocks clocks, int round, CancellationToken stop)
    {
        var measured = new List<(Cell Cell, BenchmarkRound Round)>();
        foreach (IGrouping<BenchmarkCase, Cell> one in cells.GroupBy(cell => cell.Case))
        {
            foreach (Cell cell in Evaluator.Rotate([.. one], round + settings.WarmUp))
            {
                measured.Add((cell, clocks[cell.Policy].Run(cell.Prompt, cell.Case.NewTokens, stop).Round));
                Step(cell, cells.Length);
            }
        }

        if (round < 0)
            return;
        foreach ((Cell cell, BenchmarkRound times) in measured)
            cell.Rounds.Add(times);
    }

    private void Step(Cell cell, int cells)
    {
        // A device whose threads make no difference is opened once: then this is an upper bound.
        int engines = settings.Devices.Sum(device => device is Cpu or "auto" ? settings.Threads.Count : 1);
        Progress?.Invoke(new BenchmarkStep(cell.Policy, ++_done, engines * cells * (1 + settings.WarmUp + settings.Repeats)));
    }

    /// <summary>A session a policy.</summary>
    private sealed class Clocks : IDisposable
    {
        private readonly Dictionary<string, PhaseClock> _all = [];

        public Clocks(InferenceEngine engine, IEnumerable<string> policies)
        {
            try
            {
                foreach (string policy in policies)
                    _all.Add(policy, new PhaseClock(engine.CreateSession(policy)));
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public PhaseClock this[string policy] => _all[policy];

        public void Dispose()
        {
            foreach (PhaseClock clock in _all.Values)
                clock.Dispose();
        }
    }

    /// <summary>A policy on a case, and what was measured of it so far.</summary>
    private sealed class Cell(BenchmarkCase @case, string policy, Prompt prompt)
    {
        public BenchmarkCase Case => @case;

        public string Policy => policy;

        public Prompt Prompt => prompt;

        public long Planned { get; set; }

        public BenchmarkMemory? Memory { get; set; }

        public BenchmarkTrace? Trace { get; set; }

        public List<BenchmarkRound> Rounds { get; } = [];

        public BenchmarkResult ToResult(InferenceEngine engine) => new()
        {
            Group = new(engine.DeviceName, (engine.Device as CpuDevice)?.Threads ?? 0, @case.Text.Name, @case.Images, @case.NewTokens),
            Policy = policy,
            DeviceDescription = engine.DeviceDescription,
            PromptTokens = prompt.Length,
            VisualTokens = prompt.Images.Count * prompt.TokensPerImage,
            Trace = Trace!,
            Memory = Memory!,
            Rounds = Rounds,
        };
    }
}

using System.Diagnostics;
using System.Globalization;
using ParVts.Engine.Generation;

namespace ParVts.Bench;

/// <summary>Prefill and decode of a model, in the same terms as tools/peers measures llama.cpp: JSON lines, one a repeat.</summary>
internal static class ModelBench
{
    public static void Run(string directory, int threads, int promptTokens, int decodeTokens, int repeats)
    {
        var watch = Stopwatch.StartNew();
        using var engine = Engine.Generation.Engine.Open(directory, new EngineOptions { Threads = threads });
        double load = watch.Elapsed.TotalMilliseconds;
        int[] ids = [.. Enumerable.Range(0, promptTokens).Select(i => (int)(300 + i * 7919L % (engine.Config.Text.VocabularySize - 12000)))];
        Prompt prompt = engine.CreatePrompt(ids, []);
        var options = new GenerationOptions { MaxTokens = decodeTokens + 1, IgnoreEndOfSequence = true };
        using Session session = engine.CreateSession();
        for (int repeat = 0; repeat < repeats; repeat++)
        {
            session.Reset();
            GenerationResult result = session.Generate(prompt, options);
            using var process = Process.GetCurrentProcess();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{{\"load_ms\":{load:0.0},\"prefill_ms\":{result.Times.Prefill:0.0},\"prefill_gflops\":{result.Trace.Flops / result.Times.Prefill / 1e6:0.0},"
                + $"\"decode_ms\":{result.Times.DecodePerToken:0.0},\"plan_mib\":{result.Memory.Total / 1048576.0:0},"
                + $"\"peak_mib\":{process.PeakWorkingSet64 / 1048576.0:0}}}"));
        }
    }
}

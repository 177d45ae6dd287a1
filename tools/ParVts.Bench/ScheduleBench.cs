using System.Globalization;
using ParVts.Engine.Formats;
using ParVts.Engine.Generation;
using ParVts.Engine.Imaging;

namespace ParVts.Bench;

/// <summary>
/// Prefill time of policies beside dense: every round runs each of them once, in turn, so that what else the machine does
/// falls on all alike. Markdown on standard output.
/// </summary>
internal static class ScheduleBench
{
    // A short system prompt before the pictures, a question behind each.
    private const int PrefixTokens = 35;
    private const int QuestionTokens = 29;

    /// <summary>A table: policies on one picture.</summary>
    public static void Compare(string directory, int threads, int rounds, string[] policies)
    {
        using var engine = Open(directory, threads);
        Prompt prompt = MakePrompt(engine, images: 1);
        string[] all = ["dense", .. policies];
        Sample[] samples = Measure(engine, prompt, all, rounds);
        Console.WriteLine($"{prompt.Length} rows: {PrefixTokens} before the picture, {prompt.TokensPerImage} visual, {QuestionTokens} after; {threads} threads, {rounds} rounds.");
        Console.WriteLine();
        Console.WriteLine("| policy | prefill, ms (median, smallest to largest) | of dense (median of the rounds' ratios) | FLOPs of dense | KV rows of dense | rows by layer |");
        Console.WriteLine("|---|---|---|---|---|---|");
        foreach (Sample sample in samples)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| `{sample.Policy}` | {Median(sample.Prefill):0} ({sample.Prefill.Min():0} to {sample.Prefill.Max():0}) | {RatioToDense(sample, samples[0]):0.000} | {sample.FlopsShare:0.000} | {sample.KvShare:0.000} | {sample.Rows} |"));
        }
    }

    /// <summary>A table and a plot: prefill time from one picture to several.</summary>
    public static void Growth(string directory, int threads, int rounds, int images, string policy, string? plot)
    {
        using var engine = Open(directory, threads);
        var points = new List<GrowthPoint>();
        Console.WriteLine("| pictures | visual tokens | dense, s | ParVTS, s | ParVTS / dense | FLOPs of dense |");
        Console.WriteLine("|---|---|---|---|---|---|");
        for (int count = 1; count <= images; count++)
        {
            Sample[] samples = Measure(engine, MakePrompt(engine, count), ["dense", policy], rounds);
            var point = new GrowthPoint(
                count * engine.Config.VisualTokensPerImage, Median(samples[0].Prefill) / 1000, Median(samples[1].Prefill) / 1000);
            points.Add(point);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {count} | {point.VisualTokens} | {point.Dense:0.00} | {point.Policy:0.00} | {RatioToDense(samples[1], samples[0]):0.000} | {samples[1].FlopsShare:0.000} |"));
        }

        if (plot is not null)
            File.WriteAllText(plot, GrowthPlot.Draw(points, policy));
    }

    private static Engine.Generation.Engine Open(string directory, int threads) =>
        Engine.Generation.Engine.Open(directory, new EngineOptions { Threads = threads });

    private static Prompt MakePrompt(Engine.Generation.Engine engine, int images)
    {
        ModelConfig config = engine.Config;
        var pictures = new List<PromptImage>();
        var ids = new List<int>();
        AddText(PrefixTokens);
        for (int image = 0; image < images; image++)
        {
            byte[] pixels = new byte[3 * config.Vision.ImageSize * config.Vision.ImageSize];
            new Random(image).NextBytes(pixels);
            pictures.Add(engine.PrepareImage(new RgbImage(config.Vision.ImageSize, config.Vision.ImageSize, pixels)));
            ids.Add(config.ImageTokenId);
            AddText(QuestionTokens);
        }

        return engine.CreatePrompt([.. ids], pictures);

        void AddText(int count)
        {
            for (int i = 0; i < count; i++)
                ids.Add((int)(300 + ids.Count * 7919L % (config.Text.VocabularySize - 12000)));
        }
    }

    private static Sample[] Measure(Engine.Generation.Engine engine, Prompt prompt, string[] policies, int rounds)
    {
        Sample[] samples = [.. policies.Select(policy => new Sample(policy))];
        Session[] sessions = [.. policies.Select(policy => engine.CreateSession(policy))];
        try
        {
            // The round before the first warms code and page tables, and is not counted.
            for (int round = -1; round < rounds; round++)
            {
                for (int i = 0; i < policies.Length; i++)
                {
                    int policy = (i + Math.Max(0, round)) % policies.Length;
                    sessions[policy].Reset();
                    GenerationResult result = sessions[policy].Generate(prompt, new GenerationOptions { MaxTokens = 1 });
                    if (round >= 0)
                        samples[policy].Prefill.Add(result.Times.Prefill);
                    samples[policy].Note(result, prompt.Length);
                }
            }
        }
        finally
        {
            foreach (Session session in sessions)
                session.Dispose();
        }

        return samples;
    }

    private static double RatioToDense(Sample sample, Sample dense) =>
        Median([.. sample.Prefill.Zip(dense.Prefill, (mine, full) => mine / full)]);

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>A policy's prefills.</summary>
    private sealed class Sample(string policy)
    {
        public string Policy => policy;

        public List<double> Prefill { get; } = [];

        public double FlopsShare { get; private set; }

        public double KvShare { get; private set; }

        public string Rows { get; private set; } = "";

        public void Note(GenerationResult result, int promptRows)
        {
            FlopsShare = (double)result.Trace.Flops / result.Trace.FlopsDense;
            KvShare = result.Trace.KvRowsByLayer.Average() / promptRows;
            Rows = string.Join(", ", result.Trace.RowsByLayer.GroupBy(rows => rows).Select(group => $"{group.Count()} × {group.Key}"));
        }
    }
}

/// <summary>Prefill seconds at a number of visual tokens.</summary>
internal readonly record struct GrowthPoint(int VisualTokens, double Dense, double Policy);

using System.Globalization;
using ParVts.Runner.Output;

namespace ParVts.Runner.Benchmarking;

/// <summary>Prefill time over visual tokens, a line a policy.</summary>
internal static class BenchmarkPlot
{
    private const int Width = 640;
    private const int Height = 360;
    private const int LegendLine = 20;

    /// <summary>Refuses a run that has no such lines, before it begins.</summary>
    /// <exception cref="UsageException">There are not several numbers of pictures, or several of something else.</exception>
    public static void Require(BenchmarkSettings settings)
    {
        int pictures = settings.Cases.Select(one => one.Images).Distinct().Count();
        if (pictures < 2 || settings.Cases.Count != pictures || settings.Devices.Count > 1 || settings.Threads.Count > 1)
            throw new UsageException("--plot draws prefill time over pictures: give several numbers of --images, and one of everything else but policies");
    }

    /// <summary>The drawing.</summary>
    public static string Draw(BenchmarkDocument document)
    {
        IGrouping<string, BenchmarkResult>[] policies = [.. document.Results.GroupBy(result => result.Policy)];
        int top = LegendLine * policies.Length + 20;
        var box = new SvgBox(64, top, Width - 24, Height - 52 + top - 40);
        var plot = new SvgPlot(Width, box.Bottom + 52, "Prefill time over visual tokens");
        plot.AddPanel(
            box,
            new SvgAxis(0, document.Results.Max(result => result.VisualTokens)),
            SvgAxis.FromZero(document.Results.Max(Seconds)),
            value => string.Create(CultureInfo.InvariantCulture, $"{value:0.####} s"));
        foreach (int tokens in document.Results.Select(result => result.VisualTokens).Distinct())
            plot.AddTick(tokens, tokens.ToString(CultureInfo.InvariantCulture));
        plot.AddText((box.Left + box.Right) / 2.0, box.Bottom + 42, "visual tokens", "middle");
        for (int i = 0; i < policies.Length; i++)
        {
            string color = SvgPlot.Colors[i % SvgPlot.Colors.Count];
            (double, double?)[] line = [.. policies[i].OrderBy(result => result.VisualTokens).Select(result => ((double)result.VisualTokens, (double?)Seconds(result)))];
            plot.AddLine(line, color);
            plot.AddDots(line, color);
            plot.AddLegend(box.Left + 14, LegendLine * (i + 1), color, policies[i].Key);
        }

        return plot.ToString();
    }

    private static double Seconds(BenchmarkResult result) =>
        BenchmarkSummary.Of([.. result.Rounds.Select(BenchmarkMeasure.Prefill.Of)]).Median / 1000;
}

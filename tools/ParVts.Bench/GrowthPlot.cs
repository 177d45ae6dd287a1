using System.Globalization;
using ParVts.Runner.Output;

namespace ParVts.Bench;

/// <summary>Prefill time over visual tokens.</summary>
internal static class GrowthPlot
{
    private const int Width = 640;
    private const int Height = 360;
    private static readonly SvgBox s_box = new(64, 40, Width - 24, Height - 52);

    public static string Draw(IReadOnlyList<GrowthPoint> points, string policy)
    {
        var plot = new SvgPlot(Width, Height, $"Prefill time over visual tokens, dense and {policy}");
        plot.AddPanel(
            s_box,
            new SvgAxis(0, points.Max(point => point.VisualTokens)),
            SvgAxis.FromZero(points.Max(point => Math.Max(point.Dense, point.Policy))),
            value => string.Create(CultureInfo.InvariantCulture, $"{value:0.##} s"));
        foreach (GrowthPoint point in points)
            plot.AddTick(point.VisualTokens, point.VisualTokens.ToString(CultureInfo.InvariantCulture));
        plot.AddText((s_box.Left + s_box.Right) / 2, Height - 10, "visual tokens", "middle");
        AddSeries(plot, points, point => point.Dense, "dense", 0);
        AddSeries(plot, points, point => point.Policy, policy, 1);
        return plot.ToString();
    }

    private static void AddSeries(SvgPlot plot, IReadOnlyList<GrowthPoint> points, Func<GrowthPoint, double> value, string name, int place)
    {
        (double, double?)[] line = [.. points.Select(point => ((double)point.VisualTokens, (double?)value(point)))];
        plot.AddLine(line, SvgPlot.Colors[place]);
        plot.AddDots(line, SvgPlot.Colors[place]);
        plot.AddLegend(s_box.Left + 14, 22 + 20 * place, SvgPlot.Colors[place], name);
    }
}

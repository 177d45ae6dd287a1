using System.Globalization;
using ParVts.Engine.Scheduling;
using ParVts.Runner.Output;

namespace ParVts.Runner.Analyzing;

/// <summary>
/// VisiPruner's three stages (arXiv 2510.17205) as a plot: over the layers, the attention mass on visual tokens and the largest cosine
/// deviation that leaving one of them out makes; with the thresholds, and where VisiPruner filters and lets the others leave.
/// </summary>
internal static class StagePlot
{
    private const int Width = 720;
    private const int Height = 520;
    private const string MarkColor = "#8c8c8c";

    // Rounding of float32 alone makes deviations of about this.
    private const double SmallestDeviation = 1e-6;

    private static readonly SvgBox s_mass = new(64, 48, Width - 24, 236);
    private static readonly SvgBox s_deviation = new(64, 288, Width - 24, Height - 44);

    public static string Draw(Analysis analysis)
    {
        var plot = new SvgPlot(Width, Height, $"Attention mass on visual tokens and largest cosine deviation by layer, {analysis.Policy}");
        int[] layers = [.. analysis.Layers];
        var x = new SvgAxis(-0.5, layers[^1] + 0.5);

        IEnumerable<double> masses = layers.SelectMany(layer => analysis.Values(layer, f => Math.Max(f.LastMass, f.TextMass)));
        plot.AddPanel(s_mass, x, SvgAxis.FromZero(masses.Max()), value => value.ToString("0.##", CultureInfo.InvariantCulture));
        AddMarks(plot, analysis, named: true);
        AddSeries(plot, analysis, layers, figures => figures.LastMass, SvgPlot.Colors[0]);
        AddSeries(plot, analysis, layers, figures => figures.TextMass, SvgPlot.Colors[1]);
        plot.AddText(s_mass.Left, 18, $"attention mass on visual tokens: {analysis.Policy}{Count(analysis)}");
        plot.AddLegend(s_mass.Left + 14, 38, SvgPlot.Colors[0], "last row");
        plot.AddLegend(s_mass.Left + 114, 38, SvgPlot.Colors[1], "all rows behind the picture, mean");

        double filter = 1.0 - analysis.VisiPruner.FilterThreshold;
        double exit = 1.0 - analysis.VisiPruner.ExitThreshold;
        IEnumerable<double> deviations = layers.SelectMany(layer => analysis.Values(layer, Deviation));
        plot.AddPanel(s_deviation, x, SvgAxis.Logarithmic([.. deviations, filter, exit]), value => value.ToString("0.######", CultureInfo.InvariantCulture));
        AddMarks(plot, analysis, named: false);
        if (filter > 0)
            plot.AddHorizontal(filter, string.Create(CultureInfo.InvariantCulture, $"tcos {analysis.VisiPruner.FilterThreshold}"), SvgPlot.Colors[3]);
        if (exit > 0)
            plot.AddHorizontal(exit, string.Create(CultureInfo.InvariantCulture, $"texit {analysis.VisiPruner.ExitThreshold}"), SvgPlot.Colors[2]);
        AddSeries(plot, analysis, layers, Deviation, SvgPlot.Colors[0]);
        plot.AddText(s_deviation.Left, 272, "largest cosine deviation of the last row's attention output when one visual token is left out");
        foreach (int layer in layers.Where(layer => layer % Math.Max(1, layers.Length / 16) == 0))
            plot.AddTick(layer, layer.ToString(CultureInfo.InvariantCulture));
        plot.AddText((s_deviation.Left + s_deviation.Right) / 2, Height - 6, "layer", "middle");
        return plot.ToString();
    }

    private static double? Deviation(LayerFigures figures) => figures.Deviation is double value ? Math.Max(value, SmallestDeviation) : null;

    // The median of the requests, and round it all of them.
    private static void AddSeries(SvgPlot plot, Analysis analysis, int[] layers, Func<LayerFigures, double?> figure, string color)
    {
        (double Layer, double[] Values)[] values = [.. layers.Select(layer => ((double)layer, analysis.Values(layer, figure).Order().ToArray()))];
        plot.AddBand([.. values.Where(one => one.Values.Length > 1).Select(one => (one.Layer, one.Values[0], one.Values[^1]))], color);
        (double, double?)[] medians = [.. values.Select(one => (one.Layer, one.Values.Length == 0 ? null : (double?)one.Values[one.Values.Length / 2]))];
        plot.AddLine(medians, color);
        plot.AddDots(medians, color, radius: 3);
    }

    private static void AddMarks(SvgPlot plot, Analysis analysis, bool named)
    {
        AddMark(plot, "filter", [.. analysis.Requests.Select(request => request.FilterLayer).OfType<int>()], named);
        AddMark(plot, "exit", [.. analysis.Requests.Select(request => request.ExitLayer).OfType<int>()], named);
        if (analysis.VisiPruner.Shallow > 0)
            plot.AddVertical(analysis.VisiPruner.Shallow - 0.5, named ? "shallow before" : "", MarkColor);
    }

    // At the median; the name tells of all.
    private static void AddMark(SvgPlot plot, string name, int[] layers, bool named)
    {
        if (layers.Length == 0)
            return;
        Array.Sort(layers);
        string where = layers[0] == layers[^1] ? $"{layers[0]}" : $"{layers[0]} to {layers[^1]}";
        plot.AddVertical(layers[layers.Length / 2], named ? $"{name} {where}" : "", SvgPlot.Colors[name == "filter" ? 3 : 2]);
    }

    private static string Count(Analysis analysis) =>
        analysis.Requests.Count == 1 ? "" : string.Create(CultureInfo.InvariantCulture, $"; {analysis.Requests.Count} requests: median, lowest to highest");
}

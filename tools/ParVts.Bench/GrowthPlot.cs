using System.Globalization;
using System.Text;

namespace ParVts.Bench;

/// <summary>Prefill time over visual tokens as a small SVG, readable on light and dark pages.</summary>
internal static class GrowthPlot
{
    private const int Width = 640;
    private const int Height = 360;
    private const int Left = 64;
    private const int Right = 24;
    private const int Top = 40;
    private const int Bottom = 52;

    public static string Draw(IReadOnlyList<GrowthPoint> points, string policy)
    {
        double largest = points.Max(point => Math.Max(point.Dense, point.Policy));
        double step = Math.Pow(10, Math.Floor(Math.Log10(largest)));
        step *= largest / step > 5 ? 2 : largest / step > 2 ? 1 : 0.5;
        double top = Math.Ceiling(largest / step) * step;
        int right = points.Max(point => point.VisualTokens);
        var svg = new StringBuilder();
        svg.AppendLine(Text($"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {Height}" font-family="sans-serif" font-size="13" role="img">
            <title>Prefill time over visual tokens, dense and {policy}</title>
            <style>text {"{"} fill: #24292f; {"}"} .g {"{"} stroke: #8884; {"}"} @media (prefers-color-scheme: dark) {"{"} text {"{"} fill: #e6edf3; {"}"} {"}"}</style>
            """));
        for (double value = 0; value <= top + step / 2; value += step)
        {
            svg.AppendLine(Text($"""<line class="g" x1="{Left}" x2="{Width - Right}" y1="{Y(value):0.0}" y2="{Y(value):0.0}"/><text x="{Left - 8}" y="{Y(value) + 4:0.0}" text-anchor="end">{value:0.##} s</text>"""));
        }

        foreach (GrowthPoint point in points)
            svg.AppendLine(Text($"""<text x="{X(point):0.0}" y="{Height - Bottom + 20}" text-anchor="middle">{point.VisualTokens}</text>"""));
        svg.AppendLine(Text($"""<text x="{(Left + Width - Right) / 2}" y="{Height - 10}" text-anchor="middle">visual tokens</text>"""));
        Line(point => point.Dense, "#d55e00", "dense", 0);
        Line(point => point.Policy, "#0072b2", policy, 1);
        svg.AppendLine("</svg>");
        return svg.ToString();

        double X(GrowthPoint point) => Left + (Width - Left - Right) * (double)point.VisualTokens / right;
        double Y(double seconds) => Height - Bottom - (Height - Top - Bottom) * seconds / top;

        void Line(Func<GrowthPoint, double> value, string color, string name, int place)
        {
            string path = string.Join(" ", points.Select(point => Text($"{X(point):0.0},{Y(value(point)):0.0}")));
            svg.AppendLine(Text($"""<polyline fill="none" stroke="{color}" stroke-width="2.5" points="{path}"/>"""));
            foreach (GrowthPoint point in points)
                svg.AppendLine(Text($"""<circle fill="{color}" r="4" cx="{X(point):0.0}" cy="{Y(value(point)):0.0}"/>"""));
            svg.AppendLine(Text($"""<circle fill="{color}" r="5" cx="{Left + 14}" cy="{18 + 20 * place}"/><text x="{Left + 26}" y="{22 + 20 * place}">{name}</text>"""));
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

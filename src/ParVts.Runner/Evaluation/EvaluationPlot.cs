using System.Globalization;
using System.Net;
using System.Text;

namespace ParVts.Runner.Evaluation;

/// <summary>Accuracy over prefill FLOPs as a small SVG, a point a policy, readable on light and dark pages. Pure functions; any thread.</summary>
internal static class EvaluationPlot
{
    private const int Width = 760;
    private const int Left = 64;
    private const int Right = 200;
    private const int Top = 36;
    private const int PlotHeight = 380;
    private const int Bottom = Top + PlotHeight;
    private const int LineHeight = 17;

    // Of Okabe and Ito, who chose them so that everyone can tell them apart; with four shapes they serve for many policies.
    private static readonly string[] s_colors = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

    /// <summary>Draws the figures; policies of one method are joined by a line.</summary>
    public static string Draw(EvaluationScores scores, string title)
    {
        PolicyScore[] all = [.. scores.WithDense().Where(score => score.Answers.Count > 0)];
        var points = all.Select(score => new Point(
            score.Policy, score.Policy.Split(':')[0], score.Mean(answer => answer.FlopsShare), score.Accuracy, score.AccuracyInterval)).ToArray();

        // Whole lines of ten or twenty per cent.
        double least = points.Select(point => point.Interval.Low).DefaultIfEmpty(0).Min();
        double best = points.Select(point => point.Interval.High).DefaultIfEmpty(1).Max();
        double line = best - least > 0.5 ? 0.2 : 0.1;
        double lowest = Math.Floor(least / line) * line;
        int lines = Math.Max(1, (int)Math.Ceiling((best - lowest) / line - 1e-9));
        double highest = lowest + lines * line;
        double most = Math.Max(1, points.Select(point => point.Flops).DefaultIfEmpty(1).Max());
        var svg = new StringBuilder();
        IGrouping<string, Point>[] methods = [.. points.GroupBy(point => point.Method)];
        int height = Math.Max(Bottom + 52, Top + LineHeight * methods.Length + 24);
        Add($"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {height}" font-family="sans-serif" font-size="12" role="img">""");
        Add($"""<title>{Escape(title)}</title>""");
        Add($$"""<style>text { fill: #24292f; } .g { stroke: #8884; } @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }</style>""");
        Add($"""<text x="{Left}" y="20" font-size="14">{Escape(title)}</text>""");
        for (int step = 0; step <= lines; step++)
        {
            double accuracy = lowest + line * step;
            Add($"""<line class="g" x1="{Left}" x2="{Width - Right}" y1="{Y(accuracy):0.0}" y2="{Y(accuracy):0.0}"/>""");
            Add($"""<text x="{Left - 8}" y="{Y(accuracy) + 4:0.0}" text-anchor="end">{100 * accuracy:0} %</text>""");
        }

        for (int step = 0; step <= 5; step++)
        {
            double flops = most * step / 5;
            Add($"""<text x="{X(flops):0.0}" y="{Bottom + 20}" text-anchor="middle">{100 * flops:0} %</text>""");
        }

        Add($"""<text x="{(Left + Width - Right) / 2}" y="{Bottom + 42}" text-anchor="middle">prefill FLOPs, share of dense (bars: 95 % interval of the accuracy)</text>""");
        for (int i = 0; i < methods.Length; i++)
            Method(methods[i], i);
        Add($"</svg>");
        return svg.ToString();

        double X(double flops) => Left + (Width - Left - Right) * flops / most;
        double Y(double accuracy) => Bottom - PlotHeight * (accuracy - lowest) / (highest - lowest);

        void Method(IGrouping<string, Point> method, int place)
        {
            string color = s_colors[place % s_colors.Length];
            Point[] sorted = [.. method.OrderBy(point => point.Flops)];
            if (sorted.Length > 1)
                Add($"""<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{string.Join(' ', sorted.Select(point => Text($"{X(point.Flops):0.0},{Y(point.Accuracy):0.0}")))}"/>""");
            foreach (Point point in sorted)
            {
                Add($"""<g><title>{Escape(Text($"{point.Policy}: {100 * point.Accuracy:0.0} % at {100 * point.Flops:0.0} %"))}</title>""");
                Add($"""<line stroke="{color}" stroke-opacity="0.45" x1="{X(point.Flops):0.0}" x2="{X(point.Flops):0.0}" y1="{Y(point.Interval.Low):0.0}" y2="{Y(point.Interval.High):0.0}"/>""");
                Add($"""{Mark(X(point.Flops), Y(point.Accuracy), place / s_colors.Length, color)}</g>""");
            }

            int y = Top + 8 + LineHeight * place;
            Add($"""{Mark(Width - Right + 22, y, place / s_colors.Length, color)}<text x="{Width - Right + 34}" y="{y + 4}">{Escape(method.Key)}</text>""");
        }

        void Add(FormattableString text) => svg.Append(Text(text)).Append('\n');
    }

    private static string Mark(double x, double y, int shape, string color) => (shape % 4) switch
    {
        0 => Text($"""<circle fill="{color}" r="4.5" cx="{x:0.0}" cy="{y:0.0}"/>"""),
        1 => Text($"""<rect fill="{color}" x="{x - 4:0.0}" y="{y - 4:0.0}" width="8" height="8"/>"""),
        2 => Text($"""<path fill="{color}" d="M{x:0.0} {y - 5:0.0}l5 9h-10z"/>"""),
        _ => Text($"""<path fill="{color}" d="M{x:0.0} {y - 6:0.0}l6 6l-6 6l-6 -6z"/>"""),
    };

    private static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Point(string Policy, string Method, double Flops, double Accuracy, (double Low, double High) Interval);
}

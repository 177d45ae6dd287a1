using System.Globalization;
using System.Net;
using System.Text;

namespace ParVts.Runner.Output;

/// <summary>
/// A plot as a small SVG, readable on light and dark pages: panels with axes, and lines, dots, bands and marks in the panel that was added
/// last. Every text is escaped. One thread at a time.
/// </summary>
internal sealed class SvgPlot
{
    /// <summary>Colours that people tell apart, in the order of their use.</summary>
    public static IReadOnlyList<string> Colors { get; } = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

    private readonly StringBuilder _svg = new();
    private SvgBox _box;
    private SvgAxis _x = new(0, 1);
    private SvgAxis _y = new(0, 1);

    /// <summary>An empty plot.</summary>
    /// <param name="width">In pixels.</param>
    /// <param name="height">In pixels.</param>
    /// <param name="title">What it shows, for those who cannot see it.</param>
    public SvgPlot(int width, int height, string title)
    {
        Append($"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" role="img">""");
        Append($"<title>{Escape(title)}</title>");
        Append($"<style>text {{ fill: #24292f; }} .g {{ stroke: #8884; }} @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3; }} }}</style>");
    }

    /// <summary>Begins a panel: its grid and the values at its left.</summary>
    /// <param name="box">Where it lies.</param>
    /// <param name="x">What its width shows.</param>
    /// <param name="y">What its height shows.</param>
    /// <param name="format">How a value at the left is written.</param>
    public void AddPanel(SvgBox box, SvgAxis x, SvgAxis y, Func<double, string> format)
    {
        (_box, _x, _y) = (box, x, y);
        foreach (double value in y.Ticks())
        {
            Append($"""<line class="g" x1="{box.Left}" x2="{box.Right}" y1="{Y(value):0.0}" y2="{Y(value):0.0}"/>""");
            AddText(box.Left - 8, Y(value) + 4, format(value), "end");
        }
    }

    /// <summary>A value under the panel.</summary>
    public void AddTick(double x, string text) => AddText(X(x), _box.Bottom + 20, text, "middle");

    /// <summary>A text at a place of the whole plot, in pixels.</summary>
    /// <param name="left">From the left.</param>
    /// <param name="top">From the top, to the text's base line.</param>
    /// <param name="text">The text.</param>
    /// <param name="anchor">Which of its ends lies there: start, middle or end.</param>
    public void AddText(double left, double top, string text, string anchor = "start") =>
        Append($"""<text x="{left:0.0}" y="{top:0.0}" text-anchor="{anchor}">{Escape(text)}</text>""");

    /// <summary>A colour and what it stands for, at a place of the whole plot.</summary>
    public void AddLegend(double left, double top, string color, string name)
    {
        Append($"""<circle fill="{color}" r="5" cx="{left:0.0}" cy="{top - 4:0.0}"/>""");
        AddText(left + 12, top, name);
    }

    /// <summary>A line through points; where a value is missing it is interrupted.</summary>
    public void AddLine(IEnumerable<(double X, double? Y)> points, string color)
    {
        var run = new List<(double X, double Y)>();
        foreach ((double x, double? y) in points)
        {
            if (y is double value)
            {
                run.Add((x, value));
                continue;
            }

            Flush();
        }

        Flush();

        void Flush()
        {
            if (run.Count > 1)
                Append($"""<polyline fill="none" stroke="{color}" stroke-width="2.5" points="{Points(run)}"/>""");
            run.Clear();
        }
    }

    /// <summary>A dot a point.</summary>
    public void AddDots(IEnumerable<(double X, double? Y)> points, string color, double radius = 4)
    {
        foreach ((double x, double? y) in points)
        {
            if (y is double value)
                Append($"""<circle fill="{color}" r="{radius}" cx="{X(x):0.0}" cy="{Y(value):0.0}"/>""");
        }
    }

    /// <summary>What lies between two lines.</summary>
    public void AddBand(IReadOnlyList<(double X, double Low, double High)> points, string color)
    {
        IEnumerable<(double, double)> outline = [.. points.Select(point => (point.X, point.High)), .. points.Reverse().Select(point => (point.X, point.Low))];
        if (points.Count > 1)
            Append($"""<polygon fill="{color}" opacity="0.18" points="{Points(outline)}"/>""");
    }

    /// <summary>A dashed line across the panel, and its name at the right above it.</summary>
    public void AddHorizontal(double y, string name, string color)
    {
        Append($"""<line stroke="{color}" stroke-dasharray="6 4" x1="{_box.Left}" x2="{_box.Right}" y1="{Y(y):0.0}" y2="{Y(y):0.0}"/>""");
        AddText(_box.Right, Y(y) - 4, name, "end");
    }

    /// <summary>A dashed line from top to bottom of the panel, and its name at the top; none where it is empty.</summary>
    public void AddVertical(double x, string name, string color)
    {
        Append($"""<line stroke="{color}" stroke-dasharray="2 3" stroke-width="1.5" x1="{X(x):0.0}" x2="{X(x):0.0}" y1="{_box.Top}" y2="{_box.Bottom}"/>""");
        if (name.Length > 0)
            AddText(X(x) + 4, _box.Top + 12, name);
    }

    /// <summary>The whole document.</summary>
    public override string ToString() => $"{_svg}</svg>\n";

    private string Points(IEnumerable<(double X, double Y)> points) =>
        string.Join(' ', points.Select(point => string.Create(CultureInfo.InvariantCulture, $"{X(point.X):0.0},{Y(point.Y):0.0}")));

    private double X(double value) => _box.Left + (_box.Right - _box.Left) * _x.Share(value);

    private double Y(double value) => _box.Bottom - (_box.Bottom - _box.Top) * _y.Share(value);

    private void Append(FormattableString text) => _svg.AppendLine(text.ToString(CultureInfo.InvariantCulture));

    private static string Escape(string text) => WebUtility.HtmlEncode(text);
}

/// <summary>A part of a plot, in pixels from its left and its top.</summary>
internal readonly record struct SvgBox(int Left, int Top, int Right, int Bottom);

using System.Globalization;
using System.Text.RegularExpressions;

namespace ParVts.Examples.Tests;

/// <summary>A page in Prometheus' text format, read strictly.</summary>
internal sealed partial class MetricsPage
{
    /// <summary>Gauges that are zero where nothing is going on.</summary>
    public static readonly string[] Busy = ["parvts_requests_running", "parvts_requests_waiting", "parvts_sessions", "parvts_kv_cache_size_bytes"];

    private readonly Dictionary<string, string> _types = [];
    private readonly List<Sample> _samples = [];

    /// <summary>Each metric's type.</summary>
    public IReadOnlyDictionary<string, string> Types => _types;

    /// <summary>Every line with a number.</summary>
    public IReadOnlyList<Sample> Samples => _samples;

    /// <summary>The sum of a metric's samples that have all of these labels; 0 where there are none.</summary>
    public double this[string name, params (string Label, string Value)[] labels] => _samples
        .Where(sample => sample.Name == name && labels.All(label => sample.Labels.GetValueOrDefault(label.Label) == label.Value)).Sum(sample => sample.Value);

    /// <summary>Reads a page; every line that is not as the format has it fails the test.</summary>
    public static MetricsPage Parse(string text)
    {
        var page = new MetricsPage();
        Assert.That(text, Does.EndWith("\n"));
        var helped = new HashSet<string>();
        foreach (string line in text[..^1].Split('\n'))
        {
            Match match = Help().Match(line);
            if (match.Success)
            {
                Assert.That(helped.Add(match.Groups["name"].Value), line);
                continue;
            }

            match = Type().Match(line);
            if (match.Success)
            {
                Assert.That(helped, Does.Contain(match.Groups["name"].Value), line);
                Assert.That(page._types.TryAdd(match.Groups["name"].Value, match.Groups["type"].Value), line);
                continue;
            }

            match = Number().Match(line);
            Assert.That(match.Success, $"not Prometheus' text format: {line}");
            string name = match.Groups["name"].Value;
            string metric = page._types.ContainsKey(name) ? name : Part().Replace(name, "");
            Assert.That(page._types.Keys.LastOrDefault(), Is.EqualTo(metric), $"{line}: samples follow their metric's TYPE");
            page._samples.Add(new Sample(
                name,
                match.Groups["label"].Captures.Zip(match.Groups["text"].Captures).ToDictionary(pair => pair.First.Value, pair => pair.Second.Value),
                Value(match.Groups["value"].Value)));
        }

        return page;
    }

    private static double Value(string text) => text == "+Inf" ? double.PositiveInfinity : double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^# HELP (?<name>[a-zA-Z_:][a-zA-Z0-9_:]*) ([^\\]|\\\\|\\n)+$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Help();

    [GeneratedRegex(@"^# TYPE (?<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?<type>counter|gauge|histogram)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Type();

    [GeneratedRegex(
        @"^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?<label>[a-zA-Z_][a-zA-Z0-9_]*)=""(?<text>([^""\\]|\\\\|\\""|\\n)*)"",?)+\})? (?<value>[-+0-9.eE]+|\+Inf)$",
        RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Number();

    [GeneratedRegex("_(bucket|sum|count)$", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Part();
}

/// <summary>A line with a number.</summary>
internal sealed record Sample(string Name, IReadOnlyDictionary<string, string> Labels, double Value);

using System.Globalization;
using System.Text;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace ChatServer;

/// <summary>
/// Writes OpenTelemetry's metrics as Prometheus reads them (text format 0.0.4), when it is asked to: names with underscores and their unit,
/// <c>_total</c> behind counters, histograms as cumulative buckets. Any thread.
/// </summary>
[ExportModes(ExportModes.Pull)]
internal sealed class PrometheusText : BaseExporter<Metric>, IPullMetricExporter
{
    private readonly Lock _gate = new();
    private readonly StringBuilder _text = new();

    /// <summary>Set by the reader that this exporter is given to: makes it collect, and export.</summary>
    public Func<int, bool>? Collect { get; set; }

    /// <summary>All metrics, as they stand now.</summary>
    public string Scrape()
    {
        lock (_gate)
        {
            _text.Clear();
            Collect?.Invoke(Timeout.Infinite);
            return _text.ToString();
        }
    }

    /// <inheritdoc/>
    public override ExportResult Export(in Batch<Metric> batch)
    {
        foreach (Metric metric in batch)
        {
            string name = NameOf(metric);
            string type = metric.MetricType switch
            {
                MetricType.Histogram => "histogram",
                MetricType.LongSum or MetricType.DoubleSum => "counter",
                _ => "gauge",
            };
            if (type == "counter")
                name += "_total";
            _text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {metric.Description.Replace("\\", "\\\\").Replace("\n", "\\n")}\n# TYPE {name} {type}\n");
            foreach (ref readonly MetricPoint point in metric.GetMetricPoints())
                Write(metric.MetricType, name, point);
        }

        return ExportResult.Success;
    }

    private void Write(MetricType type, string name, in MetricPoint point)
    {
        string labels = LabelsOf(point);
        switch (type)
        {
            case MetricType.Histogram:
                WriteHistogram(name, labels, point);
                break;
            case MetricType.LongGauge:
                Line(name, labels, point.GetGaugeLastValueLong());
                break;
            case MetricType.DoubleGauge:
                Line(name, labels, point.GetGaugeLastValueDouble());
                break;
            case MetricType.DoubleSum or MetricType.DoubleSumNonMonotonic:
                Line(name, labels, point.GetSumDouble());
                break;
            default:
                Line(name, labels, point.GetSumLong());
                break;
        }
    }

    private void WriteHistogram(string name, string labels, in MetricPoint point)
    {
        string before = labels.Length > 0 ? labels + "," : "";
        long count = 0;
        foreach (HistogramBucket bucket in point.GetHistogramBuckets())
        {
            count += bucket.BucketCount;
            Line(name + "_bucket", $"{before}le=\"{Number(bucket.ExplicitBound)}\"", count);
        }

        Line(name + "_sum", labels, point.GetHistogramSum());
        Line(name + "_count", labels, point.GetHistogramCount());
    }

    private void Line(string name, string labels, double value) =>
        _text.Append(name).Append(labels.Length > 0 ? $"{{{labels}}}" : "").Append(' ').Append(Number(value)).Append('\n');

    private static string Number(double value) => double.IsPositiveInfinity(value) ? "+Inf" : value.ToString("R", CultureInfo.InvariantCulture);

    private static string NameOf(Metric metric)
    {
        string unit = metric.Unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            string rate when rate.EndsWith("/s", StringComparison.Ordinal) => "_per_second",
            _ => "",
        };
        return metric.Name.Replace('.', '_') + unit;
    }

    private static string LabelsOf(in MetricPoint point)
    {
        var labels = new StringBuilder();
        foreach ((string key, object? value) in point.Tags)
        {
            string text = Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
            labels.Append(labels.Length > 0 ? "," : "").Append(key.Replace('.', '_')).Append("=\"")
                .Append(text.Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("\n", "\\n")).Append('"');
        }

        return labels.ToString();
    }
}

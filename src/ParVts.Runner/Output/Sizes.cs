using System.Globalization;

namespace ParVts.Runner.Output;

/// <summary>Numbers for people.</summary>
internal static class Sizes
{
    /// <summary>Bytes in MiB, or in GiB where that reads better.</summary>
    public static string Mebibytes(long bytes) => bytes >= 1L << 30
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes / 1073741824.0:0.00} GiB")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.0} MiB");

    /// <summary>A count with separators.</summary>
    public static string Count(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A share in per cent.</summary>
    public static string Percent(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:0.0} %");

    /// <summary>"3 × 669, 19 × 128": equal neighbours together.</summary>
    public static string Runs(int[] values)
    {
        var runs = new List<string>();
        for (int start = 0; start < values.Length;)
        {
            int end = start;
            while (end < values.Length && values[end] == values[start])
                end++;
            runs.Add($"{end - start} × {values[start]}");
            start = end;
        }

        return string.Join(", ", runs);
    }
}

namespace ParVts.Runner.Output;

/// <summary>What values one side of a plot shows.</summary>
/// <param name="From">The lowest, at the left or at the bottom.</param>
/// <param name="To">The highest.</param>
/// <param name="IsLogarithmic">Equal factors are equally far; both ends are then powers of ten.</param>
internal sealed record SvgAxis(double From, double To, bool IsLogarithmic = false)
{
    private const int MostTicks = 5;

    /// <summary>From 0 to a round number that is at least this.</summary>
    public static SvgAxis FromZero(double largest)
    {
        double length = largest > 0 ? largest : 1;
        double step = StepFor(length);
        return new SvgAxis(0, Math.Ceiling(length / step) * step);
    }

    /// <summary>Powers of ten round these values; values that have no logarithm do not count.</summary>
    public static SvgAxis Logarithmic(IEnumerable<double> values)
    {
        double[] positive = [.. values.Where(value => value > 0).DefaultIfEmpty(1)];
        double from = Math.Floor(Math.Log10(positive.Min()));
        double to = Math.Ceiling(Math.Log10(positive.Max()));
        return new SvgAxis(Math.Pow(10, from), Math.Pow(10, Math.Max(to, from + 1)), IsLogarithmic: true);
    }

    /// <summary>Where a value lies: 0 at the lowest, 1 at the highest; what lies outside is at the end.</summary>
    public double Share(double value) => Math.Clamp(
        IsLogarithmic ? Math.Log10(Math.Max(value, From) / From) / Math.Log10(To / From) : (value - From) / (To - From), 0, 1);

    /// <summary>Round values that a grid shows.</summary>
    public IEnumerable<double> Ticks()
    {
        if (IsLogarithmic)
        {
            for (double value = From; value < To * 3; value *= 10)
                yield return value;
            yield break;
        }

        double step = StepFor(To - From);
        for (int i = 0; From + i * step <= To + step / 2; i++)
            yield return From + i * step;
    }

    // 1, 2 or 5 times a power of ten.
    private static double StepFor(double length)
    {
        double step = Math.Pow(10, Math.Floor(Math.Log10(length / MostTicks)));
        foreach (double factor in new[] { 1, 2, 5 })
        {
            if (step * factor * MostTicks >= length * (1 - 1e-9))
                return step * factor;
        }

        return step * 10;
    }
}

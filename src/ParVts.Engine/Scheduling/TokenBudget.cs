using System.Globalization;

namespace ParVts.Engine.Scheduling;

/// <summary>How many visual tokens a policy keeps: a count, a share of what is there, or as suits the device.</summary>
public readonly record struct TokenBudget
{
    // The literature's strictest common budget, 64 of 576: what "auto" aims at.
    private const double AutoShare = 1.0 / 9;

    private readonly double _value;
    private readonly string _text;

    private TokenBudget(double value, string text)
    {
        _value = value;
        _text = text;
    }

    /// <summary>What <see cref="TryParse"/> takes, for people.</summary>
    public static string Allowed => "a count of at least 1, a share above 0 and below 1 of the visual tokens, or auto";

    /// <summary>Reads "64", "0.25" or "auto"; null for anything else.</summary>
    public static TokenBudget? TryParse(string text)
    {
        if (text == "auto")
            return new TokenBudget(0, text);
        if (!double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
            || !(value > 0 && value <= int.MaxValue))
            return null;

        // "1.0" would be read as a share of all by some, as one token by others.
        return value >= 1 && text.Contains('.', StringComparison.Ordinal) ? null : new TokenBudget(value, text);
    }

    /// <summary>
    /// The count, of <paramref name="visual"/> tokens: shares round half to even (SCHEDULES.md) and keep at least one;
    /// never more than there are. "auto" aims at a ninth and takes the count that fills the device's last row tile.
    /// </summary>
    /// <param name="visual">Visual tokens to choose from.</param>
    /// <param name="otherRows">Rows that run beside them.</param>
    /// <param name="rowTile">Rows that the device works on at a time.</param>
    public int Count(int visual, int otherRows, int rowTile)
    {
        if (_text != "auto")
            return _value >= 1 ? (int)Math.Min(_value, visual) : Math.Min(visual, Math.Max(1, (int)Math.Round(visual * _value)));

        // Whole tiles, as near to the aim as they come, with at least one visual token among their rows.
        double aim = visual * AutoShare;
        int tiles = (int)Math.Max(1, Math.Round((aim + otherRows) / rowTile));
        while (tiles * rowTile - otherRows < 1)
            tiles++;
        return Math.Min(visual, tiles * rowTile - otherRows);
    }

    /// <inheritdoc/>
    public override string ToString() => _text;
}

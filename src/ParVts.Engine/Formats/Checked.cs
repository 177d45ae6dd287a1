namespace ParVts.Engine.Formats;

/// <summary>Holds the numbers of one config file against their limits.</summary>
internal readonly record struct Checked(string File)
{
    /// <summary>A whole number in a range.</summary>
    public int Integer(string property, int value, int least, int most) =>
        value >= least && value <= most
            ? value
            : throw Wrong(property, $"is {value}, but must be a whole number from {least} to {most}");

    /// <summary>A number in a range, both ends included.</summary>
    public double Number(string property, double value, double least, double most) =>
        value >= least && value <= most ? value : throw Wrong(property, $"is {value}, but must be from {least} to {most}");

    /// <summary>Makes the error.</summary>
    public ModelFormatException Wrong(string property, string message) => new(File, Excerpt(property), Excerpt(message));

    /// <summary>The beginning of a text: names and values in a hostile file may have megabytes, a message should not.</summary>
    public static string Excerpt(string text)
    {
        const int MaxLength = 600;
        return text.Length <= MaxLength ? text : text[..MaxLength] + "…";
    }
}

using System.Globalization;

namespace ParVts.Runner.Evaluation;

/// <summary>A part of the questions: --shard. Shards are runs of neighbours, which share pictures; together they are all.</summary>
/// <param name="Number">Which, from 1.</param>
/// <param name="Count">Of how many.</param>
internal readonly record struct Shard(int Number, int Count)
{
    /// <summary>All of the questions.</summary>
    public static Shard All { get; } = new(1, 1);

    /// <summary>Reads "2/8".</summary>
    /// <exception cref="UsageException">It is something else.</exception>
    public static Shard Parse(string text)
    {
        string[] parts = text.Split('/');
        return parts.Length == 2 && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int count) && number >= 1 && number <= count
            ? new Shard(number, count)
            : throw new UsageException($"--shard {text}: write 1/4 for the first of four, up to 4/4");
    }

    /// <summary>Its questions.</summary>
    public IReadOnlyList<T> Of<T>(IReadOnlyList<T> questions)
    {
        int start = (int)((long)questions.Count * (Number - 1) / Count);
        int end = (int)((long)questions.Count * Number / Count);
        return [.. questions.Skip(start).Take(end - start)];
    }
}

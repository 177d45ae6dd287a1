using System.Globalization;
using Spectre.Console;

namespace ParVts.Runner.Output;

/// <summary>A table of texts, for the terminal and for Markdown pages.</summary>
/// <param name="Title">What stands above it, and above others of the same.</param>
/// <param name="Columns">The titles of its columns.</param>
/// <param name="Rows">Its rows.</param>
internal sealed record TextTable(string Title, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    /// <summary>On standard output; without the title.</summary>
    public void Print()
    {
        Table table = Terminal.CreateTable([.. Columns]);
        foreach (IReadOnlyList<string> row in Rows)
            table.AddTextRow([.. row]);
        Terminal.Out.Write(table);
    }

    /// <summary>As Markdown; without the title.</summary>
    public void WriteMarkdown(TextWriter writer)
    {
        WriteLine(Columns);
        writer.WriteLine("|---|" + string.Concat(Enumerable.Repeat("---:|", Columns.Count - 1)));
        foreach (IReadOnlyList<string> row in Rows)
            WriteLine(row);

        void WriteLine(IEnumerable<string> cells) =>
            writer.WriteLine("| " + string.Join(" | ", cells.Select(cell => cell.Replace("|", "\\|", StringComparison.Ordinal))) + " |");
    }

    /// <summary>A number with as many digits as say something: three, and all before the point.</summary>
    public static string Figure(double value)
    {
        int digits = value <= 0 ? 0 : Math.Clamp(2 - (int)Math.Floor(Math.Log10(value)), 0, 6);
        return value.ToString("F" + digits.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }
}

using Spectre.Console;

namespace ParVts.Runner.Output;

/// <summary>The two consoles: results on standard output, everything else on standard error.</summary>
internal static class Terminal
{
    private const int WidthOfFiles = 160;

    /// <summary>Standard output, for tables.</summary>
    public static IAnsiConsole Out { get; } = Create(Console.Out, Console.IsOutputRedirected);

    /// <summary>Standard error, for progress and pictures.</summary>
    public static IAnsiConsole Error { get; } = Create(Console.Error, Console.IsErrorRedirected);

    /// <summary>Standard error is a terminal that takes control sequences.</summary>
    public static bool IsInteractive { get; } = !Console.IsErrorRedirected && Error.Profile.Capabilities.Ansi;

    /// <summary>A line on standard error.</summary>
    public static void Note(string text) => Console.Error.WriteLine(text);

    /// <summary>A table in the runner's style; its cells are plain text.</summary>
    public static Table CreateTable(params string[] columns)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (string column in columns)
            table.AddColumn(new TableColumn(new Text(column)) { NoWrap = true });
        return table;
    }

    /// <summary>Adds a row of plain text.</summary>
    public static void AddTextRow(this Table table, params string[] cells) =>
        table.AddRow(cells.Select(cell => new Text(cell)));

    private static IAnsiConsole Create(TextWriter writer, bool redirected)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = redirected ? AnsiSupport.No : AnsiSupport.Detect,
        });
        if (redirected)
            console.Profile.Width = WidthOfFiles;
        return console;
    }
}

using System.Globalization;
using ParVts.Engine.Imaging;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// MMBench (Liu and others, 2023): <c>mmbench_dev_20230712.tsv</c>, a row a question, its picture in base64. Rows that ask a
/// question again with its options turned round have its number and so many millions.
/// </summary>
internal sealed class MmBench : Benchmark
{
    private const string Options = "ABCD";

    // Further turns of question 241 are numbered 1000241, 2000241 …
    private const int Turn = 1_000_000;

    // A picture's cell may name the row that holds the same picture.
    private const int LongestNumber = 18;

    private static readonly char[] s_marks = [.. ".()[],:;!*#{}"];

    public override string Name => "mmbench";

    public override int PublishedTokens => 1024;

    public override bool Claims(DataSource source) => source.IsFolder
        ? source.Find("mmbench*.tsv").Count > 0
        : new[] { "index", "question", "A", "B", "image" }.All(source.Columns.Contains);

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source) => [.. Rows(source).Select(row => row.Question)];

    public override Func<string, RgbImage> Pictures(DataSource source, string folder)
    {
        string file = FileOf(source);
        Dictionary<string, CellPlace> places = Rows(source).ToDictionary(row => row.Question.Image, row => row.Picture);
        return name => Load(file, name, places);
    }

    public override string? PictureFile(string folder, string name) => null;

    public override double Score(EvaluationQuestion question, string answer) => Letter(answer) == question.Answer ? 1 : 0;

    /// <summary>Where questions are asked in several turns: a question counts where every turn of it is right ("circular").</summary>
    public override IEnumerable<Figure> Figures(PolicyScore score)
    {
        var questions = score.Answered().GroupBy(pair => Number(pair.Question) % Turn).ToArray();
        if (questions.Any(turns => turns.Count() > 1))
        {
            yield return new Figure("circular", questions.Average(turns => turns.All(pair => pair.Answer.IsCorrect) ? 1.0 : 0.0), IsShare: true);
            yield return new Figure(
                "first turn", questions.SelectMany(turns => turns).Where(pair => Number(pair.Question) < Turn).Select(pair => pair.Answer.Score).DefaultIfEmpty().Average(), IsShare: true);
        }
    }

    /// <summary>The letter that stands by itself in the answer; null where none does, or several. (The published evaluation then asks a language model.)</summary>
    internal static string? Letter(string answer)
    {
        string[] words = string.Join(' ', answer.Split(s_marks)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        string[] letters = [.. Options.Select(letter => $"{letter}").Where(words.Contains)];

        // "A" may be an article; a letter that is meant stands near the end.
        return letters.Length == 1 && Array.IndexOf(words, letters[0]) > words.Length - 5 ? letters[0] : null;
    }

    private static int Number(EvaluationQuestion question) => int.Parse(question.Id, CultureInfo.InvariantCulture);

    private static string FileOf(DataSource source) =>
        source.IsFolder ? source.Require("mmbench*.tsv", "it holds the questions") : source.Path;

    private static IEnumerable<(EvaluationQuestion Question, CellPlace Picture)> Rows(DataSource source)
    {
        string file = FileOf(source);
        using FileStream scan = File.OpenRead(file);
        using FileStream stream = File.OpenRead(file);
        var reader = new TsvReader(scan, file);
        List<CellPlace> header = reader.Next() ?? throw new InputFileException(file, 1, "is empty");
        string[] names = [.. header.Select(place => TsvReader.Text(stream, place))];
        string[] needed = ["index", "question", "answer", "image", "A", "B"];
        if (needed.Where(name => !names.Contains(name)).ToArray() is { Length: > 0 } missing)
            throw new InputFileException(file, 1, $"there is no column '{missing[0]}' (the test split's answers are not published)");
        var seen = new HashSet<string>();
        while (reader.Next() is List<CellPlace> row)
        {
            if (row.Count != names.Length)
                throw new InputFileException(file, reader.Line, $"has {row.Count} cells; the header has {names.Length}");
            EvaluationQuestion question = Question(name => Cell(name, row));
            if (!seen.Add(question.Id))
                throw new InputFileException(file, reader.Line, $"its index {question.Id} is in it twice");
            yield return (question, row[Array.IndexOf(names, "image")]);
        }

        string? Cell(string name, List<CellPlace> row)
        {
            int column = Array.IndexOf(names, name);
            string text = column < 0 ? "" : TsvReader.Text(stream, row[column]);
            return text.ToLowerInvariant() is "" or "nan" or "none" ? null : text;
        }

        EvaluationQuestion Question(Func<string, string?> cell)
        {
            string? index = cell("index");
            if (!int.TryParse(index, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
                throw new InputFileException(file, reader.Line, $"its index '{index}' is no number");
            (char Letter, string Text)[] options =
                [.. Options.Select(letter => (letter, cell($"{letter}"))).TakeWhile(option => option.Item2 is not null).Select(option => (option.letter, option.Item2!))];
            string? answer = cell("answer");
            if (answer is null || options.All(option => $"{option.Letter}" != answer))
                throw new InputFileException(file, reader.Line, $"its answer '{answer}' is none of its options");
            string asked = cell("question") ?? throw new InputFileException(file, reader.Line, "has no question");
            string hint = cell("hint") is string text ? text + "\n" : "";
            return new EvaluationQuestion(
                $"{number}", $"{Path.GetFileName(file)}#{number}",
                hint + asked + string.Concat(options.Select(option => $"\n{option.Letter}. {option.Text}")) + OptionLetter, answer, cell("category"));
        }
    }

    private static RgbImage Load(string file, string name, Dictionary<string, CellPlace> places)
    {
        using FileStream stream = File.OpenRead(file);
        string cell = TsvReader.Text(stream, places[name]);
        if (cell.Length <= LongestNumber && int.TryParse(cell, NumberStyles.None, CultureInfo.InvariantCulture, out int other)
            && places.TryGetValue($"{Path.GetFileName(file)}#{other}", out CellPlace place))
        {
            cell = TsvReader.Text(stream, place);
        }

        byte[] bytes = new byte[cell.Length];
        if (!Convert.TryFromBase64String(cell, bytes, out int length) || length == 0)
            throw new InputFileException(file, $"question {name[(name.LastIndexOf('#') + 1)..]}", "its picture is not base64");
        return ImageDecoder.Decode(bytes.AsSpan(0, length));
    }
}

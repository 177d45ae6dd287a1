namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// MME (Fu and others, 2023): a folder a category; in it pictures, and to each a text file of the same name with two lines
/// "question, tab, Yes or No". Some categories have both in one folder, others in <c>images</c> and <c>questions_answers_YN</c>.
/// </summary>
internal sealed class Mme : Benchmark
{
    private const string Release = "MME_Benchmark_release_version";
    private const string Release2 = "MME_Benchmark";
    private const string Texts = "questions_answers_YN";
    private const string Images = "images";
    private const string YesOrNo = "Please answer yes or no.";
    private const long MaxTextBytes = 1 << 20;

    private static readonly string[] s_extensions = [".jpg", ".png", ".jpeg"];

    private static readonly string[] s_perception = ["existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"];

    private static readonly string[] s_cognition = ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"];

    public override string Name => "mme";

    public override IReadOnlyList<string> ImageFolders => [Release, Release2, $"{Release}/{Release2}"];

    public override bool Claims(DataSource source) => source.IsFolder && Categories(source).Any();

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source)
    {
        if (!source.IsFolder)
            throw new InputFileException(source.Path, "is a file; MME is a folder with a folder for each category");
        return [.. Categories(source).SelectMany(category => Directory.GetFiles(category.Texts, "*.txt").Order(StringComparer.Ordinal)
            .SelectMany(file => ReadFile(source.Folder, category.Folder, category.Images, file)))];
    }

    public override double Score(EvaluationQuestion question, string answer) => Read(answer) == question.Answer ? 1 : 0;

    /// <summary>
    /// The score of a category: its accuracy and its share of pictures with both questions right ("accuracy+"), each in per cent,
    /// added; and their sums over the categories of perception and of cognition.
    /// </summary>
    public override IEnumerable<Figure> Figures(PolicyScore score)
    {
        var categories = score.Answered().GroupBy(pair => pair.Question.Kind!).ToDictionary(
            group => group.Key,
            group => (
                Accuracy: group.Average(pair => pair.Answer.Score),
                Plus: group.GroupBy(pair => pair.Question.Image).Average(picture => picture.All(pair => pair.Answer.IsCorrect) ? 1.0 : 0.0)));
        yield return new Figure("perception", Sum(s_perception), IsShare: false);
        yield return new Figure("cognition", Sum(s_cognition), IsShare: false);
        foreach (string name in s_perception.Concat(s_cognition).Concat(categories.Keys.Order(StringComparer.Ordinal)).Distinct().Where(categories.ContainsKey))
        {
            yield return new Figure($"{name} accuracy+", categories[name].Plus, IsShare: true);
            yield return new Figure($"{name} score", ScoreOf(name), IsShare: false);
        }

        double ScoreOf(string name) => 100 * (categories[name].Accuracy + categories[name].Plus);
        double Sum(string[] names) => names.Where(categories.ContainsKey).Sum(ScoreOf);
    }

    /// <summary>"yes" or "no", where that is the answer or stands within its first four characters; else "other".</summary>
    internal static string Read(string answer)
    {
        string start = answer.ToLowerInvariant();
        start = start[..Math.Min(4, start.Length)];
        return start.Contains("yes", StringComparison.Ordinal) ? "yes" : start.Contains("no", StringComparison.Ordinal) ? "no" : "other";
    }

    private static IEnumerable<(string Folder, string Texts, string Images)> Categories(DataSource source)
    {
        foreach (string root in new[] { source.Folder, Path.Combine(source.Folder, Release), Path.Combine(source.Folder, Release2), Path.Combine(source.Folder, Release, Release2) })
        {
            (string, string, string)[] found = Directory.Exists(root)
                ? [.. Directory.GetDirectories(root).Order(StringComparer.Ordinal).Select(Category).OfType<(string, string, string)>()]
                : [];
            if (found.Length > 0)
                return found;
        }

        return [];
    }

    private static (string Folder, string Texts, string Images)? Category(string folder)
    {
        string texts = Path.Combine(folder, Texts);
        if (Directory.Exists(texts))
            return (folder, texts, Path.Combine(folder, Images));
        string? text = Directory.EnumerateFiles(folder, "*.txt").FirstOrDefault();
        return text is not null && Picture(folder, text) is not null ? (folder, folder, folder) : null;
    }

    private static string? Picture(string images, string text) => s_extensions
        .Select(extension => Path.Combine(images, Path.GetFileNameWithoutExtension(text) + extension))
        .FirstOrDefault(File.Exists);

    private static IEnumerable<EvaluationQuestion> ReadFile(string root, string folder, string images, string file)
    {
        if (new FileInfo(file).Length > MaxTextBytes)
            throw new InputFileException(file, "is too large for a text with two questions");
        string picture = Picture(images, file) ?? throw new InputFileException(file, $"there is no picture of this name in {images}");
        string category = Path.GetFileName(folder);
        string image = Path.GetRelativePath(root, picture).Replace('\\', '/');
        int number = 0;
        foreach (string line in File.ReadLines(file))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line))
                continue;
            string[] cells = line.Trim().Split('\t');
            string answer = cells[^1].Trim().ToLowerInvariant();
            if (cells.Length != 2 || answer is not ("yes" or "no"))
                throw new InputFileException(file, number, "expected a question, a tab, and Yes or No");

            // The LLaVA-1.5 run asks for a word instead.
            string asked = cells[0].Replace(YesOrNo, "", StringComparison.Ordinal).Trim();
            yield return new EvaluationQuestion($"{category}/{Path.GetFileNameWithoutExtension(file)}#{number}", image, asked + ShortAnswer, answer, category);
        }
    }
}

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// POPE (Li and others, 2023): is this object in the picture? <c>coco_pope_*.json</c>, a question a line; or the LLaVA-1.5 run's
/// question file with those beside it.
/// </summary>
internal sealed class Pope : Benchmark
{
    private const string Prefix = "coco_pope_";
    private static readonly string[] s_no = ["No", "not", "no"];

    public override string Name => "pope";

    public override IReadOnlyList<string> ImageFolders => ["val2014", "../val2014"];

    public override bool Claims(DataSource source) => source.IsFolder
        ? Annotations(source).Count > 0
        : source.HasOuter("image", "text", "label") || (source.IsLlavaQuestions && Annotations(source).Count > 0);

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source)
    {
        if (source.IsLlavaQuestions)
            return ReadLlava(source);
        IReadOnlyList<string> files = source.IsFolder ? Annotations(source) : [source.Path];
        return [.. files.SelectMany(file => ReadSplit(file).Select(one => one.Question))];
    }

    public override double Score(EvaluationQuestion question, string answer) => SaysYes(answer) == IsYes(question.Answer) ? 1 : 0;

    /// <summary>By split, and the mean of the splits: precision and recall of "yes", their harmonic mean, how often "yes" is said.</summary>
    public override IEnumerable<Figure> Figures(PolicyScore score)
    {
        Figure[][] splits = [.. score.Answered().GroupBy(pair => pair.Question.Kind ?? "").OrderBy(group => group.Key, StringComparer.Ordinal).Select(Split)];
        if (splits.Length > 1)
        {
            foreach (string name in new[] { "precision", "recall", "F1", "yes ratio" })
                yield return new Figure($"{name}, mean of splits", splits.Average(split => split.First(figure => figure.Name.EndsWith(name)).Value), IsShare: true);
        }

        foreach (Figure figure in splits.SelectMany(split => split))
            yield return figure;
    }

    /// <summary>
    /// The answer read as the LLaVA-1.5 evaluation does: of its first sentence, without commas; "no" where one of the words No, no
    /// and not stands in it, else "yes".
    /// </summary>
    internal static bool SaysYes(string answer) =>
        !answer.Split('.')[0].Replace(",", "", StringComparison.Ordinal).Split(' ').Any(word => s_no.Contains(word));

    private static bool IsYes(string label) => label != "no";

    private static Figure[] Split(IGrouping<string, (EvaluationQuestion Question, EvaluationAnswer Answer)> split)
    {
        (bool Said, bool Is)[] answers = [.. split.Select(pair => (SaysYes(pair.Answer.Text), IsYes(pair.Question.Answer)))];
        double both = answers.Count(one => one.Said && one.Is);
        double said = answers.Count(one => one.Said);
        double precision = Share(both, said);
        double recall = Share(both, answers.Count(one => one.Is));
        return
        [
            new Figure($"{split.Key} precision", precision, IsShare: true),
            new Figure($"{split.Key} recall", recall, IsShare: true),
            new Figure($"{split.Key} F1", Share(2 * precision * recall, precision + recall), IsShare: true),
            new Figure($"{split.Key} yes ratio", Share(said, answers.Length), IsShare: true),
        ];
    }

    // Of nothing: 0, where the published script divides by zero.
    private static double Share(double part, double whole) => whole == 0 ? 0 : part / whole;

    private static IReadOnlyList<string> Annotations(DataSource source) => source.Find(Prefix + "*.json", "coco");

    private static IEnumerable<(DataEntry Entry, EvaluationQuestion Question)> ReadSplit(string file)
    {
        string name = Path.GetFileNameWithoutExtension(file);
        string split = name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;
        return DataEntry.Lines(file).Select(entry => (entry, new EvaluationQuestion(
            $"{split}/{entry.Text("question_id")}", entry.Text("image"), entry.Text("text") + ShortAnswer, Label(entry), split)));
    }

    private static string Label(DataEntry entry) => entry.Text("label") switch
    {
        "yes" or "no" => entry.Text("label"),
        string other => throw entry.Error($"its label is '{other}'; it must be yes or no"),
    };

    // Its questions stand in the order of each split's own file.
    private static IReadOnlyList<EvaluationQuestion> ReadLlava(DataSource source)
    {
        source.Require(Prefix + "*.json", "these hold the right answers", "coco");
        Dictionary<string, Queue<EvaluationQuestion>> splits = Annotations(source)
            .SelectMany(file => ReadSplit(file).Select(one => one.Question))
            .GroupBy(question => question.Kind!)
            .ToDictionary(group => group.Key, group => new Queue<EvaluationQuestion>(group));
        var questions = new List<EvaluationQuestion>();
        foreach (LlavaQuestion line in LlavaQuestion.Read(source.Path))
        {
            if (!splits.TryGetValue(line.Category ?? "", out Queue<EvaluationQuestion>? split) || !split.TryDequeue(out EvaluationQuestion? labelled))
                throw line.Entry.Error($"{Prefix}{line.Category}.json holds no right answer to it");
            if (labelled.Image != line.Image)
                throw line.Entry.Error($"asks of {line.Image}, but {Prefix}{line.Category}.json of {labelled.Image} at this place");
            questions.Add(labelled with { Id = $"{line.Category}/{line.Id}", Question = line.Prompt });
        }

        return questions;
    }
}

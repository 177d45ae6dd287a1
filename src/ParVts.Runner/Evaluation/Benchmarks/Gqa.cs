namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// GQA (Hudson and Manning, 2019): <c>testdev_balanced_questions.json</c>, one object of questions by id; or the LLaVA-1.5 run's
/// question file with that beside it.
/// </summary>
internal sealed class Gqa : Benchmark
{
    private const string Annotations = "*_balanced_questions.json";

    private static readonly string[] s_below = ["data", "data/questions", "questions"];

    public override string Name => "gqa";

    public override IReadOnlyList<string> ImageFolders => ["images", "data/images", "../images"];

    public override bool Claims(DataSource source) => source.IsFolder || source.IsLlavaQuestions
        ? source.Find(Annotations, s_below).Count > 0
        : source.HasInner("imageId", "question");

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source)
    {
        if (!source.IsLlavaQuestions)
            return [.. Labelled(source.IsFolder ? Require(source) : source.Path)];
        Dictionary<string, EvaluationQuestion> labelled = Labelled(Require(source)).ToDictionary(question => question.Id);
        return
        [
            .. LlavaQuestion.Read(source.Path).Select(line => labelled.TryGetValue(line.Id, out EvaluationQuestion? known)
                ? known with { Image = line.Image, Question = line.Prompt }
                : throw line.Entry.Error($"{Annotations} holds no right answer to question '{line.Id}'")),
        ];
    }

    /// <summary>Equal to the one right answer, after dropping full stops at its end and lower-casing, as the LLaVA-1.5 run converts it.</summary>
    public override double Score(EvaluationQuestion question, string answer)
    {
        string said = answer.Trim().TrimEnd('.').ToLowerInvariant();
        return said == question.Answer ? 1 : 0;
    }

    private static string Require(DataSource source) => source.Require(Annotations, "it holds the right answers", s_below);

    private static IEnumerable<EvaluationQuestion> Labelled(string file) => DataEntry.Whole(file).Members().Select(member => new EvaluationQuestion(
        member.Key,
        member.Value.Text("imageId") + ".jpg",
        member.Value.Text("question") + ShortAnswer,
        member.Value.Text("answer"),
        EvaluationQuestion.KindOf(member.Value.Member("types")?.OptionalText("structural"))));
}

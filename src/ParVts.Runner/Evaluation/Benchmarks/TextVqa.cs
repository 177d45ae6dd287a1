namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// TextVQA (Singh and others, 2019): <c>TextVQA_0.5.1_val.json</c>, ten people's answers to a question; where the LLaVA-1.5 run's
/// question file lies beside it, or is named itself, its prompts are asked, which quote what a text recogniser read.
/// </summary>
internal sealed class TextVqa : Benchmark
{
    // People's answers hold no line ends.
    private const char Separator = '\n';

    private const string Annotations = "TextVQA_*.json";
    private const string Prompts = "llava_textvqa*.jsonl";

    public override string Name => "textvqa";

    public override IReadOnlyList<string> ImageFolders => ["train_images", "train_val_images/train_images", "../train_images"];

    public override bool Claims(DataSource source) => source.IsFolder || source.IsLlavaQuestions
        ? source.Find(Annotations).Count > 0
        : source.HasOuter("data");

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source)
    {
        string? prompts = source.IsLlavaQuestions ? source.Path : source.IsFolder && source.Find(Prompts) is [string first, ..] ? first : null;
        string annotations = source.IsFolder || source.IsLlavaQuestions ? source.Require(Annotations, "it holds the right answers") : source.Path;
        (string Image, string Asked, EvaluationQuestion Question)[] labelled = [.. Labelled(annotations)];
        if (prompts is null)
            return [.. labelled.Select(one => one.Question)];

        // A picture's questions differ: the published evaluation finds the answers by both.
        var known = new Dictionary<(string, string), EvaluationQuestion>();
        foreach ((string image, string asked, EvaluationQuestion question) in labelled)
            known.TryAdd((image, asked.ToLowerInvariant()), question);
        return
        [
            .. LlavaQuestion.Read(prompts).Select(line => known.TryGetValue((line.Id, line.Question.ToLowerInvariant()), out EvaluationQuestion? question)
                ? question with { Image = line.Image, Question = line.Prompt }
                : throw line.Entry.Error($"{Path.GetFileName(annotations)} holds no answers to it")),
        ];
    }

    /// <summary>
    /// The soft accuracy of VQA: of the ten ways to leave one person out, the mean of min(1, agreeing others / 3); all answers
    /// normalised as <see cref="EvalAiText"/> does.
    /// </summary>
    public override double Score(EvaluationQuestion question, string answer)
    {
        string said = EvalAiText.Normalise(answer);
        string[] people = [.. question.Answer.Split(Separator).Select(EvalAiText.Normalise)];
        int agree = people.Count(other => other == said);

        // In thirds and whole numbers, so that 3 of 10 are 0.9 and not a hair beside it.
        int thirds = agree * Math.Min(3, agree - 1) + (people.Length - agree) * Math.Min(3, agree);
        return agree == 0 ? 0 : thirds / (3.0 * people.Length);
    }

    private static IEnumerable<(string Image, string Asked, EvaluationQuestion Question)> Labelled(string file)
    {
        DataEntry whole = DataEntry.Whole(file);
        int index = 0;
        foreach (System.Text.Json.JsonElement element in whole.List("data"))
        {
            DataEntry entry = whole with { Place = $"entry {index++} (from 0)", Json = element };
            if (element.ValueKind != System.Text.Json.JsonValueKind.Object)
                throw entry.Error("is no object");
            string[] answers = entry.Texts("answers");
            if (answers.Length == 0)
                throw entry.Error("'answers' is empty; the test split's answers are not published");
            string image = entry.Text("image_id");
            string asked = entry.Text("question");
            string together = string.Join(Separator, answers.Select(one => one.ReplaceLineEndings(" ")));
            yield return (image, asked, new EvaluationQuestion(entry.Text("question_id"), image + ".jpg", asked + ShortAnswer, together, null));
        }
    }
}

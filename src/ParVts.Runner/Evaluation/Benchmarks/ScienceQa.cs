using System.Text.RegularExpressions;

namespace ParVts.Runner.Evaluation.Benchmarks;

/// <summary>
/// ScienceQA (Lu and others, 2022), the questions that have a picture ("IMG"): <c>problems.json</c> and <c>pid_splits.json</c>, of
/// which the test split is asked; or the LLaVA-1.5 run's question file, which holds the right answers itself.
/// </summary>
internal sealed partial class ScienceQa : Benchmark
{
    private const string Letters = "ABCDE";
    private const string Problems = "problems.json";
    private const string Splits = "pid_splits.json";
    private const string Split = "test";

    public override string Name => "scienceqa";

    public override int PublishedTokens => 1024;

    public override IReadOnlyList<string> ImageFolders => ["images/test", "test", "images"];

    public override bool Claims(DataSource source) => source.IsFolder
        ? source.Find(Problems).Count > 0
        : source.IsArray ? source.HasInner("conversations") : source.HasInner("choices");

    public override IReadOnlyList<EvaluationQuestion> Read(DataSource source)
    {
        if (source.IsArray)
            return [.. DataEntry.Whole(source.Path).Elements().Select(OfConversation).OfType<EvaluationQuestion>()];
        string file = source.IsFolder ? source.Require(Problems, "it holds the questions") : source.Path;
        Dictionary<string, DataEntry> problems = DataEntry.Whole(file).Members();
        DataEntry splits = DataEntry.Whole(source.Require(Splits, "it says which questions are the test"));
        if (splits.Json.ValueKind != System.Text.Json.JsonValueKind.Object)
            throw splits.Error("is no object");
        return
        [
            .. splits.Texts(Split)
                .Select(id => problems.TryGetValue(id, out DataEntry problem) ? OfProblem(id, problem) : throw splits.Error($"'{Split}' names question '{id}', which {Problems} has not"))
                .OfType<EvaluationQuestion>(),
        ];
    }

    public override double Score(EvaluationQuestion question, string answer) => Letter(answer) == question.Answer ? 1 : 0;

    /// <summary>
    /// The letter that an answer chooses, as the LLaVA-1.5 evaluation reads it: alone, at the beginning with a full stop and a space,
    /// or in the one "The answer is X."; null for anything else, which is wrong.
    /// </summary>
    internal static string? Letter(string answer)
    {
        if (answer.Length == 1 && Letters.Contains(answer[0]))
            return answer;
        if (answer.Length >= 3 && Letters.Contains(answer[0]) && answer[1] == '.' && answer[2] == ' ')
            return answer[..1];
        MatchCollection said = TheAnswerIs().Matches(answer);
        return said.Count == 1 ? said[0].Groups["letter"].Value : null;
    }

    // Null without a picture.
    private static EvaluationQuestion? OfProblem(string id, DataEntry problem)
    {
        if (problem.OptionalText("image") is not { Length: > 0 } image)
            return null;
        string[] choices = problem.Texts("choices");
        if (choices.Length is < 1 or > 5)
            throw problem.Error($"has {choices.Length} choices; there must be 1 to {Letters.Length}");
        string options = string.Join(' ', choices.Select((choice, place) => $"({Letters[place]}) {choice}"));
        string context = (problem.OptionalText("hint") ?? "").Trim();
        string asked = $"Context: {(context.Length == 0 ? "N/A" : context)}\nQuestion: {problem.Text("question")}\nOptions: {options}";
        return new EvaluationQuestion(
            id, $"{id}/{image}", asked.Replace("  ", " ", StringComparison.Ordinal).Trim() + OptionLetter,
            $"{Letters[problem.Index("answer", choices.Length)]}", EvaluationQuestion.KindOf(problem.OptionalText("subject")));
    }

    private static EvaluationQuestion? OfConversation(DataEntry entry)
    {
        if (entry.OptionalText("image") is not { Length: > 0 } image)
            return null;
        System.Text.Json.JsonElement[] turns = entry.List("conversations");
        if (turns.Length < 2 || turns[..2].Any(turn => turn.ValueKind != System.Text.Json.JsonValueKind.Object))
            throw entry.Error("'conversations' has no question and answer");
        string asked = (entry with { Json = turns[0] }).Text("value").Replace("<image>", "", StringComparison.Ordinal).Trim();
        string right = (entry with { Json = turns[1] }).Text("value");
        return new EvaluationQuestion(
            entry.Text("id"), image, asked + OptionLetter, Letter(right) ?? throw entry.Error("its answer names no letter"), null);
    }

    [GeneratedRegex("The answer is (?<letter>[A-Z]).", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex TheAnswerIs();
}

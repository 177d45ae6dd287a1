using System.Globalization;
using System.Text.Json;
using ParVts.Runner.Output;
using Spectre.Console;

namespace ParVts.Runner.Evaluation;

/// <summary>An evaluation as a table, as JSON, and question by question as CSV.</summary>
internal static class EvaluationReport
{
    /// <summary>A column a policy, a row a figure.</summary>
    public static void WriteTable(IReadOnlyList<PolicyScore> scores)
    {
        Table table = Terminal.CreateTable(["", .. scores.Select(score => score.Policy)]);
        Add("questions", score => Sizes.Count(score.Answers.Count));
        Add("accuracy", score => Sizes.Percent(score.Accuracy));
        (string Kind, double, int Questions)[] kinds = [.. scores[0].ByKind()];
        for (int i = 0; i < kinds.Length; i++)
        {
            int kind = i;
            Add($"  {kinds[i].Kind} ({kinds[i].Questions})", score => Sizes.Percent(score.ByKind().ElementAt(kind).Accuracy));
        }

        Add("agreement", score => Sizes.Percent(score.Agreement));
        Add("prefill FLOPs", score => Sizes.Percent(score.Mean(answer => answer.FlopsShare)));
        Add("vision", score => Milliseconds(score.Mean(answer => answer.Times.Vision)));
        Add("prefill", score => Milliseconds(score.Mean(answer => answer.Times.Prefill)));
        Add("answer", score => Milliseconds(score.Mean(answer => answer.Times.Total)));
        Terminal.Out.Write(table);

        void Add(string name, Func<PolicyScore, string> cell) => table.AddTextRow([name, .. scores.Select(cell)]);
    }

    /// <summary>The members of <c>eval --json</c>.</summary>
    public static void WriteJson(Utf8JsonWriter json, InferenceEngine engine, IReadOnlyList<PolicyScore> scores)
    {
        json.WriteString("device", engine.DeviceName);
        json.WriteStartArray("policies");
        foreach (PolicyScore score in scores)
        {
            json.WriteStartObject();
            json.WriteString("policy", score.Policy);
            json.WriteNumber("questions", score.Answers.Count);
            json.WriteNumber("correct", score.Answers.Count(answer => answer.IsCorrect));
            json.WriteNumber("accuracy", score.Accuracy);
            json.WriteStartObject("by_kind");
            foreach ((string kind, double accuracy, _) in score.ByKind())
                json.WriteNumber(kind, accuracy);
            json.WriteEndObject();
            json.WriteNumber("agreement", score.Agreement);
            json.WriteNumber("flops_share", score.Mean(answer => answer.FlopsShare));
            json.WriteStartObject("mean_ms");
            json.WriteMilliseconds("vision", score.Mean(answer => answer.Times.Vision));
            json.WriteMilliseconds("prefill", score.Mean(answer => answer.Times.Prefill));
            json.WriteMilliseconds("first_token", score.Mean(answer => answer.Times.FirstToken));
            json.WriteMilliseconds("total", score.Mean(answer => answer.Times.Total));
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>A row for every question under every policy (RFC 4180).</summary>
    public static void WriteCsv(string file, IReadOnlyList<EvaluationQuestion> questions, IReadOnlyList<PolicyScore> scores)
    {
        using var writer = new StreamWriter(file);
        WriteRow(writer, "policy", "id", "image", "kind", "question", "expected", "answer", "correct", "agrees", "new_tokens", "prefill_ms", "total_ms");
        foreach (PolicyScore score in scores)
        {
            foreach ((EvaluationQuestion question, EvaluationAnswer answer) in questions.Zip(score.Answers))
            {
                WriteRow(
                    writer, score.Policy, question.Id, Path.GetFileName(question.Image), question.Kind ?? "", question.Question,
                    question.Answer, answer.Text, answer.IsCorrect ? "1" : "0", answer.Agrees ? "1" : "0", $"{answer.Tokens}",
                    Number(answer.Times.Prefill), Number(answer.Times.Total));
            }
        }
    }

    private static void WriteRow(StreamWriter writer, params string[] cells)
    {
        writer.Write(string.Join(",", cells.Select(Quote)));
        writer.Write("\r\n");
    }

    private static string Quote(string cell) =>
        cell.AsSpan().ContainsAny(",\"\r\n") ? $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : cell;

    private static string Number(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);

    private static string Milliseconds(double value) => string.Create(CultureInfo.InvariantCulture, $"{value:0.0} ms");
}

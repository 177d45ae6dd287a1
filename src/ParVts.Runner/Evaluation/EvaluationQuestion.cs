using System.Text.Json;

namespace ParVts.Runner.Evaluation;

/// <summary>A line of an eval.jsonl.</summary>
/// <param name="Id">Its id, or its line number.</param>
/// <param name="Image">The picture's path.</param>
/// <param name="Question">What is asked.</param>
/// <param name="Answer">What is right.</param>
/// <param name="Kind">The kind of question, or null.</param>
internal sealed record EvaluationQuestion(string Id, string Image, string Question, string Answer, string? Kind)
{
    /// <summary>Reads the first questions of a file; pictures lie beside it.</summary>
    public static IReadOnlyList<EvaluationQuestion> Read(string file, int limit)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        var questions = new List<EvaluationQuestion>();
        int number = 0;
        foreach (string line in File.ReadLines(file))
        {
            number++;
            if (questions.Count == limit)
                break;
            if (!string.IsNullOrWhiteSpace(line))
                questions.Add(Parse(line, file, number, folder));
        }

        return questions.Count > 0 ? questions : throw new InputFileException(file, number, "there are no questions in it");
    }

    private static EvaluationQuestion Parse(string line, string file, int number, string folder)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement question = document.RootElement;
            return new EvaluationQuestion(
                question.TryGetProperty("id", out JsonElement id) ? id.ToString() : $"{number}",
                Path.Combine(folder, question.GetProperty("image").GetString() ?? ""),
                question.GetProperty("question").GetString() ?? "",
                question.GetProperty("answer").ToString(),
                question.TryGetProperty("kind", out JsonElement kind) ? kind.ToString() : null);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new InputFileException(
                file, number, $"expected an object with the texts \"image\", \"question\" and \"answer\" ({error.Message})");
        }
    }
}

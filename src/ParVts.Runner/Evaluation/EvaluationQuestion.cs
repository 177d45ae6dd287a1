using System.Text.Json;

namespace ParVts.Runner.Evaluation;

/// <summary>A question about a picture. Two are equal where everything in them is.</summary>
/// <param name="Id">Its id, or its line number.</param>
/// <param name="Image">The picture, as the data name it.</param>
/// <param name="Question">What is asked: the user's whole message.</param>
/// <param name="Answer">What is right, as the benchmark needs it.</param>
/// <param name="Kind">The kind of question, or null.</param>
internal sealed record EvaluationQuestion(string Id, string Image, string Question, string Answer, string? Kind)
{
    /// <summary>Reads all questions of an eval.jsonl.</summary>
    public static IReadOnlyList<EvaluationQuestion> Read(string file)
    {
        var questions = new List<EvaluationQuestion>();
        int number = 0;
        foreach (string line in File.ReadLines(file))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
                questions.Add(Parse(line, file, number));
        }

        return questions.Count > 0 ? questions : throw new InputFileException(file, number, "there are no questions in it");
    }

    /// <summary>No kind and an empty one are the same: a table cannot tell them apart.</summary>
    public static string? KindOf(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static EvaluationQuestion Parse(string line, string file, int number)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement question = document.RootElement;
            return new EvaluationQuestion(
                question.TryGetProperty("id", out JsonElement id) ? id.ToString() : $"{number}",
                question.GetProperty("image").GetString() ?? "",
                question.GetProperty("question").GetString() ?? "",
                question.GetProperty("answer").ToString(),
                KindOf(question.TryGetProperty("kind", out JsonElement kind) ? kind.ToString() : null));
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new InputFileException(
                file, number, $"expected an object with the texts \"image\", \"question\" and \"answer\" ({error.Message})");
        }
    }
}
